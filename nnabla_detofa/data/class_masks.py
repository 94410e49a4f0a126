"""Data sets with a class for each pixel, and their batches (the second dense task; an addition)."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from ..detection import Id
from ..segmentation import to_cells, warp_classes
from .dataset import AnnotatedImages, digest_of
from .flaws import Finding, Findings, Flaw
from .loader import WarpedLoader
from .objects import Wanted

BACKGROUND = "background"  # the first class of every set


class MaskedImage(NamedTuple):
    """An image of `size` (width, height); `classes()` is (height, width) uint8, the class of each pixel or IGNORED."""

    file: Path
    id: Id
    size: tuple[int, int]
    classes: Callable[[], np.ndarray]
    shown: tuple[int, ...]  # the classes that it shows, ascending
    digest: bytes  # of its annotation


@dataclass(frozen=True)
class Packed:
    """A class map (height, width) uint8, kept small in memory."""

    packed: bytes
    sides: tuple[int, int]
    digest: bytes

    @classmethod
    def of(cls, classes: np.ndarray) -> Packed:
        """That of a map."""
        content = np.ascontiguousarray(classes).tobytes()
        digest = hashlib.blake2b(content, digest_size=16).digest()
        return cls(zlib.compress(content, 1), (classes.shape[0], classes.shape[1]), digest)

    def __call__(self) -> np.ndarray:
        return np.frombuffer(zlib.decompress(self.packed), np.uint8).reshape(self.sides)


@dataclass(frozen=True)
class MaskedDataset(AnnotatedImages):
    """Images with masks; `classes` are BACKGROUND and the classes of objects.

    `findings` are the flaws met in reading it, as far as they show without opening its images.
    """

    origin: ClassVar[float] = 0.0  # of every set: masks have no coordinates of their own

    images: tuple[MaskedImage, ...]
    findings: tuple[Finding, ...] = ()
    category_ids: tuple[Id | None, ...] = ()  # COCO: of each class; None for what the file does not define

    @property
    def class_counts(self) -> np.ndarray:
        """The images that show each class, of those that show an object."""
        shown = [one for image in self.images if any(image.shown) for one in image.shown]
        return np.bincount(np.array(shown, int), minlength=len(self.classes))

    @cached_property
    def digest(self) -> str:
        """Of classes, image names, sizes and masks, in their order."""
        return digest_of(self.classes, (repr((one.id, one.size, one.digest)).encode() for one in self.images))


class ObjectClasses:
    """The classes of a set's objects, and their labels, in front of which BACKGROUND is 0.

    `classes` selects, and gives an order; None takes those that are `there`, in their order. `listed_by` is as in
    `Wanted`.
    """

    def __init__(self, classes: Iterable[object] | None, there: Iterable[str], listed_by: str | None) -> None:
        self._wanted = Wanted((one for one in (there if classes is None else classes) if one != BACKGROUND), listed_by)
        self.names = (BACKGROUND, *self._wanted.names)

    def label(self, name: str, place: Path, key: int | str | None, findings: Findings) -> int:
        """The label of a class; that of BACKGROUND, and the flaw in `findings`, for another class."""
        label = 0 if name == BACKGROUND else self._wanted.label(name, place, key, findings)
        return 0 if name == BACKGROUND or label is None else label + 1

    def require_some(self, found: Iterable[str], place: Path, name: str, findings: Findings) -> None:
        """As `Wanted.require_some`."""
        self._wanted.require_some((one for one in found if one != BACKGROUND), place, name, findings)


def note_empty(images: Iterable[MaskedImage], findings: Findings) -> None:
    """The finding of each image without an object."""
    for image in images:
        if not any(image.shown):
            findings.add(Flaw.NO_BOXES, image.file)


class SegmentationLoader(WarpedLoader):
    """Images with the class of each cell (B, 1, h, w): that of the pixel in its middle, IGNORED beyond the image."""

    task = "segmentation"
    target_types = (np.uint8,)

    def target_shapes(self) -> list[list[int]]:
        """Shape of one image's map of classes."""
        return [[1, *self._cells]]

    def _write(self, index: int, rng: np.random.Generator | None, out: np.ndarray) -> np.ndarray:
        stride = self.options.output_stride
        return to_cells(super()._write(index, rng, out) * stride, stride)

    def _write_targets(self, index: int, matrix: np.ndarray, out: Sequence[np.ndarray]) -> None:
        out[0][0] = warp_classes(self.dataset.images[index].classes(), matrix, self._cells)
