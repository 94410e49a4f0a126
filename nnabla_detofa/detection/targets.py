"""Boxes to CenterNet's heat map, sizes and offsets (2.1; Objects as Points, section 3)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .boxes import check_boxes, check_labels

IOU = 0.7  # a box shifted by less than the radius overlaps the object by about this much


class Targets(NamedTuple):
    """Training targets of one image: C classes, an output map of h × w cells, at most M objects; rows past them are 0.

    `heatmap` (C, h, w) float32 shows every object, exactly 1 at its centre. `size` (M, 2) width and height and
    `offset` (M, 2) x and y, float32 in cells; `index` (M,) int32 is the centre's y * w + x; `mask` (M,) float32 is 1
    for an object. `dropped` counts objects that found no row: the smallest ones.
    """

    heatmap: np.ndarray
    size: np.ndarray
    offset: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    mask: np.ndarray
    dropped: int


def encode(
    boxes: np.ndarray, labels: np.ndarray, *, n_classes: int, shape: tuple[int, int], max_objects: int
) -> Targets:
    """Targets of one image.

    `boxes` (n, 4) x1 y1 x2 y2 in cells of the output map (float, not yet clipped), `labels` (n,), `shape` (h, w).
    Boxes are clipped to the map; those left without area are outside the crop and no objects. Raises DataError for
    a label that is not in 0 .. n_classes - 1 and for arrays that do not fit together.
    """
    heatmap, index = np.zeros((n_classes, *shape), np.float32), np.zeros(max_objects, np.int32)
    size, offset = np.zeros((max_objects, 2), np.float32), np.zeros((max_objects, 2), np.float32)
    mask = np.zeros(max_objects, np.float32)
    dropped = encode_into((heatmap, size, offset, index, mask), boxes, labels)
    return Targets(heatmap, size, offset, index, mask, dropped)


def encode_into(targets: Sequence[np.ndarray], boxes: np.ndarray, labels: np.ndarray) -> int:
    """Write an image's targets, as of `encode`, into arrays of zeros, as of `Targets`; returns how many are dropped.

    Of a batch's array only the cells of objects are touched: most pages of a large one are never brought to memory.
    """
    heatmap, sizes, offsets, index, mask = targets
    n_classes, height, width = heatmap.shape
    boxes = check_boxes(boxes, "boxes")
    labels = check_labels(labels, len(boxes), n_classes, "labels")
    low, high = np.split(np.clip(boxes, 0, [width - 1, height - 1] * 2), 2, axis=1)
    inside = (high > low).all(axis=1)
    low, high, labels = low[inside], high[inside], labels[inside]
    size, centre = high - low, (low + high) / 2
    cell = centre.astype(np.int32)

    draw(heatmap, labels, cell, gaussian_radius(np.ceil(size)))
    rows = np.argsort(-size.prod(axis=1), kind="stable")[: len(mask)]
    n = len(rows)
    sizes[:n] = size[rows]
    offsets[:n] = (centre - cell)[rows]
    index[:n] = (cell[:, 1] * width + cell[:, 0])[rows]
    mask[:n] = 1
    return len(labels) - n


def gaussian_radius(size: np.ndarray) -> np.ndarray:
    """CornerNet's radius (n,) int, in cells, of objects of `size` (n, 2).

    The rule takes the least of three quadratics' roots, one for each way in which two boxes can overlap by `IOU`.
    Its public code takes (b + √(b² − 4ac)) / 2 where the roots need / 2a, and every published CenterNet was trained
    so: a square of side s gets 0.273 s instead of 0.082 s. We keep that. Divided so, the third case is at most
    0.14 (w + h) and the other two at least 0.5 (w + h), so it alone is computed.
    """
    total, area = size.sum(axis=1), size.prod(axis=1)
    a, b, c = 4 * IOU, -2 * IOU * total, (IOU - 1) * area
    return ((b + np.sqrt(b**2 - 4 * a * c)) / 2).astype(np.int32)


def draw(heatmap: np.ndarray, labels: np.ndarray, cell: np.ndarray, radius: np.ndarray) -> None:
    """Raise `heatmap` (C, h, w) in place to a Gaussian round each `cell` (n, 2): σ = (2r + 1) / 6, cut off at r."""
    height, width = heatmap.shape[1:]
    for label, (x, y), r in zip(labels, cell.tolist(), radius.tolist(), strict=True):
        left, right, top, bottom = max(x - r, 0), min(x + r + 1, width), max(y - r, 0), min(y + r + 1, height)
        decay = 18 / (2 * r + 1) ** 2  # 1 / 2σ²
        column = np.exp(-decay * (np.arange(top, bottom) - y) ** 2)
        row = np.exp(-decay * (np.arange(left, right) - x) ** 2)
        patch = heatmap[label, top:bottom, left:right]
        np.maximum(patch, column[:, None] * row, out=patch, casting="same_kind")
