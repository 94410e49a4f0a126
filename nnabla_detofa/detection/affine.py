"""Warps between image, network input and output map (supplement to 4.1: CenterNet's crops and test resolution)."""

import numpy as np


def affine(
    centre: np.ndarray, zoom: np.ndarray, sides: tuple[int, int], *, flip: np.ndarray | bool = False
) -> np.ndarray:
    """The warp of a crop onto a target of `sides` (height, width) pixels; all arguments broadcast over images.

    `centre` (..., 2) is the crop's middle x, y in source pixels, `zoom` (...) how many pixels of the target are as long
    as one of the source; aspect is kept. `flip` (...) mirrors the crop left to right about its centre, which equals
    flipping the image first. Returns (..., 2, 3) float64, source to target: target = matrix @ (x, y, 1).

    One crop has proportional matrices at input size and at output-map size, so a point of the input divided by the
    stride is the same point of the output map.
    """
    centre = np.asarray(centre, np.float64)
    zoom = np.asarray(zoom, np.float64)
    zoom_x = np.where(flip, -zoom, zoom)
    shape = np.broadcast_shapes(centre.shape[:-1], zoom_x.shape)
    matrix = np.zeros((*shape, 2, 3))
    matrix[..., 0, 0] = zoom_x
    matrix[..., 1, 1] = zoom
    matrix[..., 0, 2] = sides[1] / 2 - zoom_x * centre[..., 0]
    matrix[..., 1, 2] = sides[0] / 2 - zoom * centre[..., 1]
    return matrix


def fitting_zoom(width: np.ndarray, height: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """The zoom (...) at which something of that width and height just fits into a target of `sides` (height, width)."""
    return np.minimum(sides[1] / np.asarray(width, np.float64), sides[0] / np.asarray(height, np.float64))


def letterbox(width: np.ndarray, height: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """The test warp (..., 2, 3): the whole image, centred, aspect kept, as large as fits into `sides` (height, width).

    CenterNet's own code takes the longer side of the image and the target's width, which is the same for a square; an
    upright image would stick out of a flat target.
    """
    width, height = np.asarray(width, np.float64), np.asarray(height, np.float64)
    return affine(np.stack([width / 2, height / 2], axis=-1), fitting_zoom(width, height, sides), sides)


def invert(matrix: np.ndarray) -> np.ndarray:
    """The warps (..., 2, 3) from target back to source."""
    linear = np.linalg.inv(matrix[..., :2])
    return np.concatenate([linear, -linear @ matrix[..., 2:]], axis=-1)


def transform_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., n, 2) under the warps (..., 2, 3), one warp an image."""
    return np.asarray(points, np.float64) @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def transform_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Axis-aligned hulls (..., n, 4), x1 y1 x2 y2, of the boxes under the warps (..., 2, 3), one warp an image."""
    boxes = np.asarray(boxes, np.float64)
    corners = boxes[..., [0, 1, 2, 1, 0, 3, 2, 3]].reshape(*boxes.shape[:-2], -1, 2)
    corners = transform_points(corners, matrix).reshape(*boxes.shape[:-1], 4, 2)
    return np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1)
