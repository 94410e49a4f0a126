"""Generated digits: real handwritten ones on photographs, both scikit-learn's, learned in minutes (the demos)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np

from ..errors import ConfigError, DataError
from ..options import Listed, Value, Whole
from .dataset import DIGITS
from .generated import Picture, jpeg, kept, write_devkit
from .scenes import (
    INK,
    TEST_SHARE,
    Box,
    SceneOptions,
    as_bytes,
    background,
    cut,
    painted,
    photographs,
    place,
    require_visible,
)

VERSION = 1  # of the pictures: raise it when the same options would give others
DIGIT = Whole(least=0, most=9)


class DigitsOptions(SceneOptions):
    """Options of the digits' pictures.

    `classes` are the digits, named "0" to "9" in the annotations.
    """

    classes: Annotated[Sequence[int], Listed(DIGIT, least=1, different=True)] = (0, 2, 7)


class SingleDigitsOptions(DigitsOptions):
    """Options of pictures that belong to one class each; every class has some."""

    objects: Annotated[Sequence[int], Value("[1, 1]: one object a picture", lambda v: list(v) == [1, 1])] = (1, 1)


def generate(root: str | Path, options: DigitsOptions, *, masks: bool = False) -> Path:
    """The data set of these `options` in a folder of its own below `root`, as `kept` keeps it.

    A VOCdevkit with the splits trainval and test of VOC2007, perhaps with `masks`, or of
    `SingleDigitsOptions` ImageNet's layout: folders train and val, in them one folder a class, each picture with one
    object, the classes in turn.
    """
    require_visible(options, "generate")
    folders = isinstance(options, SingleDigitsOptions)
    if folders and (n := min(options.n_train, options.n_test)) < len(options.classes):
        allowed = f"of at least {len(options.classes)}, a picture of each class"
        raise ConfigError(key="generate.n_train or n_test", given=n, allowed=allowed)
    layout = {"layout": "folders"} if folders else {"layout": "masks"} if masks else {}
    known_by = {"version": VERSION, **layout, **options.model_dump()}
    masked = sorted(options.classes) if masks else []
    return kept(
        root,
        "digits",
        known_by,
        lambda made: _write_folders(made, options) if folders else _write_devkit(made, options, masked),
    )


def _write_devkit(root: Path, options: DigitsOptions, masked: Sequence[int]) -> None:
    splits = {"trainval": pictures(options, testing=False), "test": pictures(options, testing=True)}
    write_devkit(root, splits, masked=masked)


def _write_folders(root: Path, options: DigitsOptions) -> None:
    digits, number = sorted(options.classes), 0
    for testing, split in enumerate(("train", "val")):
        for digit in digits:
            (root / split / str(digit)).mkdir(parents=True)
        for one, picture in enumerate(pictures(options, testing=bool(testing), in_turn=True)):
            number += 1
            file = root / split / str(digits[one % len(digits)]) / f"{number:06d}.jpg"
            file.write_bytes(jpeg(picture.pixels))


# -- pictures ----------------------------------------------------------------------------------------------------------


class Material(NamedTuple):
    """Material that one split is drawn from; the other split has nothing of it."""

    digits: dict[int, list[np.ndarray]]  # opacities in 0..1, cut to the ink
    photographs: list[np.ndarray]


def gather(options: DigitsOptions, *, testing: bool) -> Material:
    """The test split's own quarter of each digit's samples and of each photograph, or the rest."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            f"the digits are scikit-learn's and it cannot be used ({error}); pip install scikit-learn"
        ) from error
    samples = load_digits()
    rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(DIGITS,)))
    digits = {}
    for digit in sorted(options.classes):
        own = rng.permutation(np.flatnonzero(samples.target == digit))
        edge = round(len(own) * TEST_SHARE)
        digits[digit] = [cut(samples.images[i] / 16) for i in (own[:edge] if testing else own[edge:])]
    return Material(digits, photographs(testing=testing))


def pictures(options: DigitsOptions, *, testing: bool, in_turn: bool = False) -> Iterator[Picture]:
    """All of a split; `in_turn`: each of one class alone, the classes in turn."""
    material, digits = gather(options, testing=testing), sorted(options.classes)
    for number in range(options.n_test if testing else options.n_train):
        only = {"classes": (digits[number % len(digits)],)} if in_turn else {}
        rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(DIGITS, int(testing), number)))
        yield picture(material, options.model_copy(update=only), rng)


def picture(material: Material, options: DigitsOptions, rng: np.random.Generator) -> Picture:
    """A picture with the digit in each box, and where its ink is."""
    canvas = background(material.photographs, options, rng)
    placed: dict[Box, int] = {}
    inks = []
    for _ in range(rng.integers(options.objects[0], options.objects[1], endpoint=True)):
        digit = int(rng.choice(options.classes))
        samples = material.digits[digit]
        opacity = _enlarged(samples[rng.integers(len(samples))], options, rng)
        box = place(opacity.shape, options.image_size, placed, rng)
        if box is not None:
            x1, y1, x2, y2 = box
            canvas[y1:y2, x1:x2] = painted(canvas[y1:y2, x1:x2], opacity, options.contrast, rng)
            placed[box] = digit
            inks.append(opacity > INK)
    return Picture(as_bytes(canvas), placed, inks)


def _enlarged(opacity: np.ndarray, options: DigitsOptions, rng: np.random.Generator) -> np.ndarray:
    """The digit at its size in the picture, cut to its ink."""
    rows, columns = options.image_size
    zoom = min(rows, columns) * rng.uniform(options.scale[0], options.scale[1]) / max(opacity.shape)
    large = cv2.resize(np.pad(opacity, 1), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    return cut(np.clip(1.5 * large, 0, 1))[:rows, :columns]
