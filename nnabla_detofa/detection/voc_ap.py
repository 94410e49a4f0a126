"""Average precision as the PASCAL VOC development kit computes it (4.1)."""

from typing import Annotated

import numpy as np

from ..options import Number, OneOf, Whole, checked
from .boxes import Detections, GroundTruth, check_arrays

ELEVEN = np.arange(11) / 10  # levels of recall


@checked("voc_ap")
def voc_ap(
    detections: Detections,
    truth: GroundTruth,
    *,
    n_classes: Annotated[int, Whole()],
    iou: Annotated[float, Number(above=0, most=1)] = 0.5,
    interpolation: Annotated[str, OneOf("voc_ap.interpolation", lambda: _INTERPOLATIONS)] = "11-point",
) -> np.ndarray:
    """Average precision of each class, (n_classes,) float64 in 0..1; nan for a class without (easy) objects.

    As in VOCdevkit's `VOCevaldet.m`: a detection belongs to the object of its image and class that it overlaps most,
    pixels counted inclusively (width = x2 − x1 + 1); it is right if that overlap reaches `iou` (equality counts) and
    no higher score had the object before, ignored if the object is difficult, else wrong. Equal scores keep the order
    given. `interpolation` is "11-point" (VOC 2007) or "area" (VOC 2010 on). The eleven recall levels are k / 10. The
    script's are floating multiples of .1, some of which lie a rounding above (3 · 0.1 > .3): it may miss a level at a
    recall of exactly k / 10, and only there the two differ.

    ConfigError for another interpolation or overlap; DataError for arrays that do not fit together, a label outside
    0 .. n_classes − 1, a box or score that is not finite.
    """
    detections, truth, counts, right = judged(detections, truth, n_classes=n_classes, iou=iou)
    positives = np.bincount(truth.label[~truth.difficult], minlength=n_classes)
    return averages(right[counts], detections.label[counts], positives, interpolation)


def averages(right: np.ndarray, label: np.ndarray, positives: np.ndarray, interpolation: str) -> np.ndarray:
    """Average precision of each class by the detections that count, the best first: whether each is right (n,), and its
    label (n,); `positives` (n_classes,) are to be found."""
    average = _INTERPOLATIONS[interpolation]
    return np.array([average(right[label == one], n) for one, n in enumerate(positives)])


def judged(
    detections: Detections, truth: GroundTruth, *, n_classes: int, iou: float
) -> tuple[Detections, GroundTruth, np.ndarray, np.ndarray]:
    """Both as they were checked, detections the best first; whether each detection counts, that is, did not find a
    difficult object; and whether it is right. DataError as in `voc_ap`."""
    detections, truth = check_arrays(detections, "detections", n_classes), check_arrays(truth, "truth", n_classes)
    order = np.argsort(-detections.score, kind="stable")
    detections = Detections(*(column[order] for column in detections))
    detection, found = _pair(detections, truth, n_classes)
    overlap = inclusive_iou(detections.box[detection], truth.box[found])
    # Of one detection's pairs the greatest overlap, and of equal overlaps the object annotated first.
    order = np.lexsort((found, -overlap, detection))
    order = order[np.unique(detection[order], return_index=True)[1]]
    order = order[overlap[order] >= iou]
    detection, found = detection[order], found[order]

    counts, right = np.ones((2, len(detections.score)), bool)
    counts[detection[truth.difficult[found]]] = False
    right[:] = False
    right[detection[np.unique(found, return_index=True)[1]]] = True  # later finders of one object are duplicates
    return detections, truth, counts, right


def _pair(detections: Detections, truth: GroundTruth, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Every detection with every object of its image and class, sorted by detection; both (p,) row numbers."""
    key = truth.image * n_classes + truth.label
    order = np.argsort(key, kind="stable")
    wanted = detections.image * n_classes + detections.label
    first = np.searchsorted(key[order], wanted, side="left")
    n = np.searchsorted(key[order], wanted, side="right") - first
    detection = np.repeat(np.arange(len(wanted)), n)
    nth = np.arange(len(detection)) - np.repeat(np.cumsum(n) - n, n)
    return detection, order[first[detection] + nth]


def inclusive_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union (n,) of boxes (n, 4) row by row, a box's last pixel belonging to it."""
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + 1
    common = np.where((sides > 0).all(axis=1), sides.prod(axis=1), 0)
    areas = [(box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (a, b)]
    return common / np.where(common > 0, areas[0] + areas[1] - common, 1)


def _precision(right: np.ndarray) -> np.ndarray:
    """The greatest precision at this rank or any later one."""
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return np.maximum.accumulate(precision[::-1])[::-1]


def _eleven_point(right: np.ndarray, positives: int) -> float:
    """Mean over eleven recall levels of the greatest precision at that recall or more."""
    if not positives:
        return np.nan
    # k / 10 rather than k · 0.1: 3 of 10 objects do reach the level .3, which 3 · 0.1 > .3 would deny.
    rank = np.searchsorted(np.cumsum(right) / positives, ELEVEN)
    return float(np.append(_precision(right), 0)[rank].mean())


def _area(right: np.ndarray, positives: int) -> float:
    """Area under the precision envelope: each object found adds 1 / positives to the recall."""
    return float(_precision(right)[right].sum() / positives) if positives else np.nan


_INTERPOLATIONS = {"11-point": _eleven_point, "area": _area}
