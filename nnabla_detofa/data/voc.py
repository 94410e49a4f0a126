"""PASCAL VOC: any VOCdevkit folder, its years and splits chosen in the configuration (4.1)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
import numpy as np
from defusedxml import DefusedXmlException

from ..errors import ConfigError, DataError, unknown
from . import digits
from .dataset import DetectionDataset, Flaws, Image
from .images import inside, present, read_image
from .loader import DetectionLoader
from .options import LoaderOptions, from_mapping, require_classes, require_root

ORIGIN = 1.0  # VOC counts pixels from 1
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
LAYOUT = "Annotations, ImageSets/Main and JPEGImages"


class _Object(NamedTuple):
    name: str
    box: tuple[float, float, float, float]
    difficult: bool


class _Record(NamedTuple):
    """An annotation file as it stands."""

    file: Path
    id: str
    annotation: Path
    size: tuple[int, int]
    objects: list[_Object]


def read_voc(
    root: str | Path, splits: Sequence[Sequence[Any]], *, classes: Sequence[Any] | None = None
) -> DetectionDataset:
    """The images of `splits`, a list of (year, split), in the devkit at `root`.

    `classes` gives the labels their order; without, they are the names found in these splits, sorted. Boxes keep VOC's
    own coordinates: pixels counted from 1, the last one included. Difficult objects are kept and flagged. Raises
    DataError for whatever is missing or cannot be read, and for a class that is not among `classes`.
    """
    if isinstance(splits, str) or not isinstance(splits, Sequence) or not splits:
        raise ConfigError(f"the splits are {splits!r}; they must be a list like [[2007, trainval], [2012, trainval]]")
    chosen = [_split(one) for one in splits]
    devkit = _devkit(root, chosen)
    records = [record for year, split in chosen for record in _records(devkit / f"VOC{year}", split)]
    records = list({record.annotation: record for record in records}.values())  # splits may overlap
    name = " + ".join(f"VOC{year} {split}" for year, split in chosen)
    if not records:
        raise DataError(f"{name} in {devkit} lists no image")
    found = sorted({one.name for record in records for one in record.objects})
    names = tuple(found) if classes is None else tuple(str(one) for one in classes)
    if not names:
        raise DataError(f"{name} in {devkit} has no object, so no class can be discovered")
    flaws = Flaws(ORIGIN)
    images = tuple(_image(record, names, flaws) for record in records)
    return DetectionDataset(name, names, images, ORIGIN, skipped=dict(flaws.skipped))


def _split(given: Any) -> tuple[str, str]:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 2:
        raise ConfigError(f"the split {given!r} must be a pair of year and name, for instance [2007, trainval]")
    return str(given[0]).removeprefix("VOC"), str(given[1])


def _devkit(root: str | Path, splits: list[tuple[str, str]]) -> Path:
    """The folder that holds VOC2007 and the like: `root` itself or its VOCdevkit."""
    root = Path(root).expanduser().absolute()
    devkit = root / "VOCdevkit" if (root / "VOCdevkit").is_dir() else root
    for year, _ in splits:
        if not inside(devkit, f"VOC{year}", "the year of a split").is_dir():
            raise DataError(f"no VOC{year} in {devkit}: put VOCdevkit/VOC{year} with {LAYOUT} into {root}")
    return devkit


def _records(folder: Path, split: str) -> Iterable[_Record]:
    lists = folder / "ImageSets" / "Main"
    file = inside(lists, f"{split}.txt", "the name of a split")
    try:
        ids = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        there = ", ".join(sorted(one.stem for one in lists.glob("*.txt"))) or "none"
        raise DataError(f"no split '{split}' in {lists}; there: {there}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the split {file}: {error}") from error
    names = present(folder / "JPEGImages")
    for one in filter(None, map(str.strip, ids)):
        image = _image_file(folder / "JPEGImages", one, names, str(file))
        yield _record(image, one, inside(folder / "Annotations", f"{one}.xml", str(file)))


def _image_file(folder: Path, name: str, names: Iterable[str], where: str) -> Path:
    for suffix in SUFFIXES:
        file = inside(folder, name + suffix, where)
        if file.name in names or ("/" in name and file.is_file()):
            return file
    raise DataError(f"{where} lists {name}, but {folder} has no {name}.jpg")


def _record(image: Path, name: str, file: Path) -> _Record:
    try:
        root = defusedxml.ElementTree.fromstring(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the annotation {file}: {error.strerror}") from error
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise DataError(f"cannot read the annotation {file}: {error or type(error).__name__}") from error
    try:
        objects = [_object(one) for one in root.iterfind("object")]
        size = int(root.findtext("size/width") or 0), int(root.findtext("size/height") or 0)
    except ValueError as error:
        raise DataError(f"{file} is not a VOC annotation: {error}") from error
    if min(size) <= 0:  # some tools leave it out
        height, width = read_image(image).shape[:2]
        size = width, height
    return _Record(image, name, file, size, objects)


def _object(node: Element) -> _Object:
    """One object; ValueError if it lacks its name or a finite corner."""
    name = (node.findtext("name") or "").strip()
    corners = [(node.findtext(f"bndbox/{corner}") or "").strip() for corner in ("xmin", "ymin", "xmax", "ymax")]
    if not name or not all(corners):
        raise ValueError("an object lacks its name or a corner of its bndbox")
    x1, y1, x2, y2 = map(float, corners)
    if not np.isfinite([x1, y1, x2, y2]).all():
        raise ValueError(f"an object has the bndbox {corners}")
    return _Object(name, (x1, y1, x2, y2), (node.findtext("difficult") or "0").strip() not in ("0", ""))


def _image(record: _Record, classes: tuple[str, ...], flaws: Flaws) -> Image:
    for one in record.objects:
        if one.name not in classes:
            raise DataError(f"{record.annotation}: {unknown('class', one.name, classes)}")
    boxes = np.array([one.box for one in record.objects], np.float32).reshape(-1, 4)
    labels = np.array([classes.index(one.name) for one in record.objects], np.int64)
    difficult = np.array([one.difficult for one in record.objects], bool)
    sound = flaws.sound(boxes, record.size, record.annotation.name)
    crowd = np.zeros(int(sound.sum()), bool)
    return Image(record.file, record.id, record.size, boxes[sound], labels[sound], difficult[sound], crowd)


@dataclass(frozen=True, kw_only=True)
class VocOptions(LoaderOptions):
    """`root` holds VOCdevkit (or is it), `train` and `test` list (year, split); `classes` null means: those of `train`.

    `generate` has the digits set made below `root` first; in a configuration it is a mapping of `DigitsOptions`' keys.
    """

    root: str | Path = ""
    train: Sequence[Sequence[Any]] = ((2007, "trainval"),)
    test: Sequence[Sequence[Any]] = ((2007, "test"),)
    classes: Sequence[Any] | None = None
    generate: digits.DigitsOptions | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_root("dataloader.voc", self.root)
        require_classes(self.classes)
        if self.generate is not None:
            wanted = from_mapping(digits.DigitsOptions, self.generate, "dataloader.voc.generate")
            object.__setattr__(self, "generate", wanted)


class DataLoader(DetectionLoader):
    """Batches of a VOCdevkit; the keywords are those of `VocOptions`."""

    def __init__(
        self, searching: bool, training: bool, batch_size: int, *, communicator: Any = None, **options: Any
    ) -> None:
        chosen = from_mapping(VocOptions, options, "dataloader.voc")
        root = chosen.root if chosen.generate is None else digits.generate(chosen.root, chosen.generate)
        testing = not searching and not training
        classes = chosen.classes
        if testing and classes is None:
            classes = read_voc(root, chosen.train).classes
        dataset = read_voc(root, chosen.test if testing else chosen.train, classes=classes)
        super().__init__(
            dataset,
            searching=searching,
            training=training,
            batch_size=batch_size,
            options=chosen,
            communicator=communicator,
        )
