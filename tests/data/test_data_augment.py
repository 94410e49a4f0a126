"""Augmentation: boxes stay on their pixels, colours follow the recipe, and each switch switches."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.data import Augmentation, DetectionDataset, DetectionLoader, Image, LoaderOptions
from nnabla_detofa.data.augment import (
    DEVIATION,
    LUMINANCE,
    MEAN,
    NO_COLOUR_CHANGE,
    PCA_VALUES,
    PCA_VECTORS,
    mean_rgb,
    normalise,
    random_colour,
    random_warp,
)
from nnabla_detofa.detection import invert, transform_boxes

SIDE = 128
PLAIN = {"colour": 0, "lighting": 0}


def painted(file, size, box):
    """A black image whose pixels x1..x2, y1..y2 (from 0, inclusive) are white."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[box[1] : box[3] + 1, box[0] : box[2] + 1] = 255
    cv2.imwrite(str(file), pixels)


def loader(file, size, box, origin, augment, training=True):
    flags = np.zeros(1, bool)
    image = Image(Path(file), 1, size, np.array([box], np.float32), np.zeros(1, np.int64), flags, flags, flags)
    data = DetectionDataset("one", ("thing",), (image,), origin)
    options = LoaderOptions(image_size=SIDE, workers=0, augment=augment, max_objects=3)
    return DetectionLoader(data, searching=False, training=training, batch_size=16, options=options)


@pytest.mark.parametrize("augment", [{}, {"flip": 1}, {"flip": 0}, {"crop": False}])
@pytest.mark.parametrize("origin", [1.0, 0.5])
def test_boxes_stay_on_their_pixels(tmp_path, augment, origin):
    size, drawn = (150, 100), np.array([60, 40, 99, 64])
    painted(tmp_path / "a.png", size, drawn)
    edge = origin - 0.5  # VOC gives the first and the last pixel, COCO the edges
    annotated = drawn + 1 if origin == 1 else drawn + np.array([0, 0, 1, 1])
    made = loader(tmp_path / "a.png", size, annotated, origin, PLAIN | augment)._batch_at(0)
    for image, matrix in zip(made.images, made.matrix, strict=True):
        white = image[0] > (0.5 - MEAN[0]) / DEVIATION[0]
        edges = transform_boxes(drawn[None] + edge + [0, 0, 1, 1], 4 * matrix)[0]
        expected = np.clip(edges, -0.5, SIDE - 0.5)
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
        assert rows.size
        seen = [columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5]
        np.testing.assert_allclose(seen, expected, atol=1)


def test_targets_give_the_annotated_boxes_back(tmp_path):
    box = (21, 11, 70, 60)
    painted(tmp_path / "a.png", (150, 100), np.array(box) - 1)
    made = next(loader(tmp_path / "a.png", (150, 100), box, 1.0, PLAIN, training=False).batches())
    heatmap, size, offset, index, mask = (one[0] for one in made.targets)
    assert mask.tolist() == [1, 0, 0]
    assert heatmap[0].ravel()[index[0]] == 1
    centre = np.array([index[0] % 32, index[0] // 32]) + offset[0]
    cells = np.concatenate([centre - size[0] / 2, centre + size[0] / 2])
    np.testing.assert_allclose(transform_boxes(cells[None], invert(made.matrix[0]))[0], box, atol=1e-4)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 900), st.integers(1, 900), st.booleans(), st.integers(0, 2**32))
def test_crops_show_some_of_the_image(width, height, crop, seed):
    matrix = random_warp((width, height), SIDE, Augmentation(crop=crop), np.random.default_rng(seed))
    x, y = invert(matrix) @ [SIDE / 2, SIDE / 2, 1]
    margin = 0 if crop else 0.2 * max(width, height)
    assert -margin <= x <= width + margin
    assert -margin <= y <= height + margin
    zoom = SIDE / max(width, height) / abs(matrix[1, 1])
    assert 0.6 - 1e-9 <= zoom <= 1.4 + 1e-9


def test_crop_keeps_the_border_and_draws_every_scale():
    rng = np.random.default_rng(0)
    warps = np.array([random_warp((500, 300), SIDE, Augmentation(), rng) for _ in range(400)])
    centre = invert(warps) @ [SIDE / 2, SIDE / 2, 1]
    assert centre.min(axis=0).round().tolist() == [128, 128]
    assert centre.max(axis=0).round().tolist() == [371, 171]
    zooms = np.unique((SIDE / 500 / warps[:, 1, 1]).round(6))
    np.testing.assert_allclose(zooms, np.arange(6, 14) / 10)
    assert 120 < (warps[:, 0, 0] < 0).sum() < 280


def test_border_is_halved_until_it_fits():
    rng = np.random.default_rng(0)
    warps = np.array([random_warp((64, 64), 64, Augmentation(), rng) for _ in range(300)])
    centre = invert(warps) @ [32, 32, 1]
    assert centre.min().round() == 16
    assert centre.max().round() == 47


@pytest.mark.parametrize("flip", [0, 1])
def test_flip_is_a_probability(flip):
    rng = np.random.default_rng(0)
    warps = [random_warp((50, 40), SIDE, Augmentation(flip=flip), rng) for _ in range(20)]
    assert all((warp[0, 0] < 0) == flip for warp in warps)


def test_colour_equals_its_steps_done_one_by_one():
    pixels = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    rgb = pixels[..., ::-1] / 255
    for seed in range(12):
        rng = np.random.default_rng(seed)
        factors, order, light = 1 + rng.uniform(-0.4, 0.4, 3), rng.permutation(3), 0.1 * rng.standard_normal(3)
        grey, slow = rgb @ LUMINANCE, rgb
        targets = [0, grey.mean(), grey[..., None]]  # brightness, contrast, saturation
        for step in order:
            slow = factors[step] * slow + (1 - factors[step]) * targets[step]
        slow = slow + PCA_VECTORS @ (PCA_VALUES * light)

        fast = np.empty((3, 9, 7), np.float32)
        normalise(pixels, random_colour(mean_rgb(pixels), Augmentation(), np.random.default_rng(seed)), fast)
        np.testing.assert_allclose(fast, ((slow - MEAN) / DEVIATION).transpose(2, 0, 1), atol=1e-5)


def test_colour_can_be_switched_off():
    colour = random_colour(np.ones(3), Augmentation(colour=0, lighting=0), np.random.default_rng(0))
    np.testing.assert_array_equal(colour, NO_COLOUR_CHANGE)


def test_colour_components_are_orthonormal():
    np.testing.assert_allclose(PCA_VECTORS.T @ PCA_VECTORS, np.eye(3), atol=2e-3)
