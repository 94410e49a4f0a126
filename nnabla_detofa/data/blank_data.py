"""Blank loaders of data sets that are not there yet: as many black images as expected; for plans alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .dataset_loader import DatasetLoader
from .stream import Batch


@dataclass(frozen=True)
class BlankImages:
    """A data set of which nothing is known but its size and the number of its classes."""

    name: str
    n: int
    classes: tuple[str, ...]
    findings: tuple = ()
    digest: str = ""

    def __len__(self) -> int:
        return self.n

    def subset(self, indices: Sequence[int] | np.ndarray) -> BlankImages:
        """As many images as there are `indices`."""
        return replace(self, n=len(indices))


class _Blank:
    """To be mixed in before a loader: the same parts and batches, of `images_expected` blank images."""

    declared: Any

    def __init__(self, *part: Any, n_classes: int, **options: Any) -> None:
        self._classes = tuple(f"class {i}" for i in range(n_classes))
        super().__init__(*part, **options)

    def _read(self, options: Any, *, testing: bool) -> BlankImages:
        expected = options.images_expected
        n = expected.test if testing else expected.train
        return BlankImages(f"what {self.declared.where} expects", n, self._classes)

    def _findings(self, *_: object) -> list:
        return []

    def _make(self, indices: np.ndarray, _rngs: object, sides: tuple[int, int]) -> Batch:
        n = len(indices)
        targets = [np.zeros((n, *shape), np.float32) for shape in self.target_shapes()]  # type: ignore[attr-defined]
        return Batch(np.zeros((n, 3, *sides), np.float32), targets, indices, np.zeros((n, 2, 3)), n)


def blank_loader(loader: type) -> type | None:
    """The blank loader that stands in for this one; None for a loader that is not of ours."""
    return type(f"Blank{loader.__name__}", (_Blank, loader), {}) if issubclass(loader, DatasetLoader) else None
