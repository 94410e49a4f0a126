"""Generated data sets: real handwritten digits on photographs, both scikit-learn's, learned in minutes (the demos)."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import resources
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np

from ..errors import ConfigError, DataError
from ..options import Listed, Options, Sides, Span, Value, Whole, ratio, share
from .dataset import DIGITS

VERSION = 1  # of the pictures: raise it when the same options would give others
JPEG_QUALITY = 95
LEAST_PIXELS = 8  # of a digit's longer side
INK = 0.35  # opacity from which a pixel belongs to the digit and its box
TRIES = 20  # places tried for an object before the picture does without it
TEST_SHARE = 0.25  # of the handwritten samples, and of each photograph's width
DIGIT = Whole(least=0, most=9)
_aside: ContextVar[Path | None] = ContextVar("aside", default=None)  # where sets go that are not to be kept

Box = tuple[int, int, int, int]  # x1 y1 x2 y2, pixels counted from 0, x2 and y2 not included


class DigitsOptions(Options):
    """Options of the generated pictures.

    `classes` are the digits, named "0" to "9" in the annotations. `image_size` is [height, width] in pixels, or the
    side of a square; an image has `objects` (least, most) digits that do not overlap, the longer side of each being
    `scale` (least, most) times the image's shorter one.
    A digit's brightness differs by `contrast` (of 1) from the mean of what it covers; `texture` is the share of the
    photograph's own contrast that is left.
    """

    classes: Annotated[Sequence[int], Listed(DIGIT, least=1, different=True)] = (0, 2, 7)
    n_train: Annotated[int, Whole()] = 1200
    n_test: Annotated[int, Whole()] = 200
    image_size: Annotated[tuple[int, int], Sides(Whole(least=16))] = (96, 96)
    objects: Annotated[Sequence[int], Span(Whole(most=100))] = (1, 3)
    scale: Annotated[Sequence[float], Span(share())] = (0.3, 0.55)
    contrast: Annotated[float, ratio()] = 0.6
    texture: Annotated[float, share()] = 0.5
    seed: Annotated[int, Whole(least=0)] = 0


class SingleDigitsOptions(DigitsOptions):
    """Options of pictures that belong to one class each; every class has some."""

    objects: Annotated[Sequence[int], Value("[1, 1]: one object a picture", lambda v: list(v) == [1, 1])] = (1, 1)


def generate(root: str | Path, options: DigitsOptions) -> Path:
    """The data set of these `options` in a folder of its own below `root`; written if it is not there.

    The folder's name is a digest of the options, so other options never meet this one's files. It is written under
    another name and renamed when complete: whoever finds it finds all of it, and of two processes the first wins.
    A VOCdevkit with the splits trainval and test of VOC2007, or of `SingleDigitsOptions` ImageNet's layout: folders
    train and val, in them one folder a class, each picture with one object, the classes in turn.
    """
    folders, least = isinstance(options, SingleDigitsOptions), LEAST_PIXELS / min(options.image_size)
    if options.scale[0] < least:
        raise ConfigError(key="generate.scale", given=options.scale, allowed=f"[least, most] from {least:.3g} to 1")
    if folders and (n := min(options.n_train, options.n_test)) < len(options.classes):
        allowed = f"of at least {len(options.classes)}, a picture of each class"
        raise ConfigError(key="generate.n_train or n_test", given=n, allowed=allowed)
    layout = {"layout": "folders"} if folders else {}
    manifest = json.dumps({"version": VERSION, **layout, **options.model_dump()}, sort_keys=True, indent=1)
    root, name = Path(root).expanduser().absolute(), f"digits-{hashlib.sha256(manifest.encode()).hexdigest()[:12]}"
    if (aside := _aside.get()) and not (root / name).is_dir():
        root = aside
    if not (root / name).is_dir():
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=root) as unfinished:
                made = Path(unfinished) / name  # its access is that of any folder; that of `unfinished` is private
                _write(made, options, folders)
                (made / "manifest.json").write_text(manifest)
                try:
                    made.rename(root / name)
                except OSError:
                    if not (root / name).is_dir():  # otherwise another process was first
                        raise
        except OSError as error:
            raise DataError(f"cannot write the digits into {root}: {error.strerror}") from error
    found = root / name / "manifest.json"
    if not found.is_file() or found.read_text() != manifest:
        raise DataError(f"{root / name} does not hold the digits it is named after; delete it and run again")
    return root / name


@contextmanager
def generated_aside() -> Iterator[None]:
    """Sets that are not there yet are written elsewhere inside, and are gone afterwards: a plan keeps nothing."""
    with tempfile.TemporaryDirectory(prefix="nnabla_detofa_digits_") as folder:
        token = _aside.set(Path(folder))
        try:
            yield
        finally:
            _aside.reset(token)


def _write(root: Path, options: DigitsOptions, folders: bool) -> None:
    """All pictures, as JPEG, and either their folders, one a class, or their annotations and lists."""
    digits, number, devkit = sorted(options.classes), 0, root / "VOC2007"
    splits = (("train", options.n_train), ("val", options.n_test))
    for one in () if folders else ("Annotations", "ImageSets/Main", "JPEGImages"):
        (devkit / one).mkdir(parents=True)
    for digit in digits if folders else ():
        for split, _ in splits:
            (root / split / str(digit)).mkdir(parents=True)
    for part, (split, n) in enumerate(splits):
        material, names = gather(options, testing=part == 1), []
        for place in range(n):
            number += 1
            names.append(f"{number:06d}")
            only = {"classes": (digits[place % len(digits)],)} if folders else {}
            rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(DIGITS, part, place)))
            pixels, placed = picture(material, options.model_copy(update=only), rng)
            jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
            if folders:
                (root / split / str(only["classes"][0]) / f"{names[-1]}.jpg").write_bytes(jpeg)
                continue
            (devkit / "JPEGImages" / f"{names[-1]}.jpg").write_bytes(jpeg)
            (devkit / "Annotations" / f"{names[-1]}.xml").write_text(_xml(names[-1], options.image_size, placed))
        if not folders:
            listed = devkit / "ImageSets" / "Main" / f"{('trainval', 'test')[part]}.txt"
            listed.write_text("\n".join(names) + "\n")


def _xml(name: str, sides: tuple[int, int], placed: dict[Box, int]) -> str:
    """The annotation, in VOC's coordinates: pixels counted from 1, the last one included."""
    lines = [
        f"<annotation><folder>VOC2007</folder><filename>{name}.jpg</filename>",
        f"<size><width>{sides[1]}</width><height>{sides[0]}</height><depth>3</depth></size>",
    ]
    for (x1, y1, x2, y2), digit in placed.items():
        box = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        lines.append(f"<object><name>{digit}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>")
    return "\n".join([*lines, "</annotation>", ""])


# -- pictures ----------------------------------------------------------------------------------------------------------


class Material(NamedTuple):
    """Material that one split is drawn from; the other split has nothing of it."""

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
    """Pixels (h, w, 3) uint8 BGR, and the digit in each box."""
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
    """A random part of a photograph, perhaps mirrored, its contrast reduced; (h, w, 3) in 0..1."""
    photograph = photographs[rng.integers(len(photographs))]
    (height, width), (rows, columns), share = photograph.shape[:2], options.image_size, rng.uniform(0.5, 1)
    high, wide = round(min(height, width * rows / columns) * share), round(min(width, height * columns / rows) * share)
    top, left = rng.integers(height - high, endpoint=True), rng.integers(width - wide, endpoint=True)
    part = photograph[top : top + high, left : left + wide][:, :: rng.choice([1, -1])]
    part = cv2.resize(np.ascontiguousarray(part), (columns, rows), interpolation=cv2.INTER_AREA) / 255
    mean = part.mean(axis=(0, 1))
    return mean + options.texture * (part - mean)


def _enlarged(opacity: np.ndarray, options: DigitsOptions, rng: np.random.Generator) -> np.ndarray:
    """The digit at its size in the picture, cut to its ink."""
    rows, columns = options.image_size
    zoom = min(rows, columns) * rng.uniform(options.scale[0], options.scale[1]) / max(opacity.shape)
    large = cv2.resize(np.pad(opacity, 1), None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    return _cut(np.clip(1.5 * large, 0, 1))[:rows, :columns]


def _place(
    shape: tuple[int, ...], sides: tuple[int, int], taken: Iterable[Box], rng: np.random.Generator
) -> Box | None:
    """A random place for something of `shape` (h, w) that overlaps nothing in an image of `sides` (height, width); None
    if none was found."""
    for _ in range(TRIES):
        y, x = (int(rng.integers(side - one, endpoint=True)) for side, one in zip(sides, shape, strict=True))
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
