"""Batches of labelled images: random-resized crops in training, the centre otherwise (Section 4.1, pre-training)."""

from collections.abc import Sequence
from typing import Annotated, Any

import cv2
import numpy as np

from ..options import Listed, Number, Span, Whole
from .augment import NO_COLOUR_CHANGE, Variation, mean_rgb, normalise, random_colour
from .dataset_options import SIDE, StreamOptions
from .stream import Batch, BatchStream

SIZES = 4  # spawn key of the image sizes, beside those of `dataset.py`
TRIES = 10  # crops drawn until one fits into the image
LEAST_SIDE = 32

Box = tuple[int, int, int, int]  # left, top, width, height


class CropAugmentation(Variation):
    """ImageNet's cut of a training image, and its variation.

    A crop has a share of the image's area and a ratio of width to height that are drawn between these two values.
    """

    area: Annotated[Sequence[float], Span(Number(above=0, most=1))] = (0.08, 1.0)
    ratio: Annotated[Sequence[float], Span(Number(above=0, most=100))] = (3 / 4, 4 / 3)


class ClassificationOptions(StreamOptions):
    """Options of a classifier's loader.

    `image_size` is the side in pixels of measured and tested images, which are the centre of the photograph, `centre`
    of its shorter side. Training images have one of the sizes `train_sizes` (null: `image_size`), drawn for each
    training step.
    """

    image_size: Annotated[int, SIDE] = 224
    centre: Annotated[float, Number(above=0, most=1)] = 0.875
    train_sizes: Annotated[Sequence[int] | None, Listed(Whole(least=LEAST_SIDE), least=1, null=True)] = None
    augment: CropAugmentation = CropAugmentation()


class ClassificationLoader(BatchStream):
    """Images with the number of their class (B, 1).

    The data set has `labels` (n,) and `file(i)`. Where there are several `train_sizes`, all batches of a training step
    have the same size, drawn from the seed and the step's number alone: equal on all ranks, after any interruption and
    with any number of workers. `batches_a_step` says how many batches a step has; set it before `seek`.
    """

    task = "classification"
    options: ClassificationOptions
    batches_a_step = 1

    def target_shapes(self) -> list[list[int]]:
        """Shape of one image's class number."""
        return [[1]]

    def _side_at(self, position: int) -> int:
        sizes = self.options.train_sizes or [self.options.image_size]
        if not self.training:
            return self.options.image_size
        step = position // self.batches_a_step
        rng = np.random.default_rng(np.random.SeedSequence(self.options.seed, spawn_key=(SIZES, step)))
        return int(sizes[rng.integers(len(sizes))])

    def _make(self, indices: np.ndarray, rngs: list[np.random.Generator] | None, side: int) -> Batch:
        images = np.empty((len(indices), 3, side, side), np.float32)
        for row, index in enumerate(indices):
            self._write(index, rngs[row] if rngs else None, images[row])
        return Batch(images, [self.dataset.labels[indices, None].astype(np.int32)], indices, None, len(indices))

    def _write(self, index: int, rng: np.random.Generator | None, out: np.ndarray) -> None:
        """Cut, scale, colour and normalise one image into `out` (3, S, S)."""
        pixels, augment = self._cache.read(self.dataset.file(index), None), self.options.augment
        size = pixels.shape[1], pixels.shape[0]
        if rng is None:
            normalise(cut(pixels, centre_box(size, self.options.centre), out.shape[1]), NO_COLOUR_CHANGE, out)
            return
        pixels = cut(pixels, random_box(size, augment, rng), out.shape[1])
        if rng.random() < augment.flip:
            pixels = pixels[:, ::-1]
        normalise(pixels, random_colour(mean_rgb(np.ascontiguousarray(pixels)), augment, rng), out)


def random_box(size: tuple[int, int], augment: CropAugmentation, rng: np.random.Generator) -> Box:
    """A crop of an image of `size` (width, height): the first of ten draws that fits, or the largest centred one of a
    permitted ratio."""
    width, height = size
    areas = width * height * rng.uniform(augment.area[0], augment.area[1], size=TRIES)
    low, high = np.log(augment.ratio)
    ratios = np.exp(rng.uniform(low, high, size=TRIES))
    sides = np.rint(np.sqrt([areas * ratios, areas / ratios])).astype(int)  # (2, tries)
    fits = np.flatnonzero(((sides >= 1) & (sides <= np.array([[width], [height]]))).all(axis=0))
    if len(fits):
        w, h = (int(side) for side in sides[:, fits[0]])
        return int(rng.integers(width - w, endpoint=True)), int(rng.integers(height - h, endpoint=True)), w, h
    ratio = min(max(width / height, augment.ratio[0]), augment.ratio[1])
    w, h = max(1, min(width, round(height * ratio))), max(1, min(height, round(width / ratio)))
    return (width - w) // 2, (height - h) // 2, w, h


def centre_box(size: tuple[int, int], share: float) -> Box:
    """The square in the middle of an image of `size` (width, height), `share` of its shorter side."""
    side = max(1, round(min(size) * share))
    return (size[0] - side) // 2, (size[1] - side) // 2, side, side


def cut(pixels: np.ndarray, box: Box, side: int) -> np.ndarray:
    """The box of `pixels` (h, w, 3), scaled to (side, side, 3); pixels are averaged where it shrinks."""
    left, top, width, height = box
    shrinks = width * height > side * side
    crop: Any = pixels[top : top + height, left : left + width]
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
