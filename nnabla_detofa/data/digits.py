"""A generated VOCdevkit: real handwritten digits on photographs, small enough to be learned in minutes (the demo)."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

import cv2
import numpy as np

from ..errors import ConfigError, DataError, require_ratio
from .dataset import DIGITS
from .options import from_mapping, require_int

VERSION = 1  # of the pictures: raise it when the same options would give others
INK = 0.35  # opacity from which a pixel belongs to the digit and its box
JPEG_QUALITY = 95
TRIES = 20  # places tried for an object before the picture does without it
TEST_SHARE = 0.25  # of the handwritten samples, and of each photograph's width


@dataclass(frozen=True, kw_only=True)
class DigitsOptions:
    """What is drawn.

    `classes` are the digits, named "0" to "9" in the annotations. `image_size` is in pixels; an image has `objects`
    (least, most) digits that do not overlap, the longer side of each being `scale` (least, most) times the image's.
    A digit's brightness differs by `contrast` (of 1) from the mean of what it covers; `texture` is the share of the
    photograph's own contrast that is left.
    """

    classes: Sequence[int] = (0, 1, 4)
    n_train: int = 1200
    n_test: int = 200
    image_size: int = 96
    objects: Sequence[int] = (1, 3)
    scale: Sequence[float] = (0.3, 0.55)
    contrast: float = 0.6
    texture: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in {"n_train": 1, "n_test": 1, "image_size": 16, "seed": 0}.items():
            require_int(f"generate.{name}", getattr(self, name), low=low)
        for digit in self.classes:
            if isinstance(digit, bool) or digit not in range(10):
                raise ConfigError(f"generate.classes has {digit!r}; the digits 0 to 9 are known")
        if not self.classes or len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"generate.classes is {list(self.classes)}; it must list different digits")
        require_ratio("generate.contrast", self.contrast)
        if not 0 <= self.texture <= 1:
            raise ConfigError(f"generate.texture is {self.texture!r}; it must be in [0, 1]")
        for name, least, most in (("objects", 1, 1000), ("scale", 8 / self.image_size, 1)):
            given = list(getattr(self, name))
            if len(given) != 2 or not least <= given[0] <= given[1] <= most:
                raise ConfigError(f"generate.{name} is {given}; it must be [least, most] within {least:.3g} to {most}")


class _Object(NamedTuple):
    name: str
    box: tuple[int, int, int, int]  # x1 y1 x2 y2, pixels counted from 0, x2 and y2 not included


class _Source(NamedTuple):
    """What one split is drawn from; no other split has any of it."""

    digits: dict[int, list[np.ndarray]]  # opacities in 0..1, cut to the ink
    photographs: list[np.ndarray]


def generate(root: str | Path | None, **options: Any) -> Path:
    """The VOCdevkit of these `options` (see `DigitsOptions`) in a folder of its own below `root`; written if not there.

    The folder's name is a digest of the options, so other options never meet this one's files. It is written under
    another name and renamed when complete: whoever finds it finds all of it, and of two processes the first wins.
    Has the splits trainval and test of VOC2007.
    """
    chosen = from_mapping(DigitsOptions, options, "dataloader.voc.generate")
    manifest = json.dumps({"version": VERSION, **asdict(chosen)}, sort_keys=True, indent=1)
    root = Path(root or ".").expanduser().absolute()
    devkit = root / f"digits-{hashlib.sha256(manifest.encode()).hexdigest()[:12]}"
    if not devkit.is_dir():
        _write_once(root, devkit, chosen, manifest)
    if not (devkit / "manifest.json").is_file() or (devkit / "manifest.json").read_text() != manifest:
        raise DataError(f"{devkit} does not hold the digits it is named after; delete it and run again")
    return devkit


def _write_once(root: Path, devkit: Path, options: DigitsOptions, manifest: str) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))
    except OSError as error:
        raise DataError(f"cannot write the digits into {root}: {error.strerror}") from error
    try:
        _write(unfinished, options)
        (unfinished / "manifest.json").write_text(manifest)
        unfinished.chmod(0o755)  # temporary folders are private
        try:
            unfinished.rename(devkit)
        except OSError:
            if not devkit.is_dir():  # otherwise another process was first
                raise
    except OSError as error:
        raise DataError(f"cannot write the digits into {root}: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(devkit: Path, options: DigitsOptions) -> None:
    folder = devkit / "VOC2007"
    for one in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / one).mkdir(parents=True)
    number = 0
    for part, (split, n) in enumerate((("trainval", options.n_train), ("test", options.n_test))):
        source = _source(options, testing=split == "test")
        names = []
        for place in range(n):
            rng = np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(DIGITS, part, place)))
            number += 1
            names.append(f"{number:06d}")
            pixels, objects = _picture(source, options, rng)
            jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
            (folder / "JPEGImages" / f"{names[-1]}.jpg").write_bytes(jpeg.tobytes())
            (folder / "Annotations" / f"{names[-1]}.xml").write_text(_xml(names[-1], options.image_size, objects))
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")


def _source(options: DigitsOptions, *, testing: bool) -> _Source:
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
    return _Source(digits, parts)


def _cut(opacity: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(opacity > INK)
    return opacity[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32)


def _picture(source: _Source, options: DigitsOptions, rng: np.random.Generator) -> tuple[np.ndarray, list[_Object]]:
    """Pixels (s, s, 3) uint8 BGR and the objects in them."""
    canvas = _background(source.photographs, options, rng)
    objects: list[_Object] = []
    for _ in range(rng.integers(options.objects[0], options.objects[1], endpoint=True)):
        digit = int(rng.choice(options.classes))
        opacity = _enlarged(source.digits[digit][rng.integers(len(source.digits[digit]))], options, rng)
        place = _place(opacity.shape, options.image_size, [one.box for one in objects], rng)
        if place is not None:
            x1, y1, x2, y2 = place
            canvas[y1:y2, x1:x2] = _painted(canvas[y1:y2, x1:x2], opacity, options.contrast, rng)
            objects.append(_Object(str(digit), place))
    return np.clip(np.rint(canvas * 255), 0, 255).astype(np.uint8), objects


def _background(photographs: list[np.ndarray], options: DigitsOptions, rng: np.random.Generator) -> np.ndarray:
    """A random square of a photograph, perhaps mirrored, its contrast reduced; (s, s, 3) in 0..1."""
    photograph = photographs[rng.integers(len(photographs))]
    height, width = photograph.shape[:2]
    side = round(min(height, width) * rng.uniform(0.5, 1))
    top, left = rng.integers(height - side, endpoint=True), rng.integers(width - side, endpoint=True)
    square = photograph[top : top + side, left : left + side, :: rng.choice([1, -1])]
    square = cv2.resize(np.ascontiguousarray(square), [options.image_size] * 2, interpolation=cv2.INTER_AREA) / 255
    mean = square.mean(axis=(0, 1))
    return mean + options.texture * (square - mean)


def _enlarged(opacity: np.ndarray, options: DigitsOptions, rng: np.random.Generator) -> np.ndarray:
    """The digit at its size in the picture, cut to its ink."""
    zoom = options.image_size * rng.uniform(*options.scale) / max(opacity.shape)
    size = [max(2, round(one * zoom)) for one in opacity.shape[::-1]]
    large = cv2.resize(
        np.pad(opacity, 1),
        None,
        fx=size[0] / opacity.shape[1],
        fy=size[1] / opacity.shape[0],
        interpolation=cv2.INTER_CUBIC,
    )
    return np.clip(_cut(np.clip(1.5 * large, 0, 1)), 0, 1)[: options.image_size, : options.image_size]


def _place(
    shape: tuple[int, ...], side: int, taken: list[tuple[int, int, int, int]], rng: np.random.Generator
) -> tuple[int, int, int, int] | None:
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


def _xml(name: str, side: int, objects: list[_Object]) -> str:
    return "\n".join(_lines(name, side, objects)) + "\n"


def _lines(name: str, side: int, objects: list[_Object]) -> Iterator[str]:
    yield f"<annotation><folder>VOC2007</folder><filename>{escape(name)}.jpg</filename>"
    yield f"<size><width>{side}</width><height>{side}</height><depth>3</depth></size>"
    for one in objects:
        x1, y1, x2, y2 = one.box
        box = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"  # from 1, inclusive
        yield f"<object><name>{escape(one.name)}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>"
    yield "</annotation>"
