"""Batches in a fixed order, made ahead by threads: what the loaders of all tasks share (4.1).

The host's loader protocol, and what measuring and evaluation need besides.
"""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import count
from typing import Any, NamedTuple, TypeVar

import cv2
import numpy as np

from ..errors import DataError
from ..options import Whole
from .dataset import ORDER, SAMPLE, hold_out, to_test_on, to_train_on, validation_of
from .dataset_options import StreamOptions
from .flaws import Finding, Findings, count_lines, tell
from .images import ImageCache

P = TypeVar("P")
T = TypeVar("T")


class Batch(NamedTuple):
    """B images with their targets.

    `images` (B, 3, H, W) float32; `targets` as the task has them, B rows each, or none; `indices` (B,) are the images'
    places in the data set, `matrix` (B, 2, 3) warps annotated coordinates to cells of the output map, where boxes are
    annotated.
    Only the first `n_valid` images count; the others repeat the last one, to fill the batch.
    """

    images: np.ndarray
    targets: list[np.ndarray]
    indices: np.ndarray
    matrix: np.ndarray | None
    n_valid: int


class BatchStream(ABC):
    """Batches of one part of a data set, the same whatever the number of workers; subclasses make a batch.

    With `training`, random order and augmentation, else the data set's order and none. All ranks share one endless
    stream of samples: epoch after epoch, each in an order of its own; rank r of R takes every R-th batch from the r-th
    on, so that they take together what one process takes in R times as many batches. What is random about a sample
    depends only on the seed, the epoch and its place in the epoch.

    `searching` and `training` choose the part as the host does: (True, True) trains on what is not held out,
    (True, False) is the held-out part, (False, True) is all of the training split, (False, False) is the test split.

    A data set has `name`, `classes`, `findings`, `digest`, `class_counts`, a length and `subset(indices)`.
    `split_digest` tells the whole split's annotations from others; `waited` is how many seconds `next` has taken.
    """

    transform = "none_transform"  # the host asks for it: images come normalised
    task: str  # what a network for these batches does

    def __init__(
        self,
        dataset: Any,
        *,
        searching: bool,
        training: bool,
        batch_size: int,
        options: StreamOptions,
        communicator: Any = None,
    ) -> None:
        self.training, self.options = training, options
        self.batch_size = Whole().required("batch_size", batch_size)
        self.dataset, self.split_digest = self._part(dataset, searching), dataset.digest
        self.classes, self.n_classes = dataset.classes, len(dataset.classes)
        self._rank: int = communicator.rank if communicator else 0
        self._n_ranks: int = communicator.n_procs if communicator else 1
        if len(self.dataset) < self._n_ranks:
            raise DataError(f"{dataset.name} gives {len(self.dataset)} images for {self._n_ranks} processes")
        self._cache = ImageCache(options.cache_megabytes * 2**20)
        self._order = lru_cache(maxsize=2)(self._order_of)
        self._pool = ThreadPoolExecutor(options.workers, "images") if options.workers else None
        self._stream: Iterator[Batch] | None = None
        self._position = 0
        self.waited = 0.0
        cv2.setNumThreads(1)  # threads work on images, not inside them
        cv2.setLogLevel(0)  # what it would say of a damaged image is in our error
        findings = self._findings(dataset, searching)
        if self._rank == 0:
            lines = count_lines(dataset.name, [*dataset.findings, *findings])
            if (own := validation_of(dataset)) is not None:
                lines += count_lines(own.name, own.findings)
            for line in lines:
                tell(line)

    def _part(self, dataset: Any, searching: bool) -> Any:
        if not searching:
            return dataset
        train, valid = hold_out(dataset, self.options.held_out, self.options.seed)
        if not self.training and not len(valid):
            raise DataError(
                f"held_out is {self.options.held_out}: no image of {dataset.name} is left to validate on; hold some out"
            )
        return train if self.training else valid

    def _findings(self, dataset: Any, searching: bool) -> list[Finding]:
        """The flaws of the split in its part, as far as they show without opening images; DataError where it has
        nothing to train on or to find."""
        found, options = Findings(), self.options
        if self.training:
            held_out, most = options.held_out if searching else 0, getattr(options, "max_objects", 0)
            to_train_on(dataset, found, held_out=held_out, max_objects=most)
        elif not searching:
            to_test_on(dataset, found)
        return found

    @abstractmethod
    def _make(
        self,
        indices: np.ndarray,
        rngs: list[np.random.Generator] | None,
        sides: tuple[int, int],
        *,
        targets: bool = True,
    ) -> Batch:
        """The batch of these images at `sides` (height, width) pixels, varied by these generators, or not at all.

        Where nobody reads the `targets`, it may leave them out.
        """

    @abstractmethod
    def target_shapes(self) -> list[list[int]]:
        """Shapes of one image's targets."""

    def __len__(self) -> int:
        """Samples of an epoch for each rank."""
        return len(self.dataset) // self._n_ranks

    def next(self) -> dict[str, Any]:
        """The next batch, for ever: {"inputs": [images], "targets": its targets, "indices": of the images}."""
        if self._stream is None:
            self._stream = in_order(self._batch_at, count(self._position), self._pool, self.options.prefetch)
        start = time.perf_counter()
        try:
            batch = next(self._stream)
        except BaseException:
            self._stream = None  # a stream that raised is over; the next call tries the same batch again
            raise
        self.waited += time.perf_counter() - start
        self._position += 1
        return {"inputs": [batch.images], "targets": batch.targets, "indices": batch.indices}

    def state(self) -> dict[str, int]:
        """Where `next` stands: the number of batches it gave."""
        return {"batches": self._position}

    def seek(self, batches: int) -> None:
        """Go on as if `next` had given that many batches: `loader.seek(**loader.state())`. Costs nothing."""
        self._stream, self._position = None, Whole(least=0).required("batches", batches)

    def batches(self, indices: Sequence[int] | np.ndarray | None = None, *, targets: bool = True) -> Iterator[Batch]:
        """The images at `indices`, in that order, without augmentation, in batches of `batch_size`; the last is filled.

        Without `indices`, every image once; each rank gets its share (from its rank on, every n_ranks-th). Without
        `targets`, whoever asks reads none: COCO's heat maps take more memory than its images.
        """
        chosen = np.arange(self._rank, len(self.dataset), self._n_ranks) if indices is None else np.asarray(indices)
        starts = range(0, len(chosen), self.batch_size)
        parts = (chosen[start : start + self.batch_size] for start in starts)
        return in_order(partial(self._still, targets=targets), parts, self._pool, self.options.prefetch)

    def close(self) -> None:
        """End the threads."""
        self._stream = None
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def _order_of(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng(np.random.SeedSequence(self.options.seed, spawn_key=(ORDER, epoch)))
        return rng.permutation(len(self.dataset))

    def _sides_at(self, position: int) -> tuple[int, int]:  # noqa: ARG002
        """Height and width of the batch at a `position`, the same on all ranks."""
        return self.options.image_size

    def _batch_at(self, position: int) -> Batch:
        """The batch at a `position` of this rank's stream."""
        batch = position * self._n_ranks + self._rank
        number = batch * self.batch_size + np.arange(self.batch_size)
        epochs, places = np.divmod(number, len(self.dataset))
        if not self.training:
            return self._make(places, None, self._sides_at(position))
        samples = list(zip(epochs.tolist(), places.tolist(), strict=True))
        keys = (np.random.SeedSequence(self.options.seed, spawn_key=(SAMPLE, *sample)) for sample in samples)
        indices = np.array([self._order(epoch)[place] for epoch, place in samples])
        return self._make(indices, [np.random.default_rng(key) for key in keys], self._sides_at(position))

    def _still(self, indices: np.ndarray, *, targets: bool) -> Batch:
        full = np.pad(indices, (0, self.batch_size - len(indices)), mode="edge")
        return self._make(full, None, self.options.image_size, targets=targets)._replace(n_valid=len(indices))


def in_order(
    make: Callable[[P], T], positions: Iterable[P], pool: ThreadPoolExecutor | None, depth: int
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
