"""Objects as annotated to what is trained on and compared with: flawed boxes leave here (4.1)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .dataset import Image
from .flaws import Findings, Flaw
from .listing import composed

FURTHEST = 2.0**20  # beyond the largest image that OpenCV reads; squares of coordinates must not overflow
CORNERS = f"finite and from -{FURTHEST:.0f} to {FURTHEST:.0f}"


class Object(NamedTuple):
    """An annotated object: its key among the flaws, and its box x1 y1 x2 y2 as annotated."""

    key: int | str
    label: int
    box: tuple[float, float, float, float]
    difficult: bool = False
    crowd: bool = False
    ignored: bool = False


class Wanted:
    """The classes whose objects are kept.

    `listed_by` is what a configuration calls its list of classes where that is not given, so that they are those of the
    training split; None where somebody chose the classes.
    """

    def __init__(self, classes: Iterable[Any], listed_by: str | None = None) -> None:
        self.names = tuple(composed(str(one).strip()) for one in classes)
        self._labels = {name: label for label, name in enumerate(self.names)}
        self._listed_by = listed_by

    def label(self, name: str, place: Path, key: int | str | None, findings: Findings) -> int | None:
        """The label of a class; None, and the flaw in `findings`, for another class."""
        label = self._labels.get(name)
        if label is None and self._listed_by is None:
            findings.add(Flaw.CLASS_LEFT_OUT, place, repr(name), object=key)
        elif label is None:
            listed = ", ".join([*(self.names if len(self.names) <= 20 else ("…",)), name])
            findings.add(Flaw.CLASS_ONLY_IN_TEST, place, f"{name!r}; {self._listed_by}=[{listed}] adds it", object=key)
        return label

    def require_some(self, found: Iterable[str], place: Path, name: str, findings: Findings) -> None:
        """The flaw of a split `name` that has objects, and none of these classes."""
        found = sorted(set(found))
        if found and not set(found) & set(self.names):
            reason = f"{name} has no object of the classes {', '.join(self.names)}; it has {', '.join(found)}"
            findings.add(Flaw.CLASSES_ABSENT, place, reason)


def are_corners(numbers: Iterable[float]) -> bool:
    """Whether all numbers are finite and of a bearable size."""
    return all(abs(one) <= FURTHEST for one in numbers)


def sound_image(
    file: Path,
    name: str | int,
    size: tuple[int, int],
    objects: list[Object],
    *,
    origin: float,
    place: Path,
    findings: Findings,
) -> Image:
    """The image with the objects that have an area and touch it, each once.

    A box that only sticks out is kept: the part inside is what is trained on, the whole is what AP compares. `origin`
    is as in `DetectionDataset`; `place` is the file to name where an object is flawed.
    """
    edge = origin - 0.5  # where the first pixel begins
    boxes = np.array([one.box for one in objects], np.float32).reshape(-1, 4)
    low, high = boxes[:, :2], boxes[:, 2:]
    end = edge + np.array(size, np.float32)
    flaws = {
        Flaw.BOX_INVERTED: (high < low).any(axis=1),
        Flaw.BOX_ZERO: (high == low).any(axis=1),
        Flaw.BOX_IN_SHARES: ((low >= 0) & (high <= 1)).all(axis=1),
        Flaw.BOX_OUTSIDE: (high <= edge).any(axis=1) | (low >= end).any(axis=1),
        Flaw.BOX_REPEATED: _repeated(objects),
    }
    sound = np.ones(len(objects), bool)
    for flaw, found in flaws.items():
        for number in np.flatnonzero(found & sound):  # each object counts once, for its worst flaw
            findings.add(flaw, place, _corners(boxes[number]), object=objects[number].key)
        sound &= ~found
    sticks_out = (low < edge - 1).any(axis=1) | (high > end + 1).any(axis=1)
    for number in np.flatnonzero(sticks_out & sound):
        findings.add(Flaw.BOX_STICKS_OUT, place, _corners(boxes[number]), object=objects[number].key)
    kept = [one for one, keep in zip(objects, sound, strict=True) if keep]
    if not kept:
        findings.add(Flaw.NO_BOXES, place)
    for one in kept:
        for flaw, found in ((Flaw.CROWD, one.crowd), (Flaw.DIFFICULT, one.difficult), (Flaw.IGNORED, one.ignored)):
            if found:
                findings.add(flaw, place, object=one.key)
    labels = np.array([one.label for one in kept], np.int64)
    flags = (np.array([getattr(one, flag) for one in kept], bool) for flag in ("difficult", "crowd", "ignored"))
    return Image(file, name, size, boxes[sound], labels, *flags)


def _repeated(objects: list[Object]) -> np.ndarray:
    """Which objects have class and corners of one before them; (n,) bool."""
    first: dict[tuple, int] = {}
    numbers = [first.setdefault((one.label, one.box, one.crowd), i) for i, one in enumerate(objects)]
    return np.array(numbers, int) < np.arange(len(objects))


def _corners(box: np.ndarray) -> str:
    return f"({', '.join(f'{corner:.6g}' for corner in box)})"
