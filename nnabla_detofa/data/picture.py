"""Pictures of real handwritten digits on photographs, from what scikit-learn ships (the demo)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from ..errors import DataError
from .dataset import DIGITS

if TYPE_CHECKING:
    from .digits import DigitsOptions

Box = tuple[int, int, int, int]  # x1 y1 x2 y2, pixels counted from 0, x2 and y2 not included
INK = 0.35  # opacity from which a pixel belongs to the digit and its box
TRIES = 20  # places tried for an object before the picture does without it
TEST_SHARE = 0.25  # of the handwritten samples, and of each photograph's width


class Material(NamedTuple):
    """What one split is drawn from; the other split has nothing of it."""

    digits: dict[int, list[np.ndarray]]  # opacities in 0..1, cut to the ink
    photographs: list[np.ndarray]


def gather(options: DigitsOptions, *, testing: bool) -> Material:
    """The test split's own quarter of each digit's samples and of each photograph, or the rest."""
    try:
        from sklearn.datasets import load_digits

        folder = resources.files("sklearn.datasets.images")
        files = [(folder / name).read_bytes() for name in ("china.jpg", "flower.jpg")]
    except (ImportError, OSError) as error:
        raise DataError(
            f"the digits are scikit-learn's and it cannot be used ({error}); pip install scikit-learn"
        ) from error
    samples = load_digits()
    rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(DIGITS,)))
    digits = {}
    for digit in sorted(options.classes):
        own = rng.permutation(np.flatnonzero(samples.target == digit))
        edge = round(len(own) * TEST_SHARE)
        digits[digit] = [_cut(samples.images[i] / 16) for i in (own[:edge] if testing else own[edge:])]
    photographs = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in files]
    edges = [round(one.shape[1] * (1 - TEST_SHARE)) for one in photographs]
    parts = [one[:, edge:] if testing else one[:, :edge] for one, edge in zip(photographs, edges, strict=True)]
    return Material(digits, parts)


def _cut(opacity: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(opacity > INK)
    return opacity[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)


def picture(material: Material, options: DigitsOptions, rng: np.random.Generator) -> tuple[np.ndarray, dict[Box, int]]:
    """Pixels (s, s, 3) uint8 BGR, and the digit in each box."""
    canvas = _background(material.photographs, options, rng)
    placed: dict[Box, int] = {}
    for _ in range(rng.integers(options.objects[0], options.objects[1], endpoint=True)):
        digit = int(rng.choice(options.classes))
        samples = material.digits[digit]
        opacity = _enlarged(samples[rng.integers(len(samples))], options, rng)
        box = _place(opacity.shape, options.image_size, placed, rng)
        if box is not None:
            x1, y1, x2, y2 = box
            canvas[y1:y2, x1:x2] = _painted(canvas[y1:y2, x1:x2], opacity, options.contrast, rng)
            placed[box] = digit
    return np.clip(np.rint(canvas * 255), 0, 255).astype(np.uint8), placed


def _background(photographs: list[np.ndarray], options: DigitsOptions, rng: np.random.Generator) -> np.ndarray:
    """A random square of a photograph, perhaps mirrored, its contrast reduced; (s, s, 3) in 0..1."""
    photograph = photographs[rng.integers(len(photographs))]
    height, width = photograph.shape[:2]
    side = round(min(height, width) * rng.uniform(0.5, 1))
    top, left = rng.integers(height - side, endpoint=True), rng.integers(width - side, endpoint=True)
    square = photograph[top : top + side, left : left + side][:, :: rng.choice([1, -1])]
    square = cv2.resize(np.ascontiguousarray(square), [options.image_size] * 2, interpolation=cv2.INTER_AREA) / 255
    mean = square.mean(axis=(0, 1))
    return mean + options.texture * (square - mean)


def _enlarged(opacity: np.ndarray, options: DigitsOptions, rng: np.random.Generator) -> np.ndarray:
    """The digit at its size in the picture, cut to its ink."""
    zoom = options.image_size * rng.uniform(options.scale[0], options.scale[1]) / max(opacity.shape)
    large = cv2.resize(np.pad(opacity, 1), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    return _cut(np.clip(1.5 * large, 0, 1))[: options.image_size, : options.image_size]


def _place(shape: tuple[int, ...], side: int, taken: Iterable[Box], rng: np.random.Generator) -> Box | None:
    """A random place for something of `shape` (h, w) that overlaps nothing; None if none was found."""
    for _ in range(TRIES):
        y, x = (int(rng.integers(side - one, endpoint=True)) for one in shape)
        box = (x, y, x + shape[1], y + shape[0])
        if all(box[0] >= b[2] or b[0] >= box[2] or box[1] >= b[3] or b[1] >= box[3] for b in taken):
            return box
    return None


def _painted(under: np.ndarray, opacity: np.ndarray, contrast: float, rng: np.random.Generator) -> np.ndarray:
    """`under` (h, w, 3) in 0..1 with the digit in a random colour, brighter or darker by `contrast`."""
    level = under.mean()
    brightness = level + contrast if level < 0.5 else level - contrast
    tint = rng.uniform(-0.15, 0.15, size=3)
    colour = np.clip(brightness + tint - tint.mean(), 0, 1)
    return under + opacity[..., None] * (colour - under)
