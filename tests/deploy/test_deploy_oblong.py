"""A detector of oblong images: boxes in the pixels of whatever picture it is given."""

from pathlib import Path

import numpy as np
import pytest

from nnabla_detofa import Detector
from nnabla_detofa.detection import Peaks

SIZES = [(64, 64), (96, 128), (128, 96), (32, 160)]
PICTURES = [(480, 640), (640, 480), (100, 700), (33, 20), (96, 128)]


@pytest.fixture
def bright():
    """A detector whose network finds the one bright place of an image; `seen` holds what it was shown."""

    def build(image_size):
        def answer(images):
            seen.append(images[0])
            rows, columns = (np.flatnonzero(images[0].max(axis=(2, 1 - axis)) > 127) for axis in (0, 1))
            box = columns[0], rows[0], columns[-1], rows[-1]
            return Peaks(np.array([[box]], float), np.zeros((1, 1), int), np.ones((1, 1)))

        seen = []
        described = {"classes": ["bright"], "category_ids": [1], "image_size": image_size}
        return Detector(Path("detector.onnx"), described, answer), seen

    return build


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", PICTURES, ids=str)
def test_what_is_in_a_picture_is_found_where_it_is(bright, size, shape):
    detector, seen = bright(size)
    pixels, (height, width) = np.zeros((*shape, 3), np.uint8), shape
    box = np.array([width // 4, height // 2, width // 4 + width // 2, height - 1])
    pixels[box[1] : box[3] + 1, box[0] : box[2] + 1] = 255
    found = detector.detect(pixels)
    assert seen[0].shape == (*size, 3)
    pixel = 1 / min(size[0] / height, size[1] / width)  # of the input, in the picture
    np.testing.assert_allclose(found.box, [box], atol=max(1, pixel))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", PICTURES, ids=str)
def test_all_of_a_picture_is_seen_and_nothing_is_stretched(bright, size, shape):
    detector, seen = bright(size)
    found = detector.detect(np.full((*shape, 3), 255, np.uint8))
    zoom = min(size[0] / shape[0], size[1] / shape[1])
    np.testing.assert_allclose((seen[0] > 127).any(axis=2).sum(), zoom**2 * shape[0] * shape[1], atol=2 * sum(size))
    np.testing.assert_allclose(found.box, [[0, 0, shape[1] - 1, shape[0] - 1]], atol=max(1, 1 / zoom))
