"""Loaders of data sets that are not there yet: blank images, as many as a configuration expects; for plans alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .disk import DiskLoader
from .options import from_mapping
from .stream import BatchStream


@dataclass(frozen=True)
class ExpectedImages:
    """A data set of which nothing is known but its size and the number of its classes."""

    name: str
    n: int
    n_classes: int
    findings: tuple = ()
    digest: str = ""

    def __len__(self) -> int:
        return self.n

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(f"class {i}" for i in range(self.n_classes))

    def subset(self, indices: Sequence[int] | np.ndarray) -> ExpectedImages:
        """As many images as there are `indices`."""
        return replace(self, n=len(indices))


class BlankBatch(NamedTuple):
    """B black images with targets of zeros; see `BatchStream`."""

    images: np.ndarray
    targets: list[np.ndarray]
    indices: np.ndarray
    n_valid: int


class _Blank:
    """To be mixed in before a loader: the same parts and batches, of `images_expected` blank images."""

    kind: ClassVar[Any]

    def __init__(
        self,
        searching: bool,
        training: bool,
        batch_size: int,
        *,
        n_classes: int,
        communicator: Any = None,
        **options: Any,
    ) -> None:
        chosen = from_mapping(self.kind, options, self.kind.where)
        split = "train" if searching or training else "test"
        BatchStream.__init__(
            self,  # type: ignore[arg-type]
            ExpectedImages(f"what {self.kind.where} expects", chosen.images_expected[split], n_classes),
            searching=searching,
            training=training,
            batch_size=batch_size,
            options=chosen,
            communicator=communicator,
        )

    def _findings(self, dataset: ExpectedImages) -> list:
        return list(dataset.findings)

    def _make(self, indices: np.ndarray, _rngs: object, side: int) -> BlankBatch:
        n = len(indices)
        shapes = self.target_shapes()  # type: ignore[attr-defined]
        targets = [np.zeros((n, *shape), np.float32) for shape in shapes]
        return BlankBatch(np.zeros((n, 3, side, side), np.float32), targets, indices, n)


def blank_loader(loader: type) -> type | None:
    """The blank loader that stands in for this one; None for a loader that is not of ours."""
    return type(f"Blank{loader.__name__}", (_Blank, loader), {}) if issubclass(loader, DiskLoader) else None
