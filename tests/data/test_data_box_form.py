"""Boxes in another form than their kind of file has: a split of them stops, ordinary ones do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnabla_detofa.data.box_form import require_usual_form
from nnabla_detofa.data.flaws import Findings, Flaw
from nnabla_detofa.data.objects import Object, sound_image
from nnabla_detofa.errors import DataError

SIZE = 80, 60


def random_boxes(rng, n, least=4):
    """Corners (n, 4) of boxes inside the image."""
    low = rng.uniform(0, np.array(SIZE) - least, (n, 2))
    return np.concatenate([low, rng.uniform(low + least, SIZE)], axis=1)


def check(boxes, *, sides, strict=False):
    findings = Findings(strict=strict)
    objects = [[Object(0, 0, tuple(box))] for box in boxes.tolist()]
    for group in objects:
        sound_image("a.jpg", "a", SIZE, group, origin=0.5, place=None, findings=findings)
    require_usual_form(objects, [SIZE] * len(objects), "set", findings, sides=sides)
    return [one.flaw for one in findings if one.flaw is Flaw.BOXES_IN_ANOTHER_FORM]


def as_sides(boxes):
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def as_corners(sides):
    """The object that a reader of x, y, width, height makes of any four numbers."""
    return np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)


@given(st.integers(0, 2**32), st.integers(1, 60), st.booleans())
def test_ordinary_boxes_pass(seed, n, sides):
    assert check(random_boxes(np.random.default_rng(seed), n), sides=sides) == []


@pytest.mark.parametrize("n", [8, 40])
@pytest.mark.parametrize("sides", [False, True])
def test_shares_of_the_image(n, sides):
    boxes = random_boxes(np.random.default_rng(n), n) / np.tile(SIZE, 2)
    assert check(boxes, sides=sides)
    boxes[: n // 2] = [3, 4, 30, 40]
    assert not check(boxes, sides=sides)
    with pytest.raises(DataError, match=f"^set: {n} of {n} boxes lie within 0 to 1, as shares of the image do"):
        check(boxes[n // 2 :].repeat(2, axis=0), sides=sides, strict=True)


@pytest.mark.parametrize("n", [20, 200])
def test_corners_in_place_of_sides(n):
    boxes = random_boxes(np.random.default_rng(n), n)
    assert check(as_corners(boxes), sides=True)
    with pytest.raises(DataError, match="would if they were corners x1, y1, x2, y2; boxes must be x, y, width, height"):
        check(as_corners(boxes), sides=True, strict=True)


@pytest.mark.parametrize("n", [20, 200])
def test_sides_in_place_of_corners(n):
    boxes = as_sides(random_boxes(np.random.default_rng(n), n))
    assert check(boxes, sides=False)
    with pytest.raises(DataError, match="all would if they were x, y, width, height; boxes must be corners"):
        check(boxes, sides=False, strict=True)


def test_boxes_that_stick_out_for_another_reason(n=40):
    boxes = random_boxes(np.random.default_rng(0), n)
    boxes[:, 2:] += 30  # annotated in a larger image
    assert not check(boxes, sides=True)
