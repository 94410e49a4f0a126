"""Boxes to heat maps, peaks to boxes, average precision (2.1 and 4.1). NumPy and pycocotools only."""

from .affine import affine, fitting_zoom, invert, letterbox, transform_boxes, transform_points
from .bootstrap import (
    N_RESAMPLES,
    Interval,
    Judged,
    JudgedAnswers,
    JudgedDetections,
    interval,
    judge_coco,
    judge_voc,
    paired_difference,
    resampled,
    resampling,
    voc_ap_of,
)
from .boxes import Detections, GroundTruth
from .coco_ap import coco_ap, to_coco
from .coco_file import Id, as_flag, bbox_of, has_bbox, id_order, is_bbox, is_id, read_instances
from .decode import Peaks, decode, to_detections
from .targets import Targets, encode, encode_into
from .voc_ap import voc_ap

__all__ = [
    "N_RESAMPLES",
    "Detections",
    "GroundTruth",
    "Id",
    "Interval",
    "Judged",
    "JudgedAnswers",
    "JudgedDetections",
    "Peaks",
    "Targets",
    "affine",
    "as_flag",
    "bbox_of",
    "coco_ap",
    "decode",
    "encode",
    "encode_into",
    "fitting_zoom",
    "has_bbox",
    "id_order",
    "interval",
    "invert",
    "is_bbox",
    "is_id",
    "judge_coco",
    "judge_voc",
    "letterbox",
    "paired_difference",
    "read_instances",
    "resampled",
    "resampling",
    "to_coco",
    "to_detections",
    "transform_boxes",
    "transform_points",
    "voc_ap",
    "voc_ap_of",
]
