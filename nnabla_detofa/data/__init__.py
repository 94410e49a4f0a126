"""VOC, COCO, YOLO, image folders, generated pictures: data sets, augmentation and batches (4.1). Without NNabla."""

from . import coco, coco_masks, digits, image_folder, letters, voc, voc_masks, yolo
from .augment import Augmentation
from .coco import read_coco
from .dataset import DetectionDataset, Image, hold_out
from .loader import DetectionLoader, LoaderOptions
from .stream import Batch
from .voc import read_voc
from .yolo import read_yolo

__all__ = [
    "Augmentation",
    "Batch",
    "DetectionDataset",
    "DetectionLoader",
    "Image",
    "LoaderOptions",
    "coco",
    "coco_masks",
    "digits",
    "hold_out",
    "image_folder",
    "letters",
    "read_coco",
    "read_voc",
    "read_yolo",
    "voc",
    "voc_masks",
    "yolo",
]
