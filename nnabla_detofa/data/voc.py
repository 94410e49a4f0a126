"""PASCAL VOC: any VOCdevkit folder, its years and splits chosen in the configuration (4.1)."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
from defusedxml.common import DTDForbidden

from ..errors import ConfigError, DataError, unknown
from . import digits
from .dataset import DetectionDataset, Image
from .disk import DiskLoader, DiskOptions
from .flaws import Findings, Flaw
from .images import MAX_PIXELS, image_size, inside, leads_out, present, read_bytes, read_list
from .loader import DetectionLoader
from .objects import CORNERS, Object, are_corners, sound_image
from .options import LoaderOptions, from_mapping

ORIGIN = 1.0  # VOC counts pixels from 1
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
LAYOUT = "Annotations, ImageSets/Main and JPEGImages"
LONGEST = 2**24  # bytes of an annotation; a hundred thousand objects are fewer


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
    root: str | Path, splits: Sequence[Sequence[Any]], *, classes: Sequence[Any] | None = None, strict: bool = True
) -> DetectionDataset:
    """The images of `splits`, a list of (year, split), in the devkit at `root`.

    `classes` gives the labels their order; without, they are the names found in these splits, sorted. Boxes keep VOC's
    own coordinates: pixels counted from 1, the last one included. Difficult objects are kept and flagged. Raises
    DataError for whatever is missing or cannot be read, and for a class that is not among `classes`; where not
    `strict`, what is wrong with one image or object only goes into the findings.
    """
    if isinstance(splits, str) or not isinstance(splits, Sequence) or not splits:
        raise ConfigError(f"the splits are {splits!r}; they must be a list like [[2007, trainval], [2012, trainval]]")
    chosen = [_split(one) for one in splits]
    devkit, findings = _devkit(root, chosen), Findings(strict=strict)
    name = " + ".join(f"VOC{year} {split}" for year, split in chosen)
    records: dict[Path, _Record] = {}
    for year, split in chosen:
        _add_records(records, devkit / f"VOC{year}", split, findings)
    if not records:
        raise DataError(f"{name} in {devkit} lists no image")
    found = sorted({one.name for record in records.values() for one in record.objects})
    names = tuple(found) if classes is None else tuple(str(one) for one in classes)
    if not names:
        raise DataError(f"{name} in {devkit} has no object, so no class can be discovered")
    images = tuple(_image(record, names, findings) for record in records.values())
    return DetectionDataset(name, names, images, ORIGIN, findings=tuple(findings))


def _split(given: Any) -> tuple[str, str]:
    if isinstance(given, str) or not isinstance(given, Sequence) or len(given) != 2:
        raise ConfigError(f"the split {given!r} must be a pair of year and name, for instance [2007, trainval]")
    return str(given[0]).removeprefix("VOC"), str(given[1])


def _devkit(root: str | Path, splits: list[tuple[str, str]]) -> Path:
    """The folder that holds VOC2007 and the like: `root` itself or its VOCdevkit."""
    root = Path(root).expanduser().absolute()
    devkit = root / "VOCdevkit" if (root / "VOCdevkit").is_dir() else root
    for year, _ in splits:
        if not os.path.isdir(inside(devkit, f"VOC{year}", "the year of a split")):  # noqa: PTH112 - any name
            raise DataError(f"no VOC{year} in {devkit}: put VOCdevkit/VOC{year} with {LAYOUT} into {root}")
    return devkit


def _add_records(records: dict[Path, _Record], folder: Path, split: str, findings: Findings) -> None:
    """Put what a split lists into `records`, by annotation file; what is there already counts once."""
    lists, images = folder / "ImageSets" / "Main", folder / "JPEGImages"
    file = inside(lists, f"{split}.txt", "the name of a split")
    if not os.path.exists(file):  # noqa: PTH110 - any name
        there = ", ".join(sorted(one.stem for one in lists.glob("*.txt"))) or "none"
        raise DataError(f"no split '{split}' in {lists}; there: {there}")
    ids = read_list(file, "split").split("\n")
    names = present(images)
    for one in filter(None, map(str.strip, ids)):
        annotation = folder / "Annotations" / f"{one}.xml"
        if leads_out(one):
            findings.add(Flaw.NAME_LEADS_OUT, file, f"{file}: the name {one!r} leads out of {folder}", object=one)
        elif annotation in records:
            findings.add(Flaw.LISTED_TWICE, file, object=one)
        elif (image := _image_file(images, one, names)) is None:
            findings.add(Flaw.IMAGE_MISSING, file, f"{file} lists {one}, but {images} has no {one}.jpg", object=one)
        elif record := _record(image, one, annotation, findings):
            records[annotation] = record


def _image_file(folder: Path, name: str, names: Collection[str]) -> Path | None:
    for suffix in SUFFIXES:
        if name + suffix in names or ("/" in name and os.path.isfile(folder / (name + suffix))):  # noqa: PTH113
            return folder / (name + suffix)
    return None


def _record(image: Path, name: str, file: Path, findings: Findings) -> _Record | None:
    data = read_bytes(file, "annotation", Flaw.ANNOTATION_MISSING, findings, limit=LONGEST)
    if data is None:
        return None
    try:
        root = defusedxml.ElementTree.fromstring(data, forbid_dtd=True)  # so neither entity bombs nor foreign files
    except DTDForbidden:
        findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file} has a DOCTYPE, which may hold anything; remove it")
        return None
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that there is not
        reason = f"cannot read the annotation {file}: {error or type(error).__name__}"
        findings.add(Flaw.ANNOTATION_BROKEN, file, reason)
        return None
    try:
        objects = [_object(number, one) for number, one in enumerate(root.iterfind("object"))]
        size = _size(root)
    except ValueError as error:
        findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file} is not a VOC annotation: {error}")
        return None
    if size is None:
        findings.add(Flaw.SIZE_MISSING, file)
        size = image_size(image, findings)
    return _Record(image, name, file, size, objects) if size else None


def _size(root: Element) -> tuple[int, int] | None:
    """Width and height; None where they are missing or zero, as some tools leave them."""
    width, height = (_pixels(side, root.findtext(f"size/{side}") or "0") for side in ("width", "height"))
    if min(width, height) <= 0:
        return None
    if width * height > MAX_PIXELS:
        raise ValueError(f"it has the size {width}x{height}, and an image may have {MAX_PIXELS} pixels")
    return width, height


def _pixels(side: str, text: str) -> int:
    try:
        pixels = int(float(text))
    except (ValueError, OverflowError):
        pixels = -1
    if pixels < 0 or pixels != float(text):
        raise ValueError(f"its {side} is {text.strip()!r}; it must be a whole number of pixels")
    return pixels


def _object(number: int, node: Element) -> _Object:
    """One object; ValueError if it lacks its name or a finite corner."""
    name = (node.findtext("name") or "").strip()
    corners = [(node.findtext(f"bndbox/{corner}") or "").strip() for corner in ("xmin", "ymin", "xmax", "ymax")]
    if not name or not all(corners):
        raise ValueError(f"object {number} lacks its name or a corner of its bndbox")
    try:
        x1, y1, x2, y2 = map(float, corners)
        sound = are_corners((x1, y1, x2, y2))
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"object {number} has the bndbox {corners}; its numbers must be {CORNERS}")
    return _Object(name, (x1, y1, x2, y2), (node.findtext("difficult") or "0").strip() not in ("0", ""))


def _image(record: _Record, classes: tuple[str, ...], findings: Findings) -> Image:
    objects = []
    for number, one in enumerate(record.objects):
        if one.name in classes:
            objects.append(Object(number, classes.index(one.name), one.box, one.difficult))
        else:
            reason = f"{record.annotation}: {unknown('class', one.name, classes)}"
            findings.add(Flaw.CLASS_UNKNOWN, record.annotation, reason, object=number)
    return sound_image(
        record.file, record.id, record.size, objects, origin=ORIGIN, place=record.annotation, findings=findings
    )


@dataclass(frozen=True, kw_only=True)
class VocOptions(DiskOptions, LoaderOptions):
    """`root` holds VOCdevkit (or is it), `train` and `test` list (year, split).

    `generate` has the digits set made below `root` first; in a configuration it is a mapping of `DigitsOptions`' keys.
    """

    where = "dataloader.voc"
    train: Sequence[Sequence[Any]] = ((2007, "trainval"),)
    test: Sequence[Sequence[Any]] = ((2007, "test"),)
    generate: digits.DigitsOptions | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.generate is not None:
            wanted = from_mapping(digits.DigitsOptions, self.generate, f"{self.where}.generate")
            object.__setattr__(self, "generate", wanted)

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> DetectionDataset:
        """As `read_voc`."""
        root = self.root if self.generate is None else digits.generate(self.root, self.generate)
        return read_voc(root, self.train if split == "train" else self.test, classes=classes, strict=strict)


class DataLoader(DiskLoader, DetectionLoader):
    """Batches of a VOCdevkit; the keywords are those of `VocOptions`."""

    kind = VocOptions
