"""Detections and ground truth, as flat arrays over all images (4.1, AP)."""

from typing import NamedTuple, TypeVar

import numpy as np

from ..errors import DataError


class Detections(NamedTuple):
    """n detections: `image` (n,) int, `label` (n,) int, `box` (n, 4) x1 y1 x2 y2 in pixels, `score` (n,) float."""

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    score: np.ndarray


class GroundTruth(NamedTuple):
    """n objects: `image` (n,) int, `label` (n,) int, `box` (n, 4) as annotated, `difficult` (n,) bool."""

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    difficult: np.ndarray


B = TypeVar("B", Detections, GroundTruth)


def check_boxes(boxes: np.ndarray, what: str) -> np.ndarray:
    """`boxes` as (n, 4) float64; any empty list is (0, 4). DataError for another shape or a number not finite."""
    boxes = np.asarray(boxes, np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataError(f"{what} have shape {boxes.shape}; they must be (n, 4): x1 y1 x2 y2")
    broken = np.flatnonzero(~np.isfinite(boxes).all(axis=1))
    if broken.size:
        raise DataError(f"{what} row {broken[0]} is {boxes[broken[0]].tolist()}; all four must be finite")
    return boxes


def check_column(column: np.ndarray, n: int, what: str, dtype: type) -> np.ndarray:
    """`column` as (n,) of `dtype`; DataError for another length."""
    column = np.asarray(column)
    if column.shape != (n,) and (n or column.size):
        raise DataError(f"{what} has shape {column.shape}, but there are {n} boxes; it must be ({n},)")
    return column.reshape(n).astype(dtype)


def check_labels(labels: np.ndarray, n: int, limit: int, what: str, of: str = "classes") -> np.ndarray:
    """`labels` as (n,) int64 in 0 .. limit - 1; DataError otherwise."""
    labels = check_column(labels, n, what, np.int64)
    wrong = labels[(labels < 0) | (labels >= limit)]
    if wrong.size:
        raise DataError(f"{what} holds {wrong[0]}; with {limit} {of} it must be 0 to {limit - 1}")
    return labels


def check_arrays(given: B, what: str, n_classes: int) -> B:
    """Arrays that fit together; DataError otherwise, for a label outside 0 .. n_classes - 1, for a score not finite."""
    box = check_boxes(given.box, f"{what}.box")
    image = check_column(given.image, len(box), f"{what}.image", np.int64)
    label = check_labels(given.label, len(box), n_classes, f"{what}.label")
    name = f"{what}.{given._fields[3]}"
    last = check_column(given[3], len(box), name, bool if isinstance(given, GroundTruth) else float)
    if not np.isfinite(last).all():
        raise DataError(f"{name} row {np.argmin(np.isfinite(last))} is not finite; scores must be numbers")
    return type(given)(image, label, box, last)
