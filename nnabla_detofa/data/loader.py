"""Batches of warped images, with CenterNet's targets (4.1)."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

import numpy as np

from ..detection import encode_into, transform_boxes
from ..options import IMAGE_SIZE, Whole
from .augment import NO_COLOUR_CHANGE, Augmentation, centred_warp, mean_rgb, normalise, random_colour, random_warp, warp
from .dataset_options import OUTPUT_STRIDE, StreamOptions
from .stream import Batch, BatchStream, in_order


class WarpOptions(StreamOptions):
    """Options that the data sets of all tasks with output maps share.

    `output_stride` is how many pixels make a cell of the output map.
    """

    image_size: Annotated[tuple[int, int], IMAGE_SIZE] = (512, 512)
    output_stride: Annotated[int, OUTPUT_STRIDE] = 4
    augment: Augmentation = Augmentation()


class LoaderOptions(WarpOptions):
    """Options that all detection data sets share; the targets hold `max_objects` of an image."""

    max_objects: Annotated[int, Whole()] = 128


class WarpedLoader(BatchStream):
    """Images with maps of targets; training varies scale, crop, flip and colour, else the test warp.

    The data set has `images`, each with `file` and `size`, and `origin`.
    """

    options: WarpOptions
    target_types: ClassVar[tuple[type[np.generic], ...]]

    @property
    def _cells(self) -> tuple[int, int]:
        """Height and width of the output map."""
        height, width = self.options.image_size
        return height // self.options.output_stride, width // self.options.output_stride

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The images at `indices` (n,) as (n, 3, H, W), without augmentation."""
        images = np.empty((len(indices), 3, *self.options.image_size), np.float32)
        each = self._pool.map if self._pool else map
        list(each(lambda index, out: self._write(index, None, out), indices, images))
        return images

    def _make(
        self,
        indices: np.ndarray,
        rngs: list[np.random.Generator] | None,
        sides: tuple[int, int],
        *,
        targets: bool = True,
    ) -> Batch:
        n = len(indices)
        images, matrix = np.empty((n, 3, *sides), np.float32), np.empty((n, 2, 3))
        kinds = zip(self.target_shapes(), self.target_types, strict=True) if targets else ()
        made = [np.zeros((n, *shape), type_) for shape, type_ in kinds]
        for row, index in enumerate(indices):
            matrix[row] = self._write(index, rngs[row] if rngs else None, images[row])
            if targets:
                self._write_targets(index, matrix[row], [array[row] for array in made])
        return Batch(images, made, indices, matrix, n)

    @abstractmethod
    def _write_targets(self, index: int, matrix: np.ndarray, out: Sequence[np.ndarray]) -> None:
        """Write an image's targets into arrays of zeros, by its matrix from annotated coordinates to cells."""

    def still(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The image at `index` without augmentation, as (h, w, 3) RGB bytes, and its matrix (2, 3) from annotated
        coordinates to their pixels."""
        pixels, matrix = self._warped(index, None)
        return np.ascontiguousarray(pixels[..., ::-1]), matrix

    def stills(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All images in order, as `still` gives them."""
        return in_order(self.still, range(len(self.dataset)), self._pool, self.options.prefetch)

    def _write(self, index: int, rng: np.random.Generator | None, out: np.ndarray) -> np.ndarray:
        """Warp, colour and normalise one image into `out`; its matrix from annotated coordinates to output cells."""
        pixels, matrix = self._warped(index, rng)
        augment = self.options.augment
        colour = NO_COLOUR_CHANGE if rng is None else random_colour(mean_rgb(pixels), augment, rng)
        normalise(pixels, colour, out)
        return matrix / self.options.output_stride

    def _warped(self, index: int, rng: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """The pixels of an image as the network sees them, BGR, and its matrix from annotated coordinates to them."""
        image, options = self.dataset.images[index], self.options
        if rng is None:
            matrix = centred_warp(image.size, options.image_size)
        else:
            matrix = random_warp(image.size, options.image_size, options.augment, rng)
        pixels = warp(self._cache.read(image.file, image.size), matrix, options.image_size)
        matrix[:, 2] -= matrix[:, :2].sum(axis=1) * self.dataset.origin  # the warp counts pixels from 0
        return pixels, matrix


class DetectionLoader(WarpedLoader):
    """Images with CenterNet's targets.

    Targets are those of `detection.Targets`, stacked: heatmap (B, C, h, w), size and offset (B, M, 2), index and mask
    (B, M).
    """

    task = "detection"
    options: LoaderOptions
    target_types = (np.float32, np.float32, np.float32, np.int32, np.float32)

    def target_shapes(self) -> list[list[int]]:
        """Shapes of one image's heat map, sizes, offsets, indices and mask."""
        most = self.options.max_objects
        return [[self.n_classes, *self._cells], [most, 2], [most, 2], [most], [most]]

    def _write_targets(self, index: int, matrix: np.ndarray, out: Sequence[np.ndarray]) -> None:
        image = self.dataset.images[index]
        encode_into(out, transform_boxes(image.boxes[image.trained], matrix), image.labels[image.trained])
