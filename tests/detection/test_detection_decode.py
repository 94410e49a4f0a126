"""Decoding: it undoes the targets, finds what an oracle finds, and orders equals in one way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.detection import decode, encode, letterbox, to_detections, transform_boxes

SHAPE = (24, 32)
N_CLASSES = 3


def random_boxes(rng, n):
    """Boxes inside the map whose centres lie in different cells."""
    boxes, cells = [], set()
    while len(boxes) < n:
        x, y = np.sort(rng.uniform(0, SHAPE[1] - 1, 2)), np.sort(rng.uniform(0, SHAPE[0] - 1, 2))
        cell = int(x.mean()), int(y.mean())
        if cell not in cells and x[1] - x[0] > 0.1 and y[1] - y[0] > 0.1:
            cells.add(cell)
            boxes.append([x[0], y[0], x[1], y[1]])
    return np.array(boxes).reshape(-1, 4)


def dense(targets):
    """Size and offset maps (1, 2, h, w) that hold the targets at the centres."""
    maps = np.zeros((2, 1, 2, SHAPE[0] * SHAPE[1]), np.float32)
    n = int(targets.mask.sum())
    for out, rows in zip(maps, (targets.size, targets.offset), strict=True):
        out[0][:, targets.index[:n]] = rows[:n].T
    return maps.reshape(2, 1, 2, *SHAPE)


def random_maps(rng, batch, levels=None):
    heatmap = rng.random((batch, N_CLASSES, *SHAPE), dtype=np.float32)
    if levels:
        heatmap = np.floor(heatmap * levels).astype(np.float32) / levels
    return heatmap, *rng.random((2, batch, 2, *SHAPE), dtype=np.float32)


def oracle(heatmap, size, offset, top):
    """One image, cell by cell; only real peaks."""
    found = []
    for c, y, x in np.ndindex(heatmap.shape):
        around = heatmap[c, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        if heatmap[c, y, x] >= around.max() and heatmap[c, y, x] > 0:
            found.append((-heatmap[c, y, x], c, y, x))
    rows = []
    for score, c, y, x in sorted(found)[:top]:
        (w, h), (dx, dy) = size[:, y, x], offset[:, y, x]
        rows.append([x + dx - w / 2, y + dy - h / 2, x + dx + w / 2, y + dy + h / 2, c, -score])
    return np.array(rows).reshape(-1, 6)


@given(st.integers(0, 2**32 - 1), st.integers(0, 12))
@settings(deadline=None, max_examples=60)
def test_decoding_the_targets_gives_the_boxes_back(seed, n):
    rng = np.random.default_rng(seed)
    boxes, labels = random_boxes(rng, n), rng.integers(0, N_CLASSES, n)
    targets = encode(boxes, labels, n_classes=N_CLASSES, shape=SHAPE, max_objects=16)
    peaks = decode(targets.heatmap[None], *dense(targets))
    found = peaks.scores[0] == 1
    assert found.sum() == n
    got = np.column_stack([peaks.labels[0], peaks.boxes[0]])[found]
    want = np.column_stack([labels, boxes])
    got, want = (rows[np.lexsort(np.round(rows, 3).T)] for rows in (got, want))
    np.testing.assert_allclose(got, want, atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 2, 5]), st.sampled_from([1, 10, 100]))
@settings(deadline=None, max_examples=20)
def test_peaks_and_their_order_equal_the_oracle_also_among_equal_scores(seed, levels, top):
    maps = random_maps(np.random.default_rng(seed), 1, levels)
    peaks = decode(*maps, top=top)
    want = oracle(*(one[0] for one in maps), top)
    got = np.column_stack([peaks.boxes[0], peaks.labels[0], peaks.scores[0]])
    np.testing.assert_allclose(got[: len(want)], want, atol=1e-5)
    assert not peaks.scores[0, len(want) :].any()


def test_logits_have_the_peaks_of_their_probabilities_and_scores_far_from_all_doubt():
    rng = np.random.default_rng(0)
    logits, size, offset = random_maps(rng, 2)
    logits = 20 * logits - 30  # in single precision, 1 - (1 - p) is 0 or 6e-8
    exact = 1 / (1 + np.exp(-logits.astype(np.float64)))
    ours, theirs = decode(logits, size, offset, logits=True), decode(exact, size, offset)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-5)
    assert ours.scores.dtype == np.float32
    few = decode(np.where(logits == logits.max(), 100, -100), size, offset, top=20, logits=True)
    assert (few.scores[:, 1:] < 1e-40).all()


def test_boxes_of_half_precision_maps_are_as_fine_as_their_offsets():
    """Sixteenths of a cell beyond the 64th were pixels of an image."""
    heatmap = np.zeros((1, 1, 2, 128), np.float16)
    heatmap[0, 0, 1, 120] = 1
    offset = np.full((1, 2, 2, 128), 0.28, np.float16)
    ((box,),) = decode(heatmap, np.zeros_like(offset), offset, top=1).boxes
    np.testing.assert_allclose(box, [120.28, 1.28] * 2, atol=2e-4)


def test_a_negative_size_is_a_box_with_its_corners_in_order():
    heatmap, offset = np.eye(4, dtype=np.float32)[None, None], np.zeros((1, 2, 4, 4), np.float32)
    size = np.random.default_rng(0).normal(size=offset.shape).astype(np.float32)
    assert (size < 0).any()
    boxes = decode(heatmap, size, offset, top=4).boxes
    assert (boxes[..., :2] <= boxes[..., 2:]).all()
    np.testing.assert_array_equal(boxes, decode(heatmap, -size, offset, top=4).boxes)


def test_a_batch_equals_its_images_and_stays_as_it_was():
    maps = random_maps(np.random.default_rng(0), 4, levels=20)
    before = [one.copy() for one in maps]
    together = decode(*maps, top=20)
    for i in range(4):
        for batched, single in zip(together, decode(*(one[i : i + 1] for one in maps), top=20), strict=True):
            np.testing.assert_array_equal(batched[i : i + 1], single)
    for one, old in zip(maps, before, strict=True):
        np.testing.assert_array_equal(one, old)


@pytest.mark.parametrize(("top", "kept"), [(5, 5), (10_000, N_CLASSES * SHAPE[0] * SHAPE[1])])
def test_no_more_rows_than_cells_and_no_score_without_heat(top, kept):
    heatmap, size, offset = random_maps(np.random.default_rng(0), 2)
    peaks = decode(heatmap, size, offset, top=top)
    assert peaks.boxes.shape == (2, kept, 4)
    assert peaks.labels.shape == peaks.scores.shape == (2, kept)
    assert (np.diff(peaks.scores) <= 0).all()
    assert not decode(np.zeros_like(heatmap), size, offset, top=top).scores.any()


def test_detections_lie_in_the_pixels_of_their_own_image():
    """From two images of different shape to the map and back."""
    rng = np.random.default_rng(0)
    matrices = letterbox([640, 300], [480, 900], SHAPE)
    peaks = decode(*random_maps(rng, 2), top=7)
    detections = to_detections(peaks, np.array([11, 5]), matrices)
    assert detections.image.tolist() == [11] * 7 + [5] * 7
    np.testing.assert_array_equal(detections.label, peaks.labels.ravel())
    np.testing.assert_array_equal(detections.score, peaks.scores.ravel())
    back = transform_boxes(detections.box.reshape(2, 7, 4), matrices)
    np.testing.assert_allclose(back, peaks.boxes, atol=1e-4)
