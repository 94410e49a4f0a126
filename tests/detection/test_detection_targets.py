"""Targets against a slow, obvious oracle; what is clipped, merged, left out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.detection import encode
from nnabla_detofa.errors import DataError

SHAPE = (24, 32)
coordinate = st.floats(-20, 50, width=32)
objects = st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate, st.integers(0, 2)), max_size=8)


def one(box, **options):
    return encode([box], [0], **({"n_classes": 1, "shape": SHAPE, "max_objects": 4} | options))


def three_case_radius(height, width, iou=0.7):
    """CornerNet's rule as published, the division by 2 instead of 2a included."""
    roots = []
    for a, b, c in [
        (1, height + width, width * height * (1 - iou) / (1 + iou)),
        (4, 2 * (height + width), (1 - iou) * width * height),
        (4 * iou, -2 * iou * (height + width), (iou - 1) * width * height),
    ]:
        roots.append((b + math.sqrt(b * b - 4 * a * c)) / 2)
    return max(0, int(min(roots)))


def oracle_heatmap(boxes, labels, n_classes):
    """Cell by cell."""
    h, w = SHAPE
    heatmap = np.zeros((n_classes, h, w))
    for (x1, y1, x2, y2), label in zip(boxes, labels, strict=True):
        x1, x2 = min(max(x1, 0), w - 1), min(max(x2, 0), w - 1)
        y1, y2 = min(max(y1, 0), h - 1), min(max(y2, 0), h - 1)
        if x2 <= x1 or y2 <= y1:
            continue
        cx, cy = int((x1 + x2) / 2), int((y1 + y2) / 2)
        r = three_case_radius(math.ceil(y2 - y1), math.ceil(x2 - x1))
        sigma = (2 * r + 1) / 6
        for y in range(max(0, cy - r), min(h, cy + r + 1)):
            for x in range(max(0, cx - r), min(w, cx + r + 1)):
                value = math.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
                heatmap[label, y, x] = max(heatmap[label, y, x], value)
    return heatmap


@given(objects)
@settings(deadline=None, max_examples=60)
def test_the_heat_map_equals_the_oracle(rows):
    boxes, labels = [row[:4] for row in rows], [row[4] for row in rows]
    targets = encode(boxes, labels, n_classes=3, shape=SHAPE, max_objects=8)
    np.testing.assert_allclose(targets.heatmap, oracle_heatmap(boxes, labels, 3), atol=1e-6)


@given(objects, st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_every_object_has_a_row_or_is_counted(rows, max_objects):
    boxes, labels = np.array([row[:4] for row in rows]), [row[4] for row in rows]
    targets = encode(boxes, labels, n_classes=3, shape=SHAPE, max_objects=max_objects)
    everything = encode(boxes, labels, n_classes=3, shape=SHAPE, max_objects=8)
    assert targets.mask.sum() + targets.dropped == everything.mask.sum()
    assert everything.dropped == 0
    np.testing.assert_array_equal(targets.heatmap, everything.heatmap)
    n = int(targets.mask.sum())
    assert (targets.mask[:n] == 1).all()
    # centres are where the heat map is 1, offsets lie within a cell, sizes within the map
    assert (targets.heatmap.reshape(3, -1)[:, targets.index[:n]].max(axis=0) == 1).all()
    assert (targets.offset >= 0).all()
    assert (targets.offset <= 1).all()
    assert (targets.size[:n] > 0).all()
    assert (targets.size <= [SHAPE[1] - 1, SHAPE[0] - 1]).all()
    for column in (targets.size, targets.offset, targets.index, targets.mask):
        assert not column[n:].any()


@pytest.mark.parametrize(("side", "radius"), [(10, 2), (100, 27), (1000, 273), (7.2, 2)])
def test_a_square_gets_the_published_radius_of_its_started_cells(side, radius):
    """0.273 of the side, not the 0.082 that the rule intends; a side of 7.2 counts as 8, as 0.273 · 7.2 < 2."""
    heatmap = one([0, 0, side, side], shape=(int(side) + 2, int(side) + 2)).heatmap[0]
    assert np.count_nonzero(heatmap[int(side / 2)]) == 2 * radius + 1


@given(st.integers(1, 400), st.integers(1, 400))
@settings(deadline=None, max_examples=100)
def test_one_case_of_the_radius_rule_is_always_the_least(height, width):
    row = one([0, 0, width, height], shape=(height + 1, width + 1)).heatmap[0, int(height / 2)]
    centre, r = int(width / 2), three_case_radius(height, width)
    assert np.flatnonzero(row).tolist() == list(range(max(centre - r, 0), min(centre + r, width) + 1))


def test_an_object_reports_its_clipped_box():
    targets = one([-10.0, 2.0, 5.5, 9.0])
    np.testing.assert_allclose(targets.size[0], [5.5, 7.0])
    np.testing.assert_allclose(targets.offset[0], [0.75, 0.5])
    assert targets.index[0] == 5 * 32 + 2
    assert targets.heatmap[0, 5, 2] == 1


@pytest.mark.parametrize("box", [[-9, 2, -1, 8], [31, 0, 40, 10], [3, 3, 3, 9], [9, 3, 3, 9], [0, 23.5, 10, 30]])
def test_a_box_without_area_in_the_map_is_no_object(box):
    targets = one(box)
    assert not targets.mask.any()
    assert not targets.heatmap.any()
    assert targets.dropped == 0


def test_the_largest_objects_get_the_rows():
    boxes = [[0, 0, 2, 2], [4, 4, 20, 20], [1, 1, 9, 9]]
    targets = encode(boxes, [0, 0, 0], n_classes=1, shape=SHAPE, max_objects=2)
    np.testing.assert_allclose(targets.size[:, 0], [16, 8])
    assert targets.dropped == 1
    assert targets.heatmap[0, 1, 1] == 1  # still no background


def test_an_image_without_objects():
    targets = encode([], [], n_classes=3, shape=SHAPE, max_objects=4)
    assert targets.heatmap.shape == (3, *SHAPE)
    assert targets.size.shape == targets.offset.shape == (4, 2)
    dtypes = [column.dtype for column in targets[:5]]
    assert dtypes == [np.float32, np.float32, np.float32, np.int32, np.float32]
    assert not any(np.any(column) for column in targets)


@pytest.mark.parametrize(
    ("boxes", "labels", "said"),
    [
        ([[0, 0, 5, 5]], [3], "labels holds 3"),
        ([[0, 0, 5, 5]], [-1], "labels holds -1"),
        ([[0, 0, 5, 5]], [0, 1], r"labels has shape \(2,\)"),
        ([[0, 0, 5]], [0], r"boxes have shape \(1, 3\)"),
        ([[0, 0, 5, math.nan]], [0], "boxes row 0"),
    ],
)
def test_what_cannot_be_encoded(boxes, labels, said):
    with pytest.raises(DataError, match=said):
        encode(boxes, labels, n_classes=3, shape=SHAPE, max_objects=4)
