"""Class maps of pictures, and their intersection over union with what was annotated (the second dense task)."""

from .class_maps import IGNORED, class_map, to_cells, warp_classes
from .colours import VOID, Colour, overlaid, voc_colours
from .overlap import Overlap, joined, overlap_of
from .regions import in_region, region_of, regions_of

__all__ = [
    "IGNORED",
    "VOID",
    "Colour",
    "Overlap",
    "class_map",
    "in_region",
    "joined",
    "overlaid",
    "overlap_of",
    "region_of",
    "regions_of",
    "to_cells",
    "voc_colours",
    "warp_classes",
]
