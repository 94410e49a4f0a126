"""Batches in a fixed order, made ahead by threads: the host's loader protocol and what evaluation needs (4.1)."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, lru_cache
from itertools import count
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np

from ..detection import encode, transform_boxes
from ..errors import DataError
from .augment import NO_COLOUR_CHANGE, centred_warp, mean_rgb, normalise, random_colour, random_warp, warp
from .dataset import ORDER, SAMPLE, DetectionDataset, hold_out
from .images import ImageCache
from .options import LoaderOptions, require_int

T = TypeVar("T")


class Batch(NamedTuple):
    """B images with their targets.

    `images` (B, 3, S, S) float32; `targets` as in `detection.Targets`, stacked: heatmap (B, C, h, w), size and offset
    (B, M, 2), index and mask (B, M). `indices` (B,) are the images' places in the data set, `matrix` (B, 2, 3) warps
    annotated coordinates to cells of the output map. Only the first `n_valid` images count; the others repeat
    the last one, to fill the batch.
    """

    images: np.ndarray
    targets: list[np.ndarray]
    indices: np.ndarray
    matrix: np.ndarray
    n_valid: int


class DetectionLoader:
    """Batches of one part of a data set, the same whatever the number of workers.

    With `training`, random order and augmentation, else the data set's order and the test warp. All ranks share one
    endless stream of samples: epoch after epoch, each in an order of its own; rank r of R takes every R-th sample from
    the r-th on. What is random about a sample depends only on the seed, the epoch and its place in the epoch.

    `searching` and `training` choose the part as the host does: (True, True) trains on what is not held out,
    (True, False) is the held-out part, (False, True) is all of the training split, (False, False) is the test split.
    """

    transform = "none_transform"  # the host asks for it: images come normalised

    def __init__(
        self,
        dataset: DetectionDataset,
        *,
        searching: bool,
        training: bool,
        batch_size: int,
        options: LoaderOptions,
        communicator: Any = None,
    ) -> None:
        self.dataset = _part(dataset, searching, training, options)
        self.classes, self.n_classes = dataset.classes, len(dataset.classes)
        self.training, self.options = training, options
        self.batch_size = require_int("batch_size", batch_size, low=1)
        self._rank: int = communicator.rank if communicator else 0
        self._n_ranks: int = communicator.n_procs if communicator else 1
        if len(self.dataset) < self._n_ranks:
            raise DataError(f"{dataset.name} gives {len(self.dataset)} images for {self._n_ranks} processes")
        self._cache = ImageCache(options.cache_megabytes * 2**20)
        self._order = lru_cache(maxsize=2)(self._order_of)
        self._pool = ThreadPoolExecutor(options.workers, "images") if options.workers else None
        self._stream: Iterator[Batch] | None = None
        self._position = 0
        cv2.setNumThreads(1)  # threads work on images, not inside them
        if self._rank == 0 and dataset.flaws():
            _tell(dataset.flaws())

    def __len__(self) -> int:
        """Samples of an epoch for each rank."""
        return len(self.dataset) // self._n_ranks

    def next(self) -> dict[str, list[np.ndarray]]:
        """The next batch, for ever: {"inputs": [images], "targets": [heatmap, size, offset, index, mask]}."""
        if self._stream is None:
            self._stream = _in_order(self._batch_at, count(self._position), self._pool, self.options.prefetch)
        try:
            batch = next(self._stream)
        except BaseException:
            self._stream = None  # a stream that raised is over; the next call tries the same batch again
            raise
        self._position += 1
        return {"inputs": [batch.images], "targets": batch.targets}

    def state(self) -> dict[str, int]:
        """Where `next` stands: the number of batches it gave."""
        return {"batches": self._position}

    def seek(self, batches: int) -> None:
        """Go on as if `next` had given that many batches: `loader.seek(**loader.state())`. Costs nothing."""
        self._stream, self._position = None, require_int("batches", batches, low=0)

    def batches(self, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[Batch]:
        """The images at `indices`, in that order, without augmentation, in batches of `batch_size`; the last is filled.

        Without `indices`, every image once; each rank gets its share (from its rank on, every n_ranks-th).
        """
        chosen = np.arange(self._rank, len(self.dataset), self._n_ranks) if indices is None else np.asarray(indices)
        starts = range(0, len(chosen), self.batch_size)
        return _in_order(
            lambda start: self._still(chosen[start : start + self.batch_size]),
            starts,
            self._pool,
            self.options.prefetch,
        )

    def images(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The images at `indices` (n,) as (n, 3, S, S), without augmentation."""
        side = self.options.image_size
        images = np.empty((len(indices), 3, side, side), np.float32)
        each = self._pool.map if self._pool else map
        list(each(lambda index, out: self._write(index, None, out), indices, images))
        return images

    def close(self) -> None:
        """End the threads."""
        self._stream = None
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _order_of(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng(np.random.SeedSequence(self.options.seed, spawn_key=(ORDER, epoch)))
        return rng.permutation(len(self.dataset))

    def _batch_at(self, position: int) -> Batch:
        """The batch at a `position` of this rank's stream."""
        number = (position * self.batch_size + np.arange(self.batch_size)) * self._n_ranks + self._rank
        epochs, places = np.divmod(number, len(self.dataset))
        if not self.training:
            return self._make(places, None)
        samples = list(zip(epochs.tolist(), places.tolist(), strict=True))
        keys = (np.random.SeedSequence(self.options.seed, spawn_key=(SAMPLE, *sample)) for sample in samples)
        indices = np.array([self._order(epoch)[place] for epoch, place in samples])
        return self._make(indices, [np.random.default_rng(key) for key in keys])

    def _still(self, indices: np.ndarray) -> Batch:
        full = np.pad(indices, (0, self.batch_size - len(indices)), mode="edge")
        return self._make(full, None)._replace(n_valid=len(indices))

    def _make(self, indices: np.ndarray, rngs: list[np.random.Generator] | None) -> Batch:
        side, n = self.options.image_size, len(indices)
        images, matrix = np.empty((n, 3, side, side), np.float32), np.empty((n, 2, 3))
        targets = []
        for row, index in enumerate(indices):
            matrix[row] = self._write(index, rngs[row] if rngs else None, images[row])
            targets.append(self._targets(index, matrix[row]))
        return Batch(images, [np.stack(one) for one in list(zip(*targets, strict=True))[:5]], indices, matrix, n)

    def _write(self, index: int, rng: np.random.Generator | None, out: np.ndarray) -> np.ndarray:
        """Warp, colour and normalise one image into `out`; its matrix from annotated coordinates to output cells."""
        image, options = self.dataset.images[index], self.options
        pixels = self._cache.read(image.file, image.size)
        if rng is None:
            matrix = centred_warp(image.size, options.image_size)
            pixels, colour = warp(pixels, matrix, options.image_size), NO_COLOUR_CHANGE
        else:
            matrix = random_warp(image.size, options.image_size, options.augment, rng)
            pixels = warp(pixels, matrix, options.image_size)
            colour = random_colour(mean_rgb(pixels), options.augment, rng)
        normalise(pixels, colour, out)
        matrix[:, 2] -= matrix[:, :2].sum(axis=1) * self.dataset.origin  # the warp counts pixels from 0
        return matrix / options.output_stride

    def _targets(self, index: int, matrix: np.ndarray) -> tuple:
        image, cells = self.dataset.images[index], self.options.image_size // self.options.output_stride
        boxes = transform_boxes(image.boxes, matrix)
        return encode(
            boxes, image.labels, n_classes=self.n_classes, shape=(cells, cells), max_objects=self.options.max_objects
        )


def _part(dataset: DetectionDataset, searching: bool, training: bool, options: LoaderOptions) -> DetectionDataset:
    if not searching:
        return dataset
    train, valid = hold_out(dataset, options.held_out, options.seed)
    if not training and not len(valid):
        raise DataError(f"held_out is {options.held_out}: no image of {dataset.name} is left to validate on")
    return train if training else valid


def _in_order(
    make: Callable[[int], T], positions: Iterable[int], pool: ThreadPoolExecutor | None, depth: int
) -> Iterator[T]:
    """make(position) for each position in order, `depth` of them ahead of the consumer where there is a pool."""
    if pool is None:
        yield from map(make, positions)
        return
    ahead: deque[Future[T]] = deque()
    try:
        for position in positions:
            ahead.append(pool.submit(make, position))
            if len(ahead) > depth:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


@cache
def _tell(message: str) -> None:
    """Once a process, however many loaders read the same files."""
    logging.getLogger(__name__).warning(message)
