"""Annotated images to a data set: a split whose boxes are of another form stops, ordinary ones do not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnabla_detofa.data.flaws import Findings, Flaw
from nnabla_detofa.data.objects import Object, Sample, Wanted, dataset_of
from nnabla_detofa.errors import DataError

SIZE = 80, 60


def random_boxes(n, least=4):
    """Corners (n, 4) of boxes inside the image."""
    rng = np.random.default_rng(n)
    low = rng.uniform(0, np.array(SIZE) - least, (n, 2))
    return np.concatenate([low, rng.uniform(low + least, SIZE)], axis=1)


def form(boxes, *, sides, strict=False):
    """Whether boxes, one an image, are found to be of another form."""
    findings, place = Findings(strict=strict), Path("set")
    samples = [Sample(place, i, SIZE, [Object(0, "cat", tuple(box))], place) for i, box in enumerate(boxes.tolist())]
    own = "sides" if sides else "corners"
    dataset_of("set", samples, Wanted(["cat"]), origin=0.5, form=own, place=place, findings=findings)
    return Flaw.BOXES_IN_ANOTHER_FORM in {one.flaw for one in findings}


def as_sides(boxes):
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def as_corners(sides):
    """The object that a reader of x, y, width, height makes of any four numbers."""
    return np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)


@given(st.integers(1, 60), st.booleans())
def test_ordinary_boxes_pass(n, sides):
    assert not form(random_boxes(n), sides=sides)


@pytest.mark.parametrize("n", [8, 40])
@pytest.mark.parametrize("sides", [False, True])
def test_shares_of_the_image(n, sides):
    boxes = random_boxes(n) / np.tile(SIZE, 2)
    assert form(boxes, sides=sides)
    with pytest.raises(DataError, match=f"^set: {n} of {n} boxes lie within 0 to 1, as shares of the image do"):
        form(boxes, sides=sides, strict=True)
    boxes[: n // 2] = [3, 4, 30, 40]
    assert not form(boxes, sides=sides)


@pytest.mark.parametrize(("other", "sides"), [(as_corners, True), (as_sides, False)])
@pytest.mark.parametrize("n", [20, 200])
def test_corners_in_place_of_sides_and_the_reverse(n, other, sides):
    assert form(other(random_boxes(n)), sides=sides)
    assert not form(other(random_boxes(7)), sides=sides)  # too few to judge
    with pytest.raises(DataError, match=f"would if they were {'corners' if sides else 'x, y, width, height'}"):
        form(other(random_boxes(n)), sides=sides, strict=True)


def test_boxes_that_stick_out_for_another_reason():
    boxes = random_boxes(40)
    boxes[:, 2:] += 30  # annotated in a larger image
    assert not form(boxes, sides=True)
