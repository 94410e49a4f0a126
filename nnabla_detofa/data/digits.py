"""Generated data sets: real handwritten digits on photographs, small enough to be learned in minutes (the demos)."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..errors import ConfigError, DataError, require_ratio
from .dataset import DIGITS
from .options import require_int
from .picture import Box, gather, picture

VERSION = 1  # of the pictures: raise it when the same options would give others
JPEG_QUALITY = 95
_aside: ContextVar[Path | None] = ContextVar("aside", default=None)  # where sets go that are not to be kept


@dataclass(frozen=True, kw_only=True)
class DigitsOptions:
    """What is drawn.

    `classes` are the digits, named "0" to "9" in the annotations. `image_size` is in pixels; an image has `objects`
    (least, most) digits that do not overlap, the longer side of each being `scale` (least, most) times the image's.
    A digit's brightness differs by `contrast` (of 1) from the mean of what it covers; `texture` is the share of the
    photograph's own contrast that is left.
    """

    classes: Sequence[int] = (0, 2, 7)
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
        digits = list(self.classes) if isinstance(self.classes, Sequence) else []
        if not digits or not all(isinstance(one, int) and one in range(10) for one in digits):
            raise ConfigError(f"generate.classes is {self.classes!r}; it must list digits from 0 to 9")
        if len(set(digits)) < len(digits):
            raise ConfigError(f"generate.classes is {self.classes!r}; each digit may be there once")
        require_ratio("generate.contrast", self.contrast)
        if not isinstance(self.texture, (int, float)) or not 0 <= self.texture <= 1:
            raise ConfigError(f"generate.texture is {self.texture!r}; it must be a number in [0, 1]")
        _require_range("objects", self.objects, 1, 100, int)
        _require_range("scale", self.scale, 8 / self.image_size, 1, (int, float))


def _require_range(name: str, given: Any, low: float, high: float, kind: type | tuple[type, ...]) -> None:
    pair = list(given) if isinstance(given, Sequence) else []
    if len(pair) != 2 or not all(isinstance(one, kind) for one in pair) or not low <= pair[0] <= pair[1] <= high:
        raise ConfigError(f"generate.{name} is {given!r}; it must be [least, most] from {low:.3g} to {high:.3g}")


def require_one_object(options: DigitsOptions) -> None:
    """ConfigError unless these are options of pictures that each belong to one class, and every class has some."""
    if tuple(options.objects) != (1, 1):
        raise ConfigError(f"generate.objects is {options.objects!r}; a picture of one class has one object, [1, 1]")
    n_classes = len(options.classes)
    for name in ("n_train", "n_test"):
        if getattr(options, name) < n_classes:
            raise ConfigError(
                f"generate.{name} is {getattr(options, name)}; each of {n_classes} classes needs a picture"
            )


def generate(root: str | Path, options: DigitsOptions, *, classified: bool = False) -> Path:
    """The data set of these `options` in a folder of its own below `root`; written if it is not there.

    The folder's name is a digest of the options, so other options never meet this one's files. It is written under
    another name and renamed when complete: whoever finds it finds all of it, and of two processes the first wins.
    A VOCdevkit with the splits trainval and test of VOC2007, or with `classified` ImageNet's layout: folders train and
    val, in them one folder a class, each picture with one object, the classes in turn.
    """
    layout = {"layout": "folders"} if classified else {}
    manifest = json.dumps({"version": VERSION, **layout, **asdict(options)}, sort_keys=True, indent=1)
    root = Path(root).expanduser().absolute()
    name = f"digits-{hashlib.sha256(manifest.encode()).hexdigest()[:12]}"
    if (aside := _aside.get()) and not (root / name).is_dir():
        root = aside
    devkit = root / name
    if not devkit.is_dir():
        _write_once(
            root, devkit, manifest, lambda folder: (_write_folders if classified else _write_voc)(folder, options)
        )
    if not (devkit / "manifest.json").is_file() or (devkit / "manifest.json").read_text() != manifest:
        raise DataError(f"{devkit} does not hold the digits it is named after; delete it and run again")
    return devkit


@contextmanager
def generated_aside() -> Iterator[None]:
    """Sets that are not there yet are written elsewhere inside, and are gone afterwards: a plan keeps nothing."""
    with tempfile.TemporaryDirectory(prefix="nnabla_detofa_digits_") as folder:
        token = _aside.set(Path(folder))
        try:
            yield
        finally:
            _aside.reset(token)


def _write_once(root: Path, devkit: Path, manifest: str, write: Callable[[Path], None]) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))
    except OSError as error:
        raise DataError(f"cannot write the digits into {root}: {error.strerror}") from error
    try:
        write(unfinished)
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


def _write_voc(devkit: Path, options: DigitsOptions) -> None:
    folder = devkit / "VOC2007"
    for one in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / one).mkdir(parents=True)
    number = 0
    for part, (split, n) in enumerate((("trainval", options.n_train), ("test", options.n_test))):
        material = gather(options, testing=split == "test")
        names = []
        for place in range(n):
            number += 1
            names.append(f"{number:06d}")
            pixels, placed = picture(material, options, _rng(options, part, place))
            _write_jpeg(folder / "JPEGImages" / f"{names[-1]}.jpg", pixels)
            (folder / "Annotations" / f"{names[-1]}.xml").write_text(_xml(names[-1], options.image_size, placed))
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")


def _write_folders(root: Path, options: DigitsOptions) -> None:
    digits, number = sorted(options.classes), 0
    for part, (split, n) in enumerate((("train", options.n_train), ("val", options.n_test))):
        material = gather(options, testing=split == "val")
        for digit in digits:
            (root / split / str(digit)).mkdir(parents=True)
        for place in range(n):
            digit = digits[place % len(digits)]
            pixels, _ = picture(material, replace(options, classes=(digit,)), _rng(options, part, place))
            number += 1
            _write_jpeg(root / split / str(digit) / f"{number:06d}.jpg", pixels)


def _rng(options: DigitsOptions, part: int, place: int) -> np.random.Generator:
    """What is random about one picture."""
    return np.random.default_rng(np.random.SeedSequence(options.seed, spawn_key=(DIGITS, part, place)))


def _write_jpeg(file: Path, pixels: np.ndarray) -> None:
    file.write_bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


def _xml(name: str, side: int, placed: dict[Box, int]) -> str:
    """The annotation, in VOC's coordinates: pixels counted from 1, the last one included."""
    lines = [
        f"<annotation><folder>VOC2007</folder><filename>{name}.jpg</filename>",
        f"<size><width>{side}</width><height>{side}</height><depth>3</depth></size>",
    ]
    for (x1, y1, x2, y2), digit in placed.items():
        box = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        lines.append(f"<object><name>{digit}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>")
    return "\n".join([*lines, "</annotation>", ""])
