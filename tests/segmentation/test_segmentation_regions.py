"""COCO's regions: polygons and run lengths, read as pycocotools writes them."""

import numpy as np
import pytest
from pycocotools import mask

from nnabla_detofa.segmentation import in_region, region_of, regions_of

SIZE = (11, 7)


def maps(seed):
    """Classes (7, 11) of large patches and of single pixels."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 4, (2, 3)).repeat(4, axis=0).repeat(4, axis=1)[:7, :11]
    return np.where(rng.random((7, 11)) < 0.2, rng.integers(0, 4, (7, 11)), patches).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_is_read_back(seed):
    classes = maps(seed)
    there = [label for label in range(4) if (classes == label).any()]
    found = regions_of(classes, range(4))
    assert [label for label, *_ in found] == there
    for label, region, n in found:
        assert n == (classes == label).sum() == mask.area(region)
        np.testing.assert_array_equal(in_region(region_of(region, SIZE)), classes == label)


@pytest.mark.parametrize("seed", range(5))
def test_run_lengths_count_down_the_columns(seed):
    inside = maps(seed) == 1
    flat = inside.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    counts = np.diff([0, *edges, flat.size]).tolist()
    np.testing.assert_array_equal(in_region(region_of({"size": [7, 11], "counts": counts}, SIZE)), inside)


def test_polygons_are_joined():
    squares = [[1, 1, 4, 1, 4, 3, 1, 3], [6.0, 2.0, 9.0, 2.0, 9.0, 6.0, 6.0, 6.0]]
    expected = np.zeros((7, 11), bool)
    expected[1:3, 1:4] = expected[2:6, 6:9] = True
    np.testing.assert_array_equal(in_region(region_of(squares, SIZE)), expected)
    np.testing.assert_array_equal(in_region(region_of(squares[0], SIZE))[1:3, 1:4], np.ones((2, 3), bool))


def test_long_runs_are_read():
    inside = np.zeros((300, 200), bool)
    inside[:, 40:180] = inside[3, 7] = True
    ((_, region, _),) = regions_of(inside.astype(np.uint8), [1])
    np.testing.assert_array_equal(in_region(region_of(region, (200, 300))), inside)


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        "text",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, "4", 5, 6]],
        [[1, 2, 3, 1e30, 5, 6]],
        [[1, 2, float("nan"), 3, 5, 6]],
        {"size": [11, 7], "counts": [77]},
        {"size": [7, 11], "counts": [76]},
        {"size": [7, 11], "counts": [78, -1]},
        {"size": [7, 11], "counts": [77.0]},
        {"size": [7, 11]},
        {"size": [7, 11], "counts": "P"},
        {"size": [7, 11], "counts": "ooooooooo"},
        {"size": [7, 11], "counts": "\x7f"},
    ],
)
def test_other_things_are_refused(given):
    with pytest.raises(ValueError, match=r"\w"):
        region_of(given, SIZE)
