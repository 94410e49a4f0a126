"""Batches of labelled images: random-resized crops in training, the centre otherwise (Section 4.1, pre-training)."""

from collections.abc import Sequence
from typing import Annotated, Any

import cv2
import numpy as np

from ..options import IMAGE_SIZE, Listed, Number, Span, Whole
from .augment import NO_COLOUR_CHANGE, Variation, mean_rgb, normalise, random_colour
from .dataset_options import StreamOptions
from .stream import Batch, BatchStream

SIZES = 4  # spawn key of the image sizes, beside those of `dataset.py`
TRIES = 10  # crops drawn until one fits into the image
LEAST_SIDE = 32

Box = tuple[int, int, int, int]  # left, top, width, height


class CropAugmentation(Variation):
    """ImageNet's cut of a training image, and its variation.

    A crop has a share of the image's area and a ratio of width to height that are drawn between these two values; the
    ratio is relative to that of what the network sees.
    """

    area: Annotated[Sequence[float], Span(Number(above=0, most=1))] = (0.08, 1.0)
    ratio: Annotated[Sequence[float], Span(Number(above=0, most=100))] = (3 / 4, 4 / 3)


class ClassificationOptions(StreamOptions):
    """Options of a classifier's loader.

    `image_size` is [height, width] in pixels, or the side of a square, of measured and tested images: the centre of the
    photograph, `centre` of its shorter side. Training images are squares of one of the sizes `train_sizes` (null: as
    `image_size`), drawn for each training step.
    """

    image_size: Annotated[tuple[int, int], IMAGE_SIZE] = (224, 224)
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

    def _sides_at(self, position: int) -> tuple[int, int]:
        sizes = self.options.train_sizes
        if not self.training or sizes is None:
            return self.options.image_size
        step = position // self.batches_a_step
        rng = np.random.default_rng(np.random.SeedSequence(self.options.seed, spawn_key=(SIZES, step)))
        side = int(sizes[rng.integers(len(sizes))])
        return side, side

    def _make(
        self,
        indices: np.ndarray,
        rngs: list[np.random.Generator] | None,
        sides: tuple[int, int],
        *,
        targets: bool = True,  # noqa: ARG002 - they cost nothing
    ) -> Batch:
        images = np.empty((len(indices), 3, *sides), np.float32)
        for row, index in enumerate(indices):
            self._write(index, rngs[row] if rngs else None, images[row])
        return Batch(images, [self.dataset.labels[indices, None].astype(np.int32)], indices, None, len(indices))

    def _write(self, index: int, rng: np.random.Generator | None, out: np.ndarray) -> None:
        """Cut, scale, colour and normalise one image into `out` (3, H, W)."""
        pixels, augment = self._cache.read(self.dataset.file(index), None), self.options.augment
        size, (height, width) = (pixels.shape[1], pixels.shape[0]), out.shape[1:]
        if rng is None:
            box = centre_box(size, self.options.centre, aspect=width / height)
            normalise(cut(pixels, box, (height, width)), NO_COLOUR_CHANGE, out)
            return
        pixels = cut(pixels, random_box(size, augment, rng, aspect=width / height), (height, width))
        if rng.random() < augment.flip:
            pixels = pixels[:, ::-1]
        normalise(pixels, random_colour(mean_rgb(np.ascontiguousarray(pixels)), augment, rng), out)


def random_box(
    size: tuple[int, int], augment: CropAugmentation, rng: np.random.Generator, *, aspect: float = 1.0
) -> Box:
    """A crop of an image of `size` (width, height): the first of ten draws that fits, or the largest centred one of a
    permitted ratio; `aspect` is the target's width over its height."""
    width, height = size
    areas = width * height * rng.uniform(augment.area[0], augment.area[1], size=TRIES)
    low, high = np.log(augment.ratio)
    ratios = aspect * np.exp(rng.uniform(low, high, size=TRIES))
    sides = np.rint(np.sqrt([areas * ratios, areas / ratios])).astype(int)  # (2, tries)
    fits = np.flatnonzero(((sides >= 1) & (sides <= np.array([[width], [height]]))).all(axis=0))
    if len(fits):
        w, h = (int(side) for side in sides[:, fits[0]])
        return int(rng.integers(width - w, endpoint=True)), int(rng.integers(height - h, endpoint=True)), w, h
    ratio = min(max(width / height, aspect * augment.ratio[0]), aspect * augment.ratio[1])
    w, h = max(1, min(width, round(height * ratio))), max(1, min(height, round(width / ratio)))
    return (width - w) // 2, (height - h) // 2, w, h


def centre_box(size: tuple[int, int], share: float, *, aspect: float = 1.0) -> Box:
    """The box in the middle of an image of `size` (width, height), `share` of the largest one whose width is `aspect`
    times its height."""
    width = max(1, round(min(size[0], size[1] * aspect) * share))
    height = max(1, round(min(size[1], size[0] / aspect) * share))
    return (size[0] - width) // 2, (size[1] - height) // 2, width, height


def cut(pixels: np.ndarray, box: Box, sides: tuple[int, int]) -> np.ndarray:
    """The box of `pixels` (h, w, 3), scaled to (*sides, 3); pixels are averaged where it shrinks."""
    left, top, width, height = box
    shrinks = width * height > sides[0] * sides[1]
    crop: Any = pixels[top : top + height, left : left + width]
    return cv2.resize(crop, sides[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
