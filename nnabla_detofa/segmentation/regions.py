"""Regions as COCO writes them, polygons and run lengths, to masks and back (an addition; not in the paper)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask

FURTHEST = 2.0**20  # of a corner, in pixels


def region_of(given: Any, size: tuple[int, int]) -> dict[str, Any]:
    """COCO's compressed run lengths of a `segmentation` in an image of `size` (width, height): of polygons, each a list
    x1 y1 x2 y2 …, or of run lengths, compressed or not. ValueError, with the reason, for anything else."""
    width, height = size
    if isinstance(given, list):
        polygons = given if given and isinstance(given[0], list) else [given]
        for one in polygons:
            numbers = isinstance(one, list) and all(_is_number(number) for number in one)
            if not numbers or len(one) < 6 or len(one) % 2:
                raise ValueError("a polygon must be at least three points x, y")
        return mask.merge(mask.frPyObjects(polygons, height, width))
    if not isinstance(given, dict) or given.get("size") != [height, width]:
        raise ValueError(f"run lengths must have the size {[height, width]} of their image")
    counts = given.get("counts")
    if isinstance(counts, str):
        counts = _lengths(counts)
    if not isinstance(counts, list) or any(type(one) is not int or one < 0 for one in counts):
        raise ValueError("run lengths must be whole numbers")
    if sum(counts) != width * height:
        raise ValueError(f"run lengths cover {sum(counts)} of the image's {width * height} pixels")
    return mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= FURTHEST


def _lengths(text: str) -> list[int]:
    """The run lengths of COCO's compressed text: groups of five bits, from the fourth on as differences."""
    found: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("the text is no compressed run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= 1 << shift if bits & 16 else 0
            found.append(value + found[-2] if len(found) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("the text of run lengths is cut off")
    return found


def in_region(region: dict[str, Any]) -> np.ndarray:
    """Whether pixels are in a region; (height, width) bool."""
    return mask.decode(region).astype(bool)


def regions_of(classes: np.ndarray, labels: Sequence[int]) -> list[tuple[int, dict[str, Any], int]]:
    """Each of the labels that a map (h, w) has, with its pixels as run lengths that JSON holds, and their number."""
    found = []
    for label in labels:
        inside = classes == label
        if n := int(inside.sum()):
            region = mask.encode(np.asfortranarray(inside, np.uint8))
            found.append((label, {**region, "counts": region["counts"].decode()}, n))
    return found
