"""Annotated images to a data set: classes are chosen, and flawed boxes leave here (4.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .dataset import DetectionDataset, Image
from .flaws import Findings, Flaw
from .listing import composed

FURTHEST = 2.0**20  # beyond the largest image that OpenCV reads; squares of coordinates must not overflow
CORNERS = f"finite and from -{FURTHEST:.0f} to {FURTHEST:.0f}"
FEWEST = 8  # boxes to judge their form by
SUSPICIOUS = 1 / 3  # of the boxes do not fit as they are
FEW_PIXELS = 1.0  # beyond the image's edge

Box = tuple[float, float, float, float]


class Object(NamedTuple):
    """An annotated object: its key among the flaws, its class, and its box x1 y1 x2 y2 as annotated."""

    key: int | str
    name: str
    box: Box
    difficult: bool = False
    crowd: bool = False
    ignored: bool = False


class Sample(NamedTuple):
    """An image of `size` (width, height) as annotated; `place` is the file to name where an object is flawed."""

    file: Path
    id: int | str
    size: tuple[int, int]
    objects: list[Object]
    place: Path


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


def note_repeated(names: Mapping[Any, str], file: Path, findings: Findings) -> None:
    """The flaw of a name that classes of several ids have, of each but the first."""
    first: dict[str, Any] = {}
    for key, name in names.items():
        if first.setdefault(name, key) != key:
            findings.add(Flaw.CATEGORY_REPEATED, file, repr(name), object=key)


def note_shared(samples: Iterable[Sample], findings: Findings) -> None:
    """The flaw of images that take their objects from one file, as a.jpg and a.png do from a.xml."""
    first: dict[Path, Sample] = {}
    for one in samples:
        if one.objects and (other := first.setdefault(one.place, one)) is not one:
            findings.add(Flaw.ANNOTATION_SHARED, one.place, f"of {other.file.name} and {one.file.name}")


def are_corners(numbers: Iterable[float]) -> bool:
    """Whether all numbers are finite and of a bearable size."""
    return all(abs(one) <= FURTHEST for one in numbers)


def dataset_of(
    name: str,
    samples: Sequence[Sample],
    wanted: Wanted,
    *,
    origin: float,
    form: str,
    place: Path,
    findings: Findings,
    **more: Any,
) -> DetectionDataset:
    """The images with the objects of wanted classes that have an area and touch their image, each once.

    A box that only sticks out is kept: the part inside is what is trained on, the whole is what AP compares. `origin`
    is as in `DetectionDataset`, where `more` goes too. `form`: the one of FORMS that boxes have in the split's files,
    which are at `place`.
    """
    wanted.require_some((one.name for sample in samples for one in sample.objects), place, name, findings)
    objects: list[Object] = []  # of all images
    labels, numbers = [], []  # numbers are places in `samples`
    for number, sample in enumerate(samples):
        for one in sample.objects:
            if (label := wanted.label(one.name, sample.place, one.key, findings)) is not None:
                objects.append(one)
                labels.append(label)
                numbers.append(number)
    image, kinds = np.array(numbers, np.int64), np.array(labels, np.int64)
    exact = np.array([one.box for one in objects], np.float64).reshape(-1, 4)
    size = np.array([sample.size for sample in samples], np.float64).reshape(-1, 2)[image]
    boxes, edge = exact.astype(np.float32), origin - 0.5  # where the first pixel begins
    low, high, end = boxes[:, :2], boxes[:, 2:], edge + size.astype(np.float32)
    first: dict[tuple, int] = {}
    same = zip(numbers, labels, ((one.box, one.crowd) for one in objects), strict=True)
    repeated = np.array([first.setdefault(key, i) for i, key in enumerate(same)], np.int64)
    found = {
        Flaw.BOX_INVERTED: (high < low).any(axis=1),
        Flaw.BOX_ZERO: (high == low).any(axis=1),
        Flaw.BOX_IN_SHARES: ((low >= 0) & (high <= 1)).all(axis=1),
        Flaw.BOX_OUTSIDE: (high <= edge).any(axis=1) | (low >= end).any(axis=1),
        Flaw.BOX_REPEATED: repeated < np.arange(len(objects)),
    }
    sound = np.ones(len(objects), bool)
    for flaw, each in found.items():  # each object counts once, for its worst flaw
        found[flaw] = each & sound
        sound &= ~each
    found[Flaw.BOX_STICKS_OUT] = sound & ((low < edge - 1).any(axis=1) | (high > end + 1).any(axis=1))
    difficult, crowd, ignored = np.array([one[3:] for one in objects], bool).reshape(-1, 3).T
    for flaw, flag in ((Flaw.DIFFICULT, difficult), (Flaw.CROWD, crowd), (Flaw.IGNORED, ignored)):
        found[flaw] = sound & flag
    for flaw, each in found.items():
        for i in np.flatnonzero(each):
            corners = f"({', '.join(f'{corner:.6g}' for corner in boxes[i])})" if flaw.name.startswith("BOX") else ""
            findings.add(flaw, samples[image[i]].place, corners, object=objects[i].key)
    _require_usual_form(exact, size, {flaw: int(each.sum()) for flaw, each in found.items()}, place, findings, form)
    counts = np.bincount(image[sound], minlength=len(samples))
    ends = np.cumsum(counts)
    columns = [column[sound] for column in (boxes, kinds, difficult, crowd, ignored)]
    images = []
    for sample, start, stop in zip(samples, (ends - counts).tolist(), ends.tolist(), strict=True):
        if start == stop:
            findings.add(Flaw.NO_BOXES, sample.place)
        images.append(Image(sample.file, sample.id, sample.size, *(column[start:stop] for column in columns)))
    return DetectionDataset(name, wanted.names, tuple(images), origin, findings=tuple(findings), **more)


def _require_usual_form(
    boxes: np.ndarray, size: np.ndarray, counts: dict[Flaw, int], place: Path, findings: Findings, form: str
) -> None:
    """The flaw of a split whose boxes (n, 4) in images of `size` (n, 2) are well-formed and of another form.

    A few such numbers are mistakes of their own, which leave as flawed boxes; a whole split of them is a converter's
    mistake. They are in shares of the image where more than half of them lie within 0 to 1, and of another form than
    their own where many do not fit into their image, and all would in the other form.
    """
    n, shares = len(boxes), counts[Flaw.BOX_IN_SHARES]
    wants, others = FORMS[form]
    if 2 * shares > n:
        reason = f"{shares} of {n} boxes lie within 0 to 1, as shares of the image do; boxes must be in pixels"
        if form == "shares":
            reason = f"{shares} of {n} boxes are no pixel large, as if they were divided by the image's size twice"
        findings.add(Flaw.BOXES_IN_ANOTHER_FORM, place, f"{place}: {reason}")
        return
    unfit = counts[Flaw.BOX_INVERTED] if form == "corners" else counts[Flaw.BOX_STICKS_OUT] + counts[Flaw.BOX_OUTSIDE]
    if n < FEWEST or unfit < SUSPICIOUS * n:
        return
    for has, low, high in others(boxes[:, :2], boxes[:, 2:], size):
        if (high <= size + FEW_PIXELS).all() and (high > low).all():
            reason = f"{unfit} of {n} boxes do not fit into their image, and all would if they were {has}"
            findings.add(Flaw.BOXES_IN_ANOTHER_FORM, place, f"{place}: {reason}; boxes must be {wants}")
            return


def _instead_of_shares(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> Iterator[tuple[str, Any, Any]]:
    """The corners that shares of the image, centre and size, would be if they were meant in other ways."""
    first, second = (low + high) / 2 / size, (high - low) / size  # the numbers as they were written
    forms = {
        "x1, y1, x2, y2": (first, second),
        "x, y of a corner, width, height": (first, first + second),
        "centre x, y, width, height": (first - second / 2, first + second / 2),
    }
    for form, corners in list(forms.items())[:2]:
        yield f"{form} as shares of the image", *(one * size for one in corners)
    if (second >= 1).all():  # a pixel large; shares are less
        for form, corners in forms.items():
            yield f"{form} in pixels", *corners


# what boxes must be, and what else they may turn out to be: in words, with both corners
FORMS: dict[str, tuple[str, Callable[[Any, Any, Any], Iterable[tuple[str, Any, Any]]]]] = {
    "corners": ("corners", lambda low, high, _: [("x, y, width, height", low, low + high)]),
    "sides": ("x, y, width, height", lambda low, high, _: [("corners x1, y1, x2, y2", low, high - low)]),
    "shares": ("centre x, y, width, height as shares of the image, from 0 to 1", _instead_of_shares),
}
