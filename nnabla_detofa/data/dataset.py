"""An annotated data set in memory, and its part that is held out for validation (3.1.2, 4.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..detection import GroundTruth, Id
from ..errors import DataError
from .flaws import Finding, Findings, Flaw, what_was_lost

Own = TypeVar("Own", bound="AnnotatedImages")
HELD_OUT, ORDER, SAMPLE, DIGITS, LETTERS = range(5)  # spawn keys: each use of the seed has a stream of its own


class Image(NamedTuple):
    """An image with n objects: `boxes` (n, 4) float32 x1 y1 x2 y2 as annotated, `labels` (n,), flags (n,) bool."""

    file: Path
    id: str | int
    size: tuple[int, int]  # width, height
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    ignored: np.ndarray  # not trained on

    @property
    def trained(self) -> np.ndarray:
        """Places of the objects that are trained on."""
        return np.flatnonzero(~self.ignored)


def digest_of(classes: tuple[str, ...], annotations: Iterable[bytes]) -> str:
    """The digest of a data set: other annotations, and another order of them, are another data set."""
    found = hashlib.sha256(repr(classes).encode())
    for one in annotations:
        found.update(one)
    return found.hexdigest()[:16]


@dataclass(frozen=True)
class AnnotatedImages:
    """Images in memory, each with its `file` and its `size` (width, height); a task adds what is annotated in them."""

    name: str
    classes: tuple[str, ...]
    images: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.images)

    def picture(self, index: int) -> tuple[Path, tuple[int, int]]:
        """File and annotated (width, height) of an image."""
        return self.images[index].file, self.images[index].size

    def subset(self: Own, indices: Sequence[int] | np.ndarray) -> Own:
        """The images at `indices`, in that order."""
        return replace(self, images=tuple(self.images[i] for i in indices))


@dataclass(frozen=True)
class DetectionDataset(AnnotatedImages):
    """Images with their objects; image i of detections and ground truth is `images[i]`.

    `origin` is what the annotation's coordinates call the centre of the top left pixel: 1 in VOC, which counts pixels
    from 1, and 0.5 in COCO, whose coordinates are lengths from the image's corner. Boxes stay as annotated; whoever
    warps them takes the origin into account, so that AP is computed in the annotators' own coordinates.
    `findings` are the flaws met in reading it, as far as they show without opening its images.
    """

    images: tuple[Image, ...]
    origin: float
    findings: tuple[Finding, ...] = ()
    category_ids: tuple[Id | None, ...] = ()  # COCO: of each class; None for one that the file does not define
    annotation_file: Path | None = None  # COCO: the instances json
    validation: DetectionDataset | None = None  # of a training split that brings its own held-out images

    @property
    def image_ids(self) -> tuple[str | int, ...]:
        return tuple(image.id for image in self.images)

    @property
    def class_counts(self) -> np.ndarray:
        """Objects of each class, those to be ignored aside."""
        return np.bincount(
            _flat([image.labels[image.trained] for image in self.images], np.int64), minlength=len(self.classes)
        )

    @cached_property
    def digest(self) -> str:
        """Of classes, image names, sizes and objects, in their order."""
        return digest_of(self.classes, self._annotations())

    def _annotations(self) -> Iterator[bytes]:
        for image in self.images:
            yield repr((image.id, image.size, len(image.labels))).encode()
            yield from (one.tobytes() for one in (image.boxes, image.labels, image.difficult, image.crowd))
            if image.ignored.any():  # sets without any keep the digest that they had before these were known
                yield image.ignored.tobytes()
        if self.validation is not None:
            yield self.validation.digest.encode()

    def ground_truth(self) -> GroundTruth:
        """All objects, flat. Crowds and ignored ones count as difficult: finding one is neither right nor wrong."""
        counts = [len(image.labels) for image in self.images]
        return GroundTruth(
            image=np.repeat(np.arange(len(self)), counts),
            label=_flat([image.labels for image in self.images], np.int64),
            box=_flat([image.boxes for image in self.images], np.float32).reshape(-1, 4),
            difficult=_flat([image.difficult | image.crowd | image.ignored for image in self.images], np.bool_),
        )


def _flat(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)


def validation_of(dataset: Any) -> Any:
    """The images for validation that a training split brings; None where some of its own are held out."""
    return getattr(dataset, "validation", None)


def n_held_out(n: int, held_out: float | int) -> int:
    """Number of `n` images that a share in [0, 1) takes, or a number of images, of which half of them are the most."""
    return max(1, round(n * held_out)) if 0 < held_out < 1 else min(int(held_out), n // 2)


def hold_out(dataset: Any, held_out: float | int, seed: int) -> tuple[Any, Any]:
    """A random partition into the part that is trained on and the part held out for validation.

    Where the data set brings the latter, all of it is trained on. Depends on `seed` alone. Both parts are in random
    order, so that the first n images of a part are a fair sample of it. A data set has `name`, a length and
    `subset(indices)`. Raises DataError if nothing is left to train on.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(HELD_OUT,)))
    if (own := validation_of(dataset)) is not None:
        return dataset.subset(rng.permutation(len(dataset))), own.subset(rng.permutation(len(own)))
    n, share = len(dataset), n_held_out(len(dataset), held_out)
    if share >= n:
        raise DataError(f"held_out takes {share} of the {n} images of {dataset.name}; none is left to train on")
    order = rng.permutation(n)
    return dataset.subset(order[share:]), dataset.subset(order[:share])


def to_train_on(dataset: Any, findings: Findings, *, held_out: float | int = 0, max_objects: int = 0) -> None:
    """The flaws of a training split: nothing to learn, of a class or at all, too much held out, too many objects."""
    place, counts, n = Path(dataset.name), dataset.class_counts, len(dataset)
    held_out = 0 if validation_of(dataset) is not None else held_out
    if held_out >= 1 and held_out > n // 2:
        findings.add(Flaw.HELD_OUT_MORE, place, f"held_out is {held_out} of {n} images")
    if n_held_out(n, held_out) >= n:
        reason = f"held_out takes all {n} images of {dataset.name}; none is left to train on"
        findings.add(Flaw.HELD_OUT_ALL, place, reason)
    if not counts.any():
        reason = f"{dataset.name} has no object of the classes {', '.join(dataset.classes)}, so nothing can be learnt"
        findings.add(Flaw.NOTHING_TO_TRAIN, place, reason + what_was_lost(dataset.findings))
        return
    for label in np.flatnonzero(counts == 0):
        findings.add(Flaw.CLASS_UNTRAINED, place, object=dataset.classes[label])
    for image in dataset.images if max_objects else ():
        if len(image.trained) > max_objects:
            detail = f"{len(image.trained)} objects, max_objects is {max_objects}"
            findings.add(Flaw.TOO_MANY_OBJECTS, image.file, detail)


def to_test_on(dataset: Any, findings: Findings) -> None:
    """The flaws of a test split: nothing to find, of a class or at all."""
    place, counts = Path(dataset.name), dataset.class_counts
    if hasattr(dataset, "ground_truth"):
        truth = dataset.ground_truth()
        counts = np.bincount(truth.label[~truth.difficult], minlength=len(dataset.classes))
    if not counts.any():
        reason = "has no object to find, so average precision is not defined; difficult ones and crowds do not count"
        findings.add(Flaw.NOTHING_TO_FIND, place, f"{dataset.name} {reason}")
        return
    for label in np.flatnonzero(counts == 0):
        findings.add(Flaw.CLASS_UNTESTED, place, object=dataset.classes[label])
