"""Blank loaders of data sets that are not there yet: as many black images as there will be; for plans alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .class_masks import BACKGROUND
from .dataset_loader import DatasetLoader
from .generated import NotGeneratedError
from .stream import Batch


@dataclass(frozen=True)
class BlankImages:
    """A data set of which nothing is known but its size and its classes."""

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


class BlankSplits(NamedTuple):
    """Names of both splits, the number of their images, and the classes."""

    name: str
    train: int
    test: int
    classes: tuple[str, ...]

    @classmethod
    def generated(cls, loader: Any, error: NotGeneratedError, chosen: Sequence[Any] | None) -> BlankSplits:
        """Those of pictures that are yet to be made; `chosen` classes are those of the data set's own options."""
        names = [str(one) for one in (chosen or sorted(error.options["classes"]))]
        if loader.task == "segmentation":
            names = [BACKGROUND, *(one for one in names if one != BACKGROUND)]
        n_train, n_test = (error.options[key] for key in ("n_train", "n_test"))
        return cls(f"{error.kind} to be generated", n_train, n_test, tuple(names))

    @classmethod
    def expected(cls, loader: Any, options: Mapping[str, Any], n_classes: int | None) -> BlankSplits | None:
        """Those that a data set's options, and a network of `n_classes`, lead to expect; None where they do not."""
        images, n_classes = options.get("images_expected"), n_classes or options.get("classes_expected")
        if not images or n_classes is None:
            return None
        classes = tuple(f"class {i}" for i in range(n_classes))
        return cls(f"what {loader.declared.where} expects", images["train"], images["test"], classes)


class _Blank:
    """To be mixed in before a loader: the same parts and batches, of `blank` splits."""

    def __init__(self, *part: Any, blank: BlankSplits, **options: Any) -> None:
        self._blank = blank
        super().__init__(*part, **options)

    def _read(self, _options: Any, *, testing: bool) -> BlankImages:
        known = self._blank
        return BlankImages(known.name, known.test if testing else known.train, known.classes)

    def _findings(self, *_: object) -> list:
        return []

    def _make(self, indices: np.ndarray, _rngs: object, sides: tuple[int, int], **_: object) -> Batch:
        n = len(indices)
        targets = [np.zeros((n, *shape), np.float32) for shape in self.target_shapes()]  # type: ignore[attr-defined]
        return Batch(np.zeros((n, 3, *sides), np.float32), targets, indices, np.zeros((n, 2, 3)), n)


def stand_in(
    loader: type, options: Mapping[str, Any], error: DataError, n_classes: int | None
) -> Callable[..., Any] | None:
    """A builder of blank loaders in the place of `loader`, whose data set with these `options` met the `error`.

    None for a loader that is not of ours, and where the splits' numbers are not known; `n_classes` are the network's.
    """
    if not issubclass(loader, DatasetLoader):
        return None
    if isinstance(error, NotGeneratedError):
        blank: BlankSplits | None = BlankSplits.generated(loader, error, options.get("classes"))
    else:
        blank = BlankSplits.expected(loader, options, n_classes)
    return blank and partial(type(f"Blank{loader.__name__}", (_Blank, loader), {}), blank=blank)
