"""Peaks of the heat map to boxes (2.1; Objects as Points, section 4: no non-maximum suppression)."""

from typing import NamedTuple

import numpy as np

from .affine import invert, transform_boxes
from .boxes import Detections


class Peaks(NamedTuple):
    """The K best peaks of B images, best first: `boxes` (B, K, 4) x1 y1 x2 y2 in cells, `labels`, `scores` (B, K).

    An image with fewer than K peaks is filled up with rows of score 0.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def decode(heatmap: np.ndarray, size: np.ndarray, offset: np.ndarray, *, top: int = 100) -> Peaks:
    """The `top` highest peaks of each image over all classes, without a score threshold.

    `heatmap` (B, C, h, w) holds probabilities (not logits), `size` and `offset` (B, 2, h, w) x first, in cells. A peak
    is a cell that none of its eight neighbours exceeds. Equal scores are ordered by class, then row, then column.
    """
    batch, _, height, width = heatmap.shape
    scores = np.where(heatmap == _max3(_max3(heatmap, 2), 3), heatmap, 0).reshape(batch, -1)
    best = _top(scores, min(top, scores.shape[1]))
    labels, cell = np.divmod(best, height * width)
    size, offset = (
        np.take_along_axis(one.reshape(batch, 2, -1), cell[:, None], axis=2).swapaxes(1, 2) for one in (size, offset)
    )
    centre = np.stack([cell % width, cell // width], axis=-1).astype(offset.dtype) + offset
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=-1)
    return Peaks(boxes, labels, np.take_along_axis(scores, best, axis=1))


def to_detections(peaks: Peaks, image: np.ndarray, matrix: np.ndarray) -> Detections:
    """The peaks of images numbered `image` (B,), in the images' own pixels, as B · K flat rows.

    `matrix` (B, 2, 3) warps each image to its output map.
    """
    boxes = transform_boxes(peaks.boxes, invert(matrix))
    return Detections(
        image=np.repeat(image, peaks.scores.shape[1]),
        label=peaks.labels.ravel(),
        box=boxes.reshape(-1, 4),
        score=peaks.scores.ravel(),
    )


def _max3(x: np.ndarray, axis: int) -> np.ndarray:
    """The greatest of each cell and its two neighbours along `axis`."""
    x = np.moveaxis(x, axis, 0)
    out = x.copy()
    np.maximum(out[1:], x[:-1], out=out[1:])
    np.maximum(out[:-1], x[1:], out=out[:-1])
    return np.moveaxis(out, 0, axis)


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns (B, k) of the k largest of each row of `scores` (B, n), best first, the first column first among equals.

    Sorts only what reaches the k-th largest score: several times faster than sorting a heat map.
    """
    lowest = np.partition(scores, -k, axis=1)[:, -k]
    best = np.empty((len(scores), k), np.int64)
    for row, score, limit in zip(best, scores, lowest, strict=True):
        candidates = np.flatnonzero(score >= limit)
        row[:] = candidates[np.argsort(-score[candidates], kind="stable")[:k]]
    return best
