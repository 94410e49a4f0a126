"""Generated pictures: objects on parts of scikit-learn's two photographs, none over another (the demos)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Annotated

import cv2
import numpy as np

from ..errors import ConfigError, DataError
from ..options import Options, Sides, Span, Whole, ratio, share

LEAST_PIXELS = 8  # of an object's longer side
INK = 0.35  # opacity from which a pixel belongs to the object and its box
TRIES = 20  # places tried for an object before the picture does without it
TEST_SHARE = 0.25  # of each photograph's width

Box = tuple[int, int, int, int]  # x1 y1 x2 y2, pixels counted from 0, x2 and y2 not included


class SceneOptions(Options):
    """Options of generated pictures.

    `image_size` is [height, width] in pixels, or the side of a square; an image has `objects` (least, most) that do not
    overlap, the longer side of each being `scale` (least, most) times the image's shorter one.
    An object's brightness differs by `contrast` (of 1) from the mean of what it covers; `texture` is the share of the
    photograph's own contrast that is left.
    """

    n_train: Annotated[int, Whole()] = 1200
    n_test: Annotated[int, Whole()] = 200
    image_size: Annotated[tuple[int, int], Sides(Whole(least=16))] = (96, 96)
    objects: Annotated[Sequence[int], Span(Whole(most=100))] = (1, 3)
    scale: Annotated[Sequence[float], Span(share())] = (0.3, 0.55)
    contrast: Annotated[float, ratio()] = 0.6
    texture: Annotated[float, share()] = 0.5
    seed: Annotated[int, Whole(least=0)] = 0


def require_visible(options: SceneOptions, where: str) -> None:
    """ConfigError for objects that could be of fewer pixels than can be told apart; `where` is the options' key."""
    least = LEAST_PIXELS / min(options.image_size)
    if options.scale[0] < least:
        raise ConfigError(key=f"{where}.scale", given=options.scale, allowed=f"[least, most] from {least:.3g} to 1")


def photographs(*, testing: bool) -> list[np.ndarray]:
    """The test split's own quarter of each photograph, or the rest; (h, w, 3) uint8 BGR.

    So AP on the test split tells of backgrounds that training never shows; they are also cut smaller, as the quarter is
    narrow.
    """
    try:
        folder = resources.files("sklearn.datasets.images")
        files = [(folder / name).read_bytes() for name in ("china.jpg", "flower.jpg")]
    except (ImportError, OSError) as error:
        raise DataError(
            f"the photographs are scikit-learn's and it cannot be used ({error}); pip install scikit-learn"
        ) from error
    whole = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in files]
    edges = [round(one.shape[1] * (1 - TEST_SHARE)) for one in whole]
    return [one[:, edge:] if testing else one[:, :edge] for one, edge in zip(whole, edges, strict=True)]


def background(parts: list[np.ndarray], options: SceneOptions, rng: np.random.Generator) -> np.ndarray:
    """A random part of a photograph, perhaps mirrored, its contrast reduced; (h, w, 3) in 0..1."""
    photograph = parts[rng.integers(len(parts))]
    (height, width), (rows, columns), share = photograph.shape[:2], options.image_size, rng.uniform(0.5, 1)
    high, wide = round(min(height, width * rows / columns) * share), round(min(width, height * columns / rows) * share)
    top, left = rng.integers(height - high, endpoint=True), rng.integers(width - wide, endpoint=True)
    part = photograph[top : top + high, left : left + wide][:, :: rng.choice([1, -1])]
    part = cv2.resize(np.ascontiguousarray(part), (columns, rows), interpolation=cv2.INTER_AREA) / 255
    mean = part.mean(axis=(0, 1))
    return mean + options.texture * (part - mean)


def cut(opacity: np.ndarray) -> np.ndarray:
    """What of the opacity (h, w) is ink, without an empty edge."""
    rows, columns = np.nonzero(opacity > INK)
    return opacity[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)


def place(shape: tuple[int, ...], sides: tuple[int, int], taken: Iterable[Box], rng: np.random.Generator) -> Box | None:
    """A random place for something of `shape` (h, w) that overlaps nothing in an image of `sides` (height, width); None
    if none was found."""
    for _ in range(TRIES):
        y, x = (int(rng.integers(side - one, endpoint=True)) for side, one in zip(sides, shape, strict=True))
        box = (x, y, x + shape[1], y + shape[0])
        if all(box[0] >= b[2] or b[0] >= box[2] or box[1] >= b[3] or b[1] >= box[3] for b in taken):
            return box
    return None


def painted(
    under: np.ndarray, opacity: np.ndarray, contrast: float, rng: np.random.Generator, *, tint: float = 0.15
) -> np.ndarray:
    """`under` (h, w, 3) in 0..1 with the object in a random colour, brighter or darker by `contrast`; `tint`: by how
    much the colour's parts may differ from their mean."""
    level = under.mean()
    brightness = level + contrast if level < 0.5 else level - contrast
    shift = rng.uniform(-tint, tint, size=3)
    colour = np.clip(brightness + shift - shift.mean(), 0, 1)
    return under + opacity[..., None] * (colour - under)


def as_bytes(canvas: np.ndarray) -> np.ndarray:
    """A picture in 0..1 as uint8."""
    return np.clip(np.rint(canvas * 255), 0, 255).astype(np.uint8)
