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

SIDES = pytest.mark.parametrize("sides", [(128, 128), (96, 160), (160, 64)], ids=str)
SIDE = (128, 128)
PLAIN = {"colour": 0, "lighting": 0}


def painted(file, size, box):
    """A black image whose pixels x1..x2, y1..y2 (from 0, inclusive) are white."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[box[1] : box[3] + 1, box[0] : box[2] + 1] = 255
    cv2.imwrite(str(file), pixels)


def loader(file, size, box, origin, augment, training=True, sides=SIDE):
    flags = np.zeros(1, bool)
    image = Image(Path(file), 1, size, np.array([box], np.float32), np.zeros(1, np.int64), flags, flags, flags)
    data = DetectionDataset("one", ("thing",), (image,), origin)
    options = LoaderOptions(image_size=sides, workers=0, augment=augment, max_objects=3)
    return DetectionLoader(data, searching=False, training=training, batch_size=16, options=options)


@pytest.mark.parametrize("augment", [{}, {"flip": 1}, {"flip": 0}, {"crop": False}])
@pytest.mark.parametrize("origin", [1.0, 0.5])
@SIDES
def test_boxes_stay_on_their_pixels(tmp_path, augment, origin, sides):
    size, drawn = (150, 100), np.array([60, 40, 99, 64])
    painted(tmp_path / "a.png", size, drawn)
    edge = origin - 0.5  # VOC gives the first and the last pixel, COCO the edges
    annotated = drawn + 1 if origin == 1 else drawn + np.array([0, 0, 1, 1])
    made = loader(tmp_path / "a.png", size, annotated, origin, PLAIN | augment, sides=sides)._batch_at(0)
    for image, matrix in zip(made.images, made.matrix, strict=True):
        white = image[0] > (0.5 - MEAN[0]) / DEVIATION[0]
        edges = transform_boxes(drawn[None] + edge + [0, 0, 1, 1], 4 * matrix)[0]
        expected = np.clip(edges, -0.5, np.array([*sides[::-1]] * 2) - 0.5)
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
        assert rows.size
        seen = [columns[0] - 0.5, rows[0] - 0.5, columns[-1] + 0.5, rows[-1] + 0.5]
        np.testing.assert_allclose(seen, expected, atol=1)


@SIDES
def test_targets_give_the_annotated_boxes_back(tmp_path, sides):
    box = (21, 11, 70, 60)
    painted(tmp_path / "a.png", (150, 100), np.array(box) - 1)
    made = next(loader(tmp_path / "a.png", (150, 100), box, 1.0, PLAIN, training=False, sides=sides).batches())
    heatmap, size, offset, index, mask = (one[0] for one in made.targets)
    assert mask.tolist() == [1, 0, 0]
    assert heatmap[0].ravel()[index[0]] == 1
    assert heatmap.shape == (1, sides[0] // 4, sides[1] // 4)
    centre = np.array([index[0] % (sides[1] // 4), index[0] // (sides[1] // 4)]) + offset[0]
    cells = np.concatenate([centre - size[0] / 2, centre + size[0] / 2])
    np.testing.assert_allclose(transform_boxes(cells[None], invert(made.matrix[0]))[0], box, atol=1e-4)


def test_a_picture_that_is_turned_gives_targets_that_are_turned(tmp_path):
    size, box = (150, 100), np.array([21, 11, 70, 60])
    painted(tmp_path / "a.png", size, box)
    cv2.imwrite(str(tmp_path / "b.png"), cv2.imread(str(tmp_path / "a.png")).transpose(1, 0, 2))
    plain = next(loader(tmp_path / "a.png", size, box, 0.5, {}, training=False, sides=(96, 160)).batches())
    turned = loader(tmp_path / "b.png", size[::-1], box[[1, 0, 3, 2]], 0.5, {}, training=False, sides=(160, 96))
    turned = next(turned.batches())
    np.testing.assert_allclose(turned.images[0], plain.images[0].transpose(0, 2, 1), atol=0.1)
    (heatmap, size, offset, index, _), (heat, wide, off, place, _) = turned.targets, plain.targets
    np.testing.assert_array_equal(heatmap[0], heat[0].transpose(0, 2, 1))
    np.testing.assert_array_equal([size[0], offset[0]], [wide[0, :, ::-1], off[0, :, ::-1]])
    assert divmod(index[0, 0], 24) == divmod(place[0, 0], 40)[::-1]


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("size", [(500, 375), (333, 500), (64, 64)])
def test_a_square_is_cut_as_centernet_cuts_it_to_the_bit(crop, size):
    """The crop's side is that of the image times a scale, or nearly."""
    options, longer = Augmentation(crop=crop), max(size)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        if crop:
            scale = longer * rng.choice(options.scales)
            borders = [next(b for b in (128, 64, 32, 16) if 2 * b < one) for one in size]
            centre = rng.integers(borders, np.array(size) - borders).astype(float)
        else:
            scale = longer * np.clip(1 + 0.4 * rng.standard_normal(), 0.6, 1.4)
            centre = np.array(size) / 2 + longer * np.clip(0.1 * rng.standard_normal(2), -0.2, 0.2)
        zoom = 128 / scale * np.where([rng.random() < 0.5, False], -1, 1)
        wanted = [[zoom[0], 0, 64 - zoom[0] * centre[0]], [0, zoom[1], 64 - zoom[1] * centre[1]]]
        np.testing.assert_array_equal(random_warp(size, SIDE, options, np.random.default_rng(seed)), wanted)


@settings(deadline=None, max_examples=60)
@given(*[st.integers(1, 900)] * 2, *[st.sampled_from([32, 96, 128])] * 2, st.booleans(), st.integers(0, 2**32))
def test_crops_show_some_of_the_image(width, height, rows, columns, crop, seed):
    matrix = random_warp((width, height), (rows, columns), Augmentation(crop=crop), np.random.default_rng(seed))
    x, y = invert(matrix) @ [columns / 2, rows / 2, 1]
    whole = np.array([max(width, height * columns / rows), max(height, width * rows / columns)])  # holds the image
    margin = 0 * whole if crop else 0.2 * whole
    assert -margin[0] <= x <= width + margin[0]
    assert -margin[1] <= y <= height + margin[1]
    assert abs(matrix[0, 0]) == matrix[1, 1]
    assert ([columns, rows] / matrix[1, 1] / whole >= 0.6 - 1e-9).all()
    assert ([columns, rows] / matrix[1, 1] / whole <= 1.4 + 1e-9).all()


def test_crop_keeps_the_border_and_draws_every_scale():
    rng = np.random.default_rng(0)
    warps = np.array([random_warp((500, 300), SIDE, Augmentation(), rng) for _ in range(400)])
    centre = invert(warps) @ [64, 64, 1]
    assert centre.min(axis=0).round().tolist() == [128, 128]
    assert centre.max(axis=0).round().tolist() == [371, 171]
    zooms = np.unique((128 / 500 / warps[:, 1, 1]).round(6))
    np.testing.assert_allclose(zooms, np.arange(6, 14) / 10)
    assert 120 < (warps[:, 0, 0] < 0).sum() < 280


def test_border_is_halved_until_it_fits():
    rng = np.random.default_rng(0)
    warps = np.array([random_warp((64, 64), (64, 64), Augmentation(), rng) for _ in range(300)])
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


def test_normalising_rounds_as_a_matrix_product_does():
    """Whatever the strides of the pixels, and for images of one pixel."""
    rng = np.random.default_rng(3)
    for height, width in ((1, 1), (1, 5), (37, 53)):
        pixels = rng.integers(0, 256, (height, 2 * width, 3), dtype=np.uint8)[:, ::-2]
        colour, out = rng.standard_normal((3, 4)), np.empty((3, height, width), np.float32)
        normalise(pixels, colour, out)
        linear = (colour[:, 2::-1] / 255 / DEVIATION[:, None]).astype(np.float32)
        constant = ((colour[:, 3] - MEAN) / DEVIATION).astype(np.float32)
        expected = linear @ pixels.reshape(-1, 3).astype(np.float32).T + constant[:, None]
        np.testing.assert_allclose(out.reshape(3, -1), expected, rtol=0, atol=2e-6)
