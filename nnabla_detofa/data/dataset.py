"""An annotated data set in memory, and its part that is held out for validation (3.1.2, 4.1)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..detection import GroundTruth
from ..errors import DataError
from .options import require_held_out

HELD_OUT, ORDER, SAMPLE, DIGITS = range(4)  # spawn keys: each use of the seed has a stream of its own


class Image(NamedTuple):
    """An image with n objects: `boxes` (n, 4) float32 x1 y1 x2 y2 as annotated, `labels` (n,), flags (n,) bool."""

    file: Path
    id: str | int
    size: tuple[int, int]  # width, height
    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class DetectionDataset:
    """Images with their objects; image i of detections and ground truth is `images[i]`.

    `origin` is what the annotation's coordinates call the centre of the top left pixel: 1 in VOC, which counts pixels
    from 1, and 0.5 in COCO, whose coordinates are lengths from the image's corner. Boxes stay as annotated; whoever
    warps them takes the origin into account, so that AP is computed in the annotators' own coordinates.
    `skipped` lists, for each kind of flaw, the boxes that were left out.
    """

    name: str
    classes: tuple[str, ...]
    images: tuple[Image, ...]
    origin: float
    skipped: dict[str, list[str]] = field(default_factory=dict)
    category_ids: tuple[int, ...] = ()  # COCO: of each class
    annotation_file: Path | None = None  # COCO: the instances json

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_ids(self) -> tuple[str | int, ...]:
        return tuple(image.id for image in self.images)

    def subset(self, indices: Sequence[int] | np.ndarray) -> DetectionDataset:
        """The images at `indices`, in that order."""
        return replace(self, images=tuple(self.images[i] for i in indices))

    def ground_truth(self) -> GroundTruth:
        """All objects, flat. Crowds count as difficult: finding one is neither right nor wrong."""
        counts = [len(image.labels) for image in self.images]
        return GroundTruth(
            image=np.repeat(np.arange(len(self)), counts),
            label=_flat([image.labels for image in self.images], np.int64),
            box=_flat([image.boxes for image in self.images], np.float32).reshape(-1, 4),
            difficult=_flat([image.difficult | image.crowd for image in self.images], np.bool_),
        )

    def flaws(self) -> str:
        """One line that counts the boxes left out, with examples; empty if there are none."""
        told = [f"{len(places)} {flaw} ({_examples(places)})" for flaw, places in self.skipped.items()]
        return f"{self.name}: boxes left out: {'; '.join(told)}" if told else ""


def _flat(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)


def _examples(places: list[str], limit: int = 3) -> str:
    return ", ".join(places[:limit]) + (", …" if len(places) > limit else "")


class Flaws:
    """Finds boxes that cannot be objects, and remembers where they were."""

    def __init__(self, origin: float) -> None:
        self.origin = origin
        self.skipped: defaultdict[str, list[str]] = defaultdict(list)

    def sound(self, boxes: np.ndarray, size: tuple[int, int], place: str) -> np.ndarray:
        """Which of the `boxes` (n, 4) of an image of `size` have an area and touch the image; (n,) bool.

        A box that only sticks out is kept: the part inside is what is trained on, the whole is what AP compares.
        """
        edge = self.origin - 0.5  # where the first pixel begins
        flat = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
        outside = (boxes[:, 2:] <= edge).any(axis=1) | (boxes[:, :2] >= edge + np.array(size)).any(axis=1)
        for number in np.flatnonzero(flat | outside):
            flaw = "of zero or negative size" if flat[number] else "outside the image"
            self.skipped[flaw].append(f"{place} object {number}")
        return ~(flat | outside)


def hold_out(dataset: DetectionDataset, held_out: float | int, seed: int) -> tuple[DetectionDataset, DetectionDataset]:
    """A random partition into the part that is trained on and the part held out for validation.

    `held_out` is a share in [0, 1) or a number of images. Depends on `seed` alone. Both parts are in random order, so
    that the first n images of a part are a fair sample of it. Raises DataError if nothing is left to train on.
    """
    n, held_out = len(dataset), require_held_out(held_out)
    share = max(1, round(n * held_out)) if 0 < held_out < 1 else int(held_out)
    if share >= n:
        raise DataError(f"held_out takes {share} of the {n} images of {dataset.name}; none is left to train on")
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(HELD_OUT,))).permutation(n)
    return dataset.subset(order[share:]), dataset.subset(order[:share])
