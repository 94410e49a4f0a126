"""Class maps between pixels and cells, and mIoU against a plain count of a confusion matrix."""

import cv2
import numpy as np
import pytest

from nnabla_detofa.segmentation import (
    IGNORED,
    class_map,
    joined,
    overlaid,
    overlap_of,
    to_cells,
    voc_colours,
    warp_classes,
)


def confusion(pairs, n_classes):
    """Pixels by annotated and found class, one after the other."""
    counts = np.zeros((n_classes, n_classes), int)
    for found, annotated in pairs:
        for one, other in zip(found.ravel(), annotated.ravel(), strict=True):
            if other != IGNORED:
                counts[other, one] += 1
    return counts


def plain_iou(counts):
    """Intersection over union by class; nan for one that is nowhere."""
    ious = []
    for label in range(len(counts)):
        union = counts[label].sum() + counts[:, label].sum() - counts[label, label]
        ious.append(counts[label, label] / union if union else np.nan)
    return np.array(ious)


def random_pairs(seed, *, n=5, n_classes=4, last=None):
    """Maps, found and annotated, of images of several sizes; some pixels are ignored, perhaps `last` absent."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(n):
        shape = rng.integers(2, 9, 2)
        found, annotated = rng.integers(0, n_classes - (last is not None), (2, *shape)).astype(np.uint8)
        annotated[rng.random(shape) < 0.2] = IGNORED
        pairs.append((found, annotated))
    return pairs


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("last", [None, "absent"])
def test_miou_is_that_of_a_plain_confusion_matrix(seed, last):
    pairs = random_pairs(seed, last=last)
    found = joined([overlap_of(*pair, 4) for pair in pairs])
    expected = plain_iou(confusion(pairs, 4))
    assert np.isnan(expected[3]) == (last is not None)
    every = np.ones((1, found.n_images), int)
    np.testing.assert_allclose(found.per_class(every)[0], expected, rtol=1e-12)
    np.testing.assert_allclose(found.figure(every)[0], np.nanmean(expected), rtol=1e-12)


def test_an_image_that_weighs_twice_is_there_twice():
    pairs = random_pairs(7, n=3)
    found, weights = joined([overlap_of(*pair, 4) for pair in pairs]), np.array([[2, 0, 1], [1, 3, 1]])
    drawn = [[pair for pair, times in zip(pairs, row, strict=True) for _ in range(times)] for row in weights]
    expected = [plain_iou(confusion(some, 4)) for some in drawn]
    np.testing.assert_allclose(found.per_class(weights), expected, rtol=1e-12)
    np.testing.assert_allclose(found.figure(weights), np.nanmean(expected, axis=1), rtol=1e-12)


def test_nothing_judged_is_no_figure():
    nothing = overlap_of(np.zeros((2, 2), np.uint8), np.full((2, 2), IGNORED, np.uint8), 3)
    assert np.isnan(nothing.figure(np.ones((1, 1), int))[0])


def test_cells_lie_in_the_middle_of_their_pixels():
    """Cell k of stride 4 is at pixel 4k + 1.5, so that equal cells become equal squares of pixels."""
    matrix = to_cells(np.eye(2, 3), 4)
    np.testing.assert_allclose(matrix @ [1.5, 5.5, 1], [0, 1])
    logits = np.zeros((3, 2, 2), np.float32)
    logits[1, 0, 0], logits[2, 1, 1] = 5, 5
    found = class_map(logits, matrix, (8, 8))
    assert found.shape == (8, 8) and set(np.unique(found[:2, :2])) == {1} and set(np.unique(found[6:, 6:])) == {2}


def test_a_map_is_bilinear_between_cells_and_flat_beyond_them():
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((5, 6, 8)).astype(np.float32)
    found = class_map(logits, to_cells(np.eye(2, 3), 2), (16, 12))
    large = np.array([cv2.resize(one, (16, 12), interpolation=cv2.INTER_LINEAR) for one in logits])
    np.testing.assert_array_equal(found, large.argmax(axis=0))


def test_classes_are_warped_to_the_nearest_and_ignored_outside():
    classes = np.random.default_rng(1).integers(0, 5, (6, 9)).astype(np.uint8)
    np.testing.assert_array_equal(warp_classes(classes, np.eye(2, 3), (6, 9)), classes)
    moved = warp_classes(classes, np.array([[1, 0, 2], [0, 1, 1.0]]), (6, 9))
    np.testing.assert_array_equal(moved[1:, 2:], classes[:-1, :-2])
    assert (moved[0] == IGNORED).all() and (moved[:, :2] == IGNORED).all()
    large = warp_classes(classes, np.array([[3.0, 0, 1], [0, 3, 1]]), (18, 27))
    np.testing.assert_array_equal(large[:17, :26], np.repeat(np.repeat(classes, 3, 0), 3, 1)[:17, :26])


def test_colours_are_those_of_voc():
    """As the development kit's own VOClabelcolormap gives them."""
    colours = voc_colours()
    assert colours[:4] == [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
    assert (colours[8], colours[15], colours[20], colours[IGNORED]) == (
        *((64, 0, 0), (192, 128, 128)),
        *((0, 64, 128), (224, 224, 192)),
    )
    assert len(set(colours)) == 256


def test_colours_lie_over_a_picture_but_for_its_background():
    pixels = np.full((1, 3, 3), 100, np.uint8)
    shown = overlaid(pixels, np.array([[0, 1, IGNORED]], np.uint8))
    assert shown.tolist() == [[[100, 100, 100], [114, 50, 50], [162, 162, 146]]]
