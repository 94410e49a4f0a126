"""COCO: any instances json with its image folder (4.1)."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..detection import is_bbox, is_id, read_instances
from ..errors import ConfigError, DataError, is_number, unknown
from .dataset import DetectionDataset, Image
from .disk import DiskLoader, DiskOptions
from .flaws import Findings, Flaw
from .images import MAX_PIXELS, leads_out, present
from .loader import DetectionLoader
from .objects import CORNERS, Object, are_corners, sound_image
from .options import LoaderOptions

FIELDS = {"image_id": None, "category_id": None, "iscrowd": 0, "area": 0}  # of an annotation, beside its bbox
ORIGIN = 0.5  # COCO measures lengths from the image's corner: the first pixel's centre is at one half


def read_coco(
    folder: str | Path, file: str | Path, *, classes: Sequence[Any] | None = None, strict: bool = True
) -> DetectionDataset:
    """The images in `folder` with the annotations of the instances json `file`.

    `classes` gives the labels their order; without, they are the file's categories by ascending id. Ids may have gaps.
    Images without boxes are kept. Crowds are flagged; training takes them for objects, as CenterNet does. Raises
    DataError for whatever is missing or not of COCO's form, ConfigError for a class that the file does not define;
    where not `strict`, what is wrong with one image or annotation only goes into the findings.
    """
    file = Path(file)
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"cannot read the annotations {file}: {error.strerror}") from error
    names = None if classes is None else tuple(str(one) for one in classes)
    return _read(Path(folder), file, names, strict, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=2)  # the loaders for training and for validation share one: COCO takes half a minute to read
def _read(
    folder: Path,
    file: Path,
    classes: tuple[str, ...] | None,
    strict: bool,
    stamp: tuple[int, int],  # noqa: ARG001
) -> DetectionDataset:
    content, findings = read_instances(file), Findings(strict=strict)
    categories = _categories(content, file, findings)
    names = tuple(categories.values()) if classes is None else classes
    for name in names:
        if name not in categories.values():
            raise DataError(unknown(f"class for {file.name}", name, categories.values()))
    ids = {name: number for number, name in categories.items()}
    rows = _rows_of_images(content, file, findings)
    grouped = _group(content, rows, categories, names, file, findings)
    files = present(folder)
    images = [_image(row, grouped[key], folder, files, file, findings) for key, row in rows.items()]
    if not rows:
        raise DataError(f"{file} lists no image")
    return DetectionDataset(
        file.stem,
        names,
        tuple(filter(None, images)),
        ORIGIN,
        findings=tuple(findings),
        category_ids=tuple(ids[name] for name in names),
        annotation_file=file,
    )


def _first_of_each(rows: list[dict], what: str, key: str, file: Path, findings: Findings) -> dict[Any, dict]:
    """Rows by the value of `key`, in the file's order."""
    found: dict[Any, dict] = {}
    for row in rows:
        if row[key] in found:
            reason = f"{file}: the {key} {row[key]!r} is of several {what}; it must be unique"
            findings.add(Flaw.ID_REPEATED, file, reason, object=row["id"])
        else:
            found[row[key]] = row
    return found


def _categories(content: dict, file: Path, findings: Findings) -> dict[int, str]:
    """Names by id, ids ascending."""
    if not content["categories"]:
        raise DataError(f"{file} defines no category")
    rows = content["categories"]
    if not all(isinstance(row.get("name"), (str, int)) for row in rows):
        raise DataError(f"{file}: a category has no name")
    rows = _first_of_each(rows, "categories", "id", file, findings).values()
    rows = _first_of_each([{**row, "name": str(row["name"])} for row in rows], "categories", "name", file, findings)
    return {row["id"]: row["name"] for row in sorted(rows.values(), key=lambda row: row["id"])}


def _rows_of_images(content: dict, file: Path, findings: Findings) -> dict[int, dict]:
    """The image entries by id, in the file's order."""
    rows = _first_of_each(content["images"], "images", "id", file, findings)
    for key, row in list(rows.items()):
        if reason := _wrong_row(row):
            findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file}: image {key} {reason}", object=key)
            del rows[key]
    return rows


def _wrong_row(row: dict) -> str:
    """What an image entry lacks; empty where it is sound."""
    width, height, name = row.get("width"), row.get("height"), row.get("file_name")
    numbers = all(isinstance(one, (int, float)) and one == one // 1 and one > 0 for one in (width, height))
    if not isinstance(name, str) or not name or not numbers:
        return "lacks its file_name, width or height"
    too_large = width * height > MAX_PIXELS  # type: ignore[operator]
    return f"is {width}x{height}, and an image may have {MAX_PIXELS} pixels" if too_large else ""


def _group(
    content: dict,
    images: dict[int, dict],
    categories: dict[int, str],
    classes: tuple[str, ...],
    file: Path,
    findings: Findings,
) -> dict[int, list[Object]]:
    """The objects of each image."""
    labels = {number: classes.index(name) for number, name in categories.items() if name in classes}
    grouped: dict[int, list[Object]] = {number: [] for number in images}
    listed = {row["id"] for row in content["images"]}
    for key, row in _first_of_each(content["annotations"], "annotations", "id", file, findings).items():
        image, category, crowd, area = (row.get(name, usual) for name, usual in FIELDS.items())
        if not is_id(image) or image not in listed:
            flaw, reason = Flaw.IMAGE_UNKNOWN, f"is of image {image!r}, which the file does not list"
        elif not is_id(category) or category not in categories:
            known = ", ".join(map(str, categories))
            flaw, reason = Flaw.CATEGORY_UNKNOWN, f"is of category {category!r}; known: {known}"
        elif category not in labels:
            flaw, reason = Flaw.CLASS_UNKNOWN, f"is of an {unknown('class', categories[category], classes)}"
        elif (box := _box(row.get("bbox"))) is None:
            reason = f"has the bbox {row.get('bbox')}; it must be x, y, width, height, {CORNERS}"
            flaw = Flaw.ANNOTATION_BROKEN
        elif crowd not in (0, 1) or not is_number(area):
            reason = f"has iscrowd {crowd!r} and the area {area!r}; they must be 0 or 1, and a finite number"
            flaw = Flaw.ANNOTATION_BROKEN
        else:
            if image in grouped:
                grouped[image].append(Object(key, labels[category], box, crowd=bool(crowd)))
            continue
        findings.add(flaw, file, f"{file}: annotation {key} {reason}", object=key)
    return grouped


def _box(given: Any) -> tuple[float, float, float, float] | None:
    """x1 y1 x2 y2 of an annotation's bbox; None where it is not one."""
    if not is_bbox(given):
        return None
    x, y, width, height = given
    return (x, y, x + width, y + height) if are_corners(given) and are_corners((x + width, y + height)) else None


def _image(
    row: dict, objects: list[Object], folder: Path, files: Collection[str], file: Path, findings: Findings
) -> Image | None:
    name, path = row["file_name"], folder / row["file_name"]
    if leads_out(name):
        reason = f"{file}: the name {name!r} leads out of {folder}; names must stay inside"
        findings.add(Flaw.NAME_LEADS_OUT, file, reason, object=row["id"])
        return None
    if name not in files and not os.path.isfile(path):  # noqa: PTH113
        reason = f"{file} lists {name}, but {folder} does not have it"
        findings.add(Flaw.IMAGE_MISSING, path, reason, object=row["id"])
        return None
    size = int(row["width"]), int(row["height"])
    return sound_image(path, row["id"], size, objects, origin=ORIGIN, place=path, findings=findings)


@dataclass(frozen=True, kw_only=True)
class CocoOptions(DiskOptions, LoaderOptions):
    """`train` and `test` are pairs of image folder and instances json in `root`."""

    where = "dataloader.coco"
    train: Sequence[str] = ("train2017", "annotations/instances_train2017.json")
    test: Sequence[str] = ("val2017", "annotations/instances_val2017.json")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, pair in (("train", self.train), ("test", self.test)):
            strings = isinstance(pair, Sequence) and all(isinstance(one, str) for one in pair)
            if isinstance(pair, str) or not strings or len(pair) != 2:
                raise ConfigError(f"{self.where}.{name} is {pair!r}; it must be [image folder, instances json]")

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> DetectionDataset:
        """As `read_coco`; DataError that says what to put where if a folder or file is not there."""
        pair, root = self.train if split == "train" else self.test, Path(self.root).expanduser().absolute()
        folder, file = root / pair[0], root / pair[1]
        for path in (folder, file):
            if not os.path.exists(path):  # noqa: PTH110
                raise DataError(f"no {path}: put the images into {folder} and their annotations into {file}")
        return read_coco(folder, file, classes=classes, strict=strict)


class DataLoader(DiskLoader, DetectionLoader):
    """Batches of a COCO data set; the keywords are those of `CocoOptions`."""

    kind = CocoOptions
