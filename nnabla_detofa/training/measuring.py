"""Measuring a path (Algorithm 1, line 3): BN re-estimation, then the mean validation loss."""

from collections.abc import Iterator
from math import prod

import nnabla as nn
import numpy as np

from ..space.layers import FLOAT_BYTES
from ..supernet import Supernet, reestimate

CACHE_BYTES = 3 << 29  # of a set, on each process: 500 images of VOC at 384 px with their targets, or of COCO without


class FixedImages:
    """The same images in the same batches every time; kept in memory where they are small enough.

    Args:
        loader: gives `batches(indices)`, see `data/`.
        indices: (n,) which of its images.
        targets: whether anybody reads their targets.
    """

    def __init__(self, loader, indices: np.ndarray, *, targets: bool = True):
        self._loader, self._indices, self._targets = loader, indices, targets
        self._kept: list | None = None

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator:
        if self._kept is not None:
            return iter(self._kept)
        batches = self._loader.batches(self._indices, targets=self._targets)
        if not self.kept_bytes:
            return batches
        self._kept = list(batches)
        return iter(self._kept)

    @property
    def kept_bytes(self) -> int:
        """The memory that they take, with their targets; 0 where they would take more than CACHE_BYTES."""
        numbers = 3 * prod(self._loader.options.image_size)
        if self._targets:
            numbers += sum(map(prod, self._loader.target_shapes()))
        size = len(self) * numbers * FLOAT_BYTES
        return size if size <= CACHE_BYTES else 0


class PathPreparer:
    """The supernet as the detector that a path is, one path after the other.

    Args:
        network: the supernet; its running BN statistics are those of the last prepared path afterwards.
        bn_images: training images for BN re-estimation.
    """

    def __init__(self, network: Supernet, bn_images: FixedImages):
        self._network, self._bn_images = network, bn_images

    def prepare(self, path: np.ndarray) -> None:
        """Activate the path with BN statistics of its own, ready for inference."""
        self._network.activate(path)
        reestimate(self._network, (batch.images[: batch.n_valid] for batch in self._bn_images))
        self._network.apply(training=False)


class PathMeasurer(PathPreparer):
    """Validation loss of any path; every path sees the same images, so that only the paths differ.

    Args:
        network, bn_images: see `PathPreparer`.
        loss_weights: of heat map, size and offset; None for a classifier.
        validation_images: held-out images (N_p of Eq. 4).
    """

    def __init__(self, network: Supernet, loss_weights, *, bn_images: FixedImages, validation_images: FixedImages):
        super().__init__(network, bn_images)
        self._loss_weights, self._validation_images = loss_weights, validation_images

    def loss(self, path: np.ndarray) -> float:
        """Mean validation loss of the path; not finite where the training diverged."""
        self.prepare(path)
        graph = None
        total = images = 0.0
        for batch in self._validation_images:
            count = batch.n_valid
            if graph is None or graph[0].shape[0] != count:
                graph = self._graph([array[:count] for array in (batch.images, *batch.targets)])
            *placeholders, loss = graph
            for placeholder, array in zip(placeholders, (batch.images, *batch.targets), strict=True):
                placeholder.d = array[:count]
            loss.forward(clear_buffer=True)
            total += float(loss.d) * count
            images += count
        return total / images

    def _graph(self, arrays):
        placeholders = [nn.Variable(array.shape) for array in arrays]
        images, *targets = placeholders
        return *placeholders, self._network.loss(self._network(images), targets, self._loss_weights)
