"""Peaks of the heat map to boxes (2.1; Objects as Points, section 4: no non-maximum suppression)."""

from typing import NamedTuple

import numpy as np

from .affine import invert, transform_boxes
from .boxes import Detections

ROWS = 4  # as many rows of a heat map as peaks are wanted, times this, give the height below which none is looked for


class Peaks(NamedTuple):
    """The K best peaks of B images, best first: `boxes` (B, K, 4) x1 y1 x2 y2 in cells, `labels`, `scores` (B, K).

    An image with fewer than K peaks is filled up with rows of score 0.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray


def decode(heatmap: np.ndarray, size: np.ndarray, offset: np.ndarray, *, top: int = 100, logits: bool = False) -> Peaks:
    """The `top` highest peaks of each image over all classes, without a score threshold.

    `heatmap` (B, C, h, w) holds probabilities, or their `logits`, `size` and `offset` (B, 2, h, w) x first, in cells. A
    peak is a cell that none of its eight neighbours exceeds. Equal scores are ordered by class, then row, then column.
    """
    batch, _, *sides = heatmap.shape
    nothing = -np.inf if logits else 0
    found = [_best_peaks(one, min(top, one.size), nothing) for one in heatmap]
    index, best = (np.array(part).reshape(batch, -1) for part in zip(*found, strict=True))
    cells = (index % (sides[0] * sides[1]))[:, None]
    size, offset = (
        np.take_along_axis(one.reshape(batch, 2, -1), cells, axis=2).swapaxes(1, 2) for one in (size, offset)
    )
    return as_peaks(index, sigmoid(best) if logits else best, size, offset, (sides[0], sides[1]))


def as_peaks(
    index: np.ndarray, scores: np.ndarray, size: np.ndarray, offset: np.ndarray, shape: tuple[int, int]
) -> Peaks:
    """Peaks (B, K) at the places `index` of heat maps (C, h, w) laid flat, `size` and `offset` (B, K, 2) there; of a
    negative size, which a network may answer, that without the sign."""
    height, width = shape
    labels, cell = np.divmod(index, height * width)
    kind = np.result_type(offset, np.float32)  # half precision would round centres to sixteenths of a cell
    size, offset = np.abs(size).astype(kind), offset.astype(kind)
    centre = np.stack([cell % width, cell // width], axis=-1).astype(kind) + offset
    return Peaks(np.concatenate([centre - size / 2, centre + size / 2], axis=-1), labels, scores)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, at least in single precision, to a relative error of some units in the last place."""
    logits = logits.astype(np.result_type(logits, np.float32))
    return np.exp(-np.logaddexp(0, -logits))


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


def _best_peaks(heatmap: np.ndarray, k: int, nothing: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the k highest peaks of a heat map (C, h, w) lie in it laid flat, best first, and their scores, (k,).

    A map has few cells as high as the highest of its rows, and only these are asked whether they are peaks: all others
    are lower. Where that leaves less than k peaks, all cells are asked; what then is missing is `nothing`.
    """
    highest = heatmap.max(axis=2).ravel()
    if ROWS * k < len(highest):
        limit = np.partition(highest, -ROWS * k)[-ROWS * k]
        candidates = np.flatnonzero(heatmap >= limit)  # none where a map holds nan
        peaks = candidates[_are_peaks(heatmap, candidates)]
        if len(peaks) >= k:
            scores = heatmap.ravel()[peaks]
            best = _top(scores, k)
            return peaks[best], scores[best]
    scores = np.where(heatmap == _max3(_max3(heatmap, 1), 2), heatmap, nothing).ravel()
    best = _top(scores, k)
    return best, scores[best]


def _are_peaks(heatmap: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Which `cells` (n,) of a heat map (C, h, w) laid flat no neighbour exceeds, (n,) bool."""
    (height, width), flat = heatmap.shape[1:], heatmap.ravel()
    row, column = np.divmod(cells % (height * width), width)
    scores, found = flat[cells], np.ones(len(cells), bool)
    for up in np.where(row > 0, -width, 0), 0, np.where(row < height - 1, width, 0):
        for left in np.where(column > 0, -1, 0), 0, np.where(column < width - 1, 1, 0):
            found &= flat[cells + up + left] <= scores
    return found


def _max3(x: np.ndarray, axis: int) -> np.ndarray:
    """The greatest of each cell and its two neighbours along `axis`."""
    x = np.moveaxis(x, axis, 0)
    out = x.copy()
    np.maximum(out[1:], x[:-1], out=out[1:])
    np.maximum(out[:-1], x[1:], out=out[:-1])
    return np.moveaxis(out, 0, axis)


def _top(scores: np.ndarray, k: int) -> np.ndarray:
    """Where the k largest of `scores` (n,) are, best first, the first among equals first.

    Sorts only what reaches the k-th largest score: several times faster than sorting a heat map.
    """
    candidates = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    return candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
