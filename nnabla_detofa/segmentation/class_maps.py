"""Class maps between a picture's own pixels and a network's cells (an addition; not in the paper)."""

from typing import Any

import cv2
import numpy as np

IGNORED = 255  # a pixel that is neither trained on nor judged, as VOC's outlines


def to_cells(matrix: np.ndarray, stride: int) -> np.ndarray:
    """The warp (..., 2, 3) to cells, of a warp to a network's pixels; a cell lies in the middle of its pixels."""
    cells = np.asarray(matrix, np.float64) / stride
    cells[..., 2] -= (stride - 1) / 2 / stride
    return cells


def warp_classes(classes: np.ndarray, matrix: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """`classes` (h, w) uint8 under the warp (2, 3): `sides` (height, width), the nearest one, IGNORED outside."""
    outside: dict[str, Any] = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": IGNORED}
    return cv2.warpAffine(classes, matrix, sides[::-1], flags=cv2.INTER_NEAREST, **outside)


def class_map(logits: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The likeliest class of each pixel of a picture of `size` (width, height); (height, width) uint8.

    `logits` (classes, h, w) of cells, between which they are bilinear, and as at the edge beyond it; `matrix` (2, 3)
    warps the picture's pixels to cells. Of equal classes the first counts.
    """
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    best = np.zeros(size[::-1], np.uint8)
    most = np.full(size[::-1], -np.inf, np.float32)
    for number, one in enumerate(np.asarray(logits, np.float32)):
        here = cv2.warpAffine(one, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        better = here > most
        best[better] = number
        np.copyto(most, here, where=better)
    return best
