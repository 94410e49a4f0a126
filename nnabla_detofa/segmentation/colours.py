"""Colours of classes: VOC's, in masks and over pictures (an addition; not in the paper)."""

import numpy as np

from .class_maps import IGNORED

Colour = tuple[int, int, int]


def voc_colours(n: int = 256) -> list[Colour]:
    """VOC's first `n` colours, RGB: bits of the number, from the lowest on, become bits of red, green and blue in turn,
    from the highest on."""
    found = []
    for number in range(n):
        red, green, blue = (
            sum((number >> (3 * place + part) & 1) << (7 - place) for place in range(3)) for part in range(3)
        )
        found.append((red, green, blue))
    return found


VOID = voc_colours()[IGNORED]


def overlaid(pixels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """A picture (h, w, 3) uint8 RGB, half in the colours of its classes (h, w), but for background, which is 0."""
    colours = np.array(voc_colours(), np.uint16)[classes]
    mixed = ((pixels.astype(np.uint16) + colours + 1) // 2).astype(np.uint8)
    return np.where(classes[..., None] == 0, pixels, mixed)
