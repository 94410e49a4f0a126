"""Average precision on resampled test images, and the interval that it lies in (4.1; the interval is an addition).

Detections are matched with objects once. A resample then only gives each image a weight, how often it was drawn, and
all resamples are evaluated together: the precision after each right detection, times the share of the recall axis that
it covers. Others matter by the ranks that they take, and in no other way.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..errors import DataError
from .boxes import Detections, GroundTruth, check_labels
from .coco_ap import evaluated
from .coco_file import Id, as_id
from .voc_ap import ELEVEN, averages, judged

N_RESAMPLES = 1000
LEVELS = {"11-point": ELEVEN, "area": None}  # of recall, where precision is read
SHARE = 0.95  # of the resamples that an interval holds
AT_ONCE = 5_000_000  # weights of detections in memory


class Judged(Protocol):
    """Answers to test images beside what was to be found, ready to be weighted."""

    @property
    def n_images(self) -> int:
        """Their number, those without an object or an answer included."""

    def per_class(self, weights: np.ndarray) -> np.ndarray:
        """For each row of `weights`, (resamples, n_images) int, the figure of each class, (resamples, n_classes); nan
        where a class has nothing to find."""

    def figure(self, weights: np.ndarray) -> np.ndarray:
        """The figure of each row of `weights`, (resamples,); nan where there is nothing to find at all."""


@dataclass(frozen=True)
class JudgedDetections:
    """n detections, the best first, judged at T overlaps, and the m objects that are to be found.

    image, label: (n,). right, ignored: (T, n) bool, what is neither is wrong. object_image, object_label: (m,).
    levels: of recall, ascending, where precision is read; None for the area under its envelope.
    """

    n_images: int
    n_classes: int
    image: np.ndarray
    label: np.ndarray
    right: np.ndarray
    ignored: np.ndarray
    object_image: np.ndarray
    object_label: np.ndarray
    levels: np.ndarray | None

    def per_class(self, weights: np.ndarray) -> np.ndarray:
        """Average precision, the mean over the overlaps. That of a data set with each image as often as it weighs, in
        which the copies of a detection follow each other."""
        own, found = np.asarray(weights).T, np.empty((len(weights), self.n_classes))
        order = np.argsort(self.label, kind="stable")
        bounds = np.searchsorted(self.label[order], np.arange(self.n_classes + 1))
        for label in range(self.n_classes):
            rows = order[bounds[label] : bounds[label + 1]]
            objects = self.object_image[self.object_label == label]
            step = max(1, AT_ONCE // max(1, len(rows), len(objects)))
            for first in range(0, len(weights), step):
                some = np.ascontiguousarray(own[:, first : first + step], np.int32)
                found[first : first + step, label] = self._average(rows, some, some[objects].sum(axis=0))
        return found

    def figure(self, weights: np.ndarray) -> np.ndarray:
        """Mean average precision over the classes that have an object in the resample."""
        return np.ma.masked_invalid(self.per_class(weights)).mean(axis=1).filled(np.nan)

    def _average(self, rows: np.ndarray, weights: np.ndarray, positives: np.ndarray) -> np.ndarray:
        """Of one class, whose detections are `rows`, by `weights` (n_images, r) with `positives` (r,) to find; (r,)."""
        own = weights[self.image[rows]]
        rank = np.cumsum(own, axis=0, dtype=np.int32)
        averages = [
            self._area(own[right], _less(rank[right], own[ignored], ignored, right), np.maximum(positives, 1))
            for right, ignored in zip(map(np.flatnonzero, self.right[:, rows]), self.ignored[:, rows], strict=True)
        ]
        return np.where(positives > 0, np.mean(averages, axis=0), np.nan)

    def _area(self, own: np.ndarray, rank: np.ndarray, positives: np.ndarray) -> np.ndarray:
        """Precision over the recall axis, by weights and last ranks (k, r) of the k right detections; (r,)."""
        if not len(own):
            return np.zeros(len(positives))
        found = np.cumsum(own, axis=0)
        precision = found / np.maximum(rank, 1)  # 0 where nothing was drawn yet
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        if self.levels is None:
            covered = own / positives
        else:
            reached = np.searchsorted(self.levels, found / positives, side="right")
            covered = np.diff(reached, axis=0, prepend=0) / len(self.levels)
        return np.einsum("kr,kr->r", envelope, covered)


def _less(rank: np.ndarray, weights: np.ndarray, ignored: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Ranks (k, r) of `right` detections, without those before them that are `ignored` and have these `weights`."""
    if not len(weights):
        return rank
    before = np.concatenate([np.zeros_like(weights[:1]), np.cumsum(weights, axis=0, dtype=weights.dtype)])
    return rank - before[np.cumsum(ignored)[right]]


@dataclass(frozen=True)
class JudgedAnswers:
    """Classification: which images were `right`, (n,) bool, and their true `label`, (n,)."""

    right: np.ndarray
    label: np.ndarray
    n_classes: int

    @property
    def n_images(self) -> int:
        """Their number."""
        return len(self.right)

    def per_class(self, weights: np.ndarray) -> np.ndarray:
        """The share of right images of each class."""
        classes = self.label[:, None] == np.arange(self.n_classes)
        images = weights @ classes
        return np.where(images, weights @ (classes & self.right[:, None]) / np.maximum(images, 1), np.nan)

    def figure(self, weights: np.ndarray) -> np.ndarray:
        """The share of right images."""
        return weights @ self.right / weights.sum(axis=1)


def judge_voc(
    detections: Detections, truth: GroundTruth, *, n_images: int, n_classes: int, interpolation: str, iou: float = 0.5
) -> JudgedDetections:
    """As `voc_ap` judges; DataError as there, and for an image outside 0 .. n_images − 1."""
    detections, truth, counts, right = judged(detections, truth, n_classes=n_classes, iou=iou)
    for what, images in (("detections", detections.image), ("truth", truth.image)):
        check_labels(images, len(images), n_images, f"{what}.image", "images")
    easy = ~truth.difficult
    return JudgedDetections(
        n_images,
        n_classes,
        image=detections.image,
        label=detections.label,
        right=(right & counts)[None],
        ignored=~counts[None],
        object_image=truth.image[easy],
        object_label=truth.label[easy],
        levels=LEVELS[interpolation],
    )


def voc_ap_of(judged: JudgedDetections, *, interpolation: str) -> np.ndarray:
    """As `voc_ap`, to the last digit, of detections that `judge_voc` judged."""
    counts = ~judged.ignored[0]
    positives = np.bincount(judged.object_label, minlength=judged.n_classes)
    return averages(judged.right[0][counts], judged.label[counts], positives, interpolation)


def judge_coco(
    detections: Iterable[dict[str, Any]],
    annotation_file: str | Path,
    *,
    image_ids: Sequence[Id],
    category_ids: Sequence[Id | None],
) -> JudgedDetections:
    """As `coco_ap` judges for "AP": ten overlaps, objects of any size, 100 detections of a class and an image.

    Weights and classes are in the order of `image_ids` and `category_ids`. DataError as there.
    """
    evaluation, ids = evaluated(
        detections, annotation_file, image_ids=image_ids, category_ids=category_ids, any_size=True
    )
    entries, overlaps = [one for one in evaluation.evalImgs if one is not None], len(evaluation.params.iouThrs)
    numbered, classes = map(as_id, image_ids), map(as_id, category_ids)
    image_of = {ids.images[one]: i for i, one in enumerate(numbered) if one is not None}
    label_of = {ids.categories[one]: j for j, one in enumerate(classes) if one in ids.categories}
    image = np.array([image_of[one["image_id"]] for one in entries], int)
    label = np.array([label_of[one["category_id"]] for one in entries], int)
    n_found = [len(one["dtScores"]) for one in entries]
    n_objects = [np.count_nonzero(np.asarray(one["gtIgnore"]) == 0) for one in entries]
    score = np.concatenate([np.zeros(0), *(one["dtScores"] for one in entries)])
    matched, ignored = (
        np.concatenate([np.zeros((overlaps, 0), bool), *(np.asarray(one[key], bool) for one in entries)], axis=1)
        for key in ("dtMatches", "dtIgnore")
    )
    order = np.argsort(-score, kind="stable")  # equal ones stay in the order of COCO's images
    return JudgedDetections(
        len(image_ids),
        len(category_ids),
        image=np.repeat(image, n_found)[order],
        label=np.repeat(label, n_found)[order],
        right=(matched & ~ignored)[:, order],
        ignored=ignored[:, order],
        object_image=np.repeat(image, n_objects),
        object_label=np.repeat(label, n_objects),
        levels=evaluation.params.recThrs,
    )


def resampled(judged: Judged, *, rng: np.random.Generator, n: int = N_RESAMPLES) -> np.ndarray:
    """The figure on each of `n` resamples of the images, drawn with replacement, as many as there are; (n,).

    Equal generators give all answers to the same images the same resamples, so that their figures are pairs.
    """
    return np.concatenate([judged.figure(weights) for weights in _resamples(judged.n_images, rng=rng, n=n)])


def resampling(digest: str) -> np.random.Generator:
    """The generator that the digest of a data set decides, so that resamples of the same images are the same."""
    return np.random.default_rng(zlib.crc32(digest.encode()))


def _resamples(n_images: int, *, rng: np.random.Generator, n: int) -> Iterator[np.ndarray]:
    """The count of each image's draws, (some, n_images), of `n` resamples in all."""
    if n_images < 1:
        raise DataError("there is no image to resample; an interval needs some")
    step = max(1, AT_ONCE // n_images)
    for first in range(0, n, step):
        some = min(step, n - first)
        drawn = rng.integers(n_images, size=(some, n_images)) + n_images * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * n_images).reshape(some, n_images)


class Interval(NamedTuple):
    """From `low` to `high`, both ends in it; nan where nothing is known. Numbers, or arrays of one shape."""

    low: Any
    high: Any

    def holds(self, value: float) -> Any:
        """Whether `value` is in it; a bool, or an array of them."""
        return (self.low <= value) & (value <= self.high)


def interval(figures: np.ndarray, *, about: float | None = None) -> Interval:
    """The percentile interval of the figures of resamples, (…, resamples), those that are not defined left out; its
    ends are (…).

    `about`: the figure of the images themselves, in 0 … 1. An average precision is higher the fewer different images it
    is of, and so it is in a resample, which shows some of them twice: what the mean of the resamples is above the
    figure is taken off.
    """
    figures = np.asarray(figures, np.float64)
    if about is not None and not np.isnan(figures).all():
        figures = np.clip(figures - np.nanmean(figures) + about, 0, 1)
    ends = np.full((2, *figures.shape[:-1]), np.nan)
    defined = ~np.isnan(figures).all(axis=-1)
    if defined.any():
        ends[:, defined] = np.nanquantile(figures[defined], [(1 - SHARE) / 2, (1 + SHARE) / 2], axis=-1)
    return Interval(*(ends if ends.ndim > 1 else ends.tolist()))


def paired_difference(first: np.ndarray, second: np.ndarray) -> Interval:
    """The interval of how much better `first` is, by both figures on the same resamples, (…, resamples); 0 in it: no
    one is better.

    DataError where they are of another number of resamples.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape[-1:] != second.shape[-1:]:
        raise DataError(f"figures of {first.shape} and {second.shape} resamples are no pairs; draw both alike")
    return interval(first - second)
