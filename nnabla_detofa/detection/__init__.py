"""Boxes to heat maps, peaks to boxes, average precision (2.1 and 4.1). NumPy and pycocotools only."""

from .affine import affine, invert, letterbox, transform_boxes, transform_points
from .boxes import Detections, GroundTruth
from .targets import Targets, encode

__all__ = [
    "Detections",
    "GroundTruth",
    "Targets",
    "affine",
    "encode",
    "invert",
    "letterbox",
    "transform_boxes",
    "transform_points",
]
