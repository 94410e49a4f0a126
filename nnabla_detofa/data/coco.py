"""COCO: any instances json with its image folder (4.1)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from ..detection import Id, as_flag, bbox_of, has_bbox, id_order, is_bbox, is_id, read_instances
from ..errors import DataError, is_number
from ..options import Listed, Text
from .dataset import DetectionDataset
from .dataset_loader import DatasetLoader
from .dataset_options import RootOptions
from .flaws import Findings, Flaw
from .images import MAX_PIXELS, SUFFIXES, image_size
from .listing import Listing
from .loader import DetectionLoader, LoaderOptions
from .objects import CORNERS, Object, Sample, Wanted, are_corners, dataset_of, note_repeated
from .sharing import read_once

ORIGIN = 0.5  # COCO measures lengths from the image's corner: the first pixel's centre is at one half


@read_once
def read_coco(
    folder: str | Path,
    file: str | Path,
    *,
    classes: Sequence[Any] | None = None,
    listed_by: str | None = None,
    strict: bool = True,
) -> DetectionDataset:
    """The images in `folder` with the annotations of the instances json `file`.

    `classes` gives the labels their order, and objects of other classes are left out; without, they are the file's
    categories by ascending id. `listed_by` is as in `Wanted`. Ids may have gaps, or be names. A class that the file
    does not define has no objects. Images without boxes are kept. Crowds are flagged; training takes them for objects,
    as CenterNet does. Raises DataError for whatever is missing or not of COCO's form; where not `strict`, what is wrong
    with one image or annotation only goes into the findings.
    """
    file, findings = Path(file), Findings(strict=strict)
    content = Instances.read(Path(folder), file, findings)
    objects: dict[Id, list[Object]] = {key: [] for key in content.rows}
    for row, key, name in content.annotations(findings):
        if one := _object(row, key, name, file, findings):
            objects[row["image_id"]].append(one)
    samples = [Sample(image, key, size, objects[key], image) for key, image, size in content.images(findings)]
    wanted = Wanted(dict.fromkeys(content.categories.values()) if classes is None else classes, listed_by)
    more: dict[str, Any] = {"category_ids": content.ids_of(wanted.names), "annotation_file": file}
    return dataset_of(file.stem, samples, wanted, origin=ORIGIN, form="sides", place=file, findings=findings, **more)


class Instances(NamedTuple):
    """An instances file, and the folder of its images: `rows` of images and names of `categories` by id, the `files` of
    images below the folder, and `objects`, its annotations as they are."""

    folder: Path
    file: Path
    rows: dict[Id, dict]
    files: dict[Id, str]
    categories: dict[Id, str]
    objects: list[dict]

    @classmethod
    def read(cls, folder: Path, file: Path, findings: Findings) -> Instances:
        """The content of `file`; DataError where it is none, or the folder is not there."""
        content, listing = read_instances(file), Listing(folder, SUFFIXES)
        categories = _categories(content["categories"], file, findings)
        rows = _first_of_each(content["images"], "images", "file_name", file, findings)
        if not rows:
            findings.add(Flaw.SPLIT_UNREADABLE, file, f"{file} lists no image")
        return cls(folder, file, rows, _files(rows, listing, file, findings), categories, content["annotations"])

    def images(self, findings: Findings) -> Iterator[tuple[Id, Path, tuple[int, int]]]:
        """The id of each usable image, its file and its (width, height)."""
        for key, name in self.files.items():
            if size := _size(self.rows[key], self.folder / name, self.file, findings):
                yield key, self.folder / name, size

    def ids_of(self, names: Iterable[str]) -> tuple[Id | None, ...]:
        """Ids of categories; None for one that the file does not define."""
        ids = {name: key for key, name in reversed(self.categories.items())}
        return tuple(ids.get(name) for name in names)

    def annotations(self, findings: Findings) -> Iterator[tuple[dict, Id, str]]:
        """Annotations of its images and categories, each with a key of its own and its class."""
        seen: set[Id] = set()
        for number, row in enumerate(self.objects):
            key: Any
            key, image, category = row.get("id"), row.get("image_id"), row.get("category_id")
            if not is_id(key) or key in seen:
                key = f"entry {number}"
                findings.add(Flaw.ANNOTATION_ID, self.file, object=key)
            seen.add(key)
            if not is_id(image) or image not in self.rows:
                findings.add(Flaw.IMAGE_UNKNOWN, self.file, f"of image {image!r}", object=key)
            elif not is_id(category) or category not in self.categories:
                known = ", ".join(map(str, self.categories))
                reason = f"{self.file}: annotation {key} is of category {category!r}; known: {known}"
                findings.add(Flaw.CATEGORY_UNKNOWN, self.file, reason, object=key)
            else:
                yield row, key, self.categories[category]


def _first_of_each(rows: list[dict], what: str, same: str, file: Path, findings: Findings) -> dict[Id, dict]:
    """Rows by id, in the file's order; another row of an id must have the `same` value."""
    found: dict[Id, dict] = {}
    for row in rows:
        first = found.setdefault(row["id"], row)
        if first is not row and first.get(same) != row.get(same):
            reason = f"{file}: the id {row['id']!r} is of several {what}; it must be unique"
            findings.add(Flaw.ID_REPEATED, file, reason, object=row["id"])
        elif first is not row:
            findings.add(Flaw.LISTED_TWICE, file, object=row["id"])
    return found


def _categories(rows: list[dict], file: Path, findings: Findings) -> dict[Id, str]:
    """Names by id, ids ascending, as `read_instances` has stripped and composed them."""
    if not rows or not all(isinstance(row.get("name"), str) and row["name"] for row in rows):
        raise DataError(f"{file} must define categories, each with a name")
    found = _first_of_each(rows, "categories", "name", file, findings)
    names = {key: found[key]["name"] for key in sorted(found, key=id_order)}
    note_repeated(names, file, findings)
    return names


def _files(rows: dict[Id, dict], listing: Listing, file: Path, findings: Findings) -> dict[Id, str]:
    """The file of each image, below the folder that is listed."""
    files: dict[Id, str] = {}
    taken: dict[str, tuple[Id, str]] = {}
    for key, row in rows.items():
        if not (name := str(row.get("file_name") or "")):
            findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file}: image {key} lacks its file_name", object=key)
        elif found := listing.meant(name, file, findings, key=key):
            other, its_name = taken.setdefault(found, (key, name))
            if other == key:
                files[key] = found
                continue
            reason = f"{file}: images {other} and {key}, named {its_name!r} and {name!r}, lead to the same file,"
            reason += f" {listing.folder / found}; an image needs all its objects under one id"
            findings.add(Flaw.NAME_AMBIGUOUS, file, reason, object=key)
    return files


def _size(row: dict, image: Path, file: Path, findings: Findings) -> tuple[int, int] | None:
    """Width and height, from the image where the entry does not say them; None for an unusable one."""
    width, height = (_pixels(row.get(side)) for side in ("width", "height"))
    if width is None or height is None:
        findings.add(Flaw.SIZE_MISSING, file, object=row["id"])
        return image_size(image, findings)
    if width * height > MAX_PIXELS:
        reason = f"is {width}x{height}, and an image may have {MAX_PIXELS} pixels"
        findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file}: image {row['id']} {reason}", object=row["id"])
        return None
    return width, height


def _pixels(given: Any) -> int | None:
    """A whole number of pixels above 0, however it is written; None for anything else."""
    try:
        number = float(given) if isinstance(given, str) else given
    except ValueError:
        return None
    return int(number) if is_number(number) and number > 0 and number == number // 1 else None


def _object(row: dict, key: Id, name: str, file: Path, findings: Findings) -> Object | None:
    """An annotation's object; None, and the flaw in `findings`, where it has none."""
    if (bbox := bbox_of(row)) is None:
        findings.add(Flaw.BOX_MISSING, file, object=key)
        return None
    if not is_bbox(bbox) or not are_corners((*bbox, x2 := bbox[0] + bbox[2], y2 := bbox[1] + bbox[3])):
        reason = f"has the bbox {bbox}; it must be x, y, width, height, {CORNERS}"
        findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file}: annotation {key} {reason}", object=key)
        return None
    if not has_bbox(row):
        findings.add(Flaw.BOX_FROM_OUTLINE, file, object=key)
    if "area" in row and not (is_number(row["area"]) and row["area"] >= 0):
        findings.add(Flaw.AREA_UNKNOWN, file, f"{row['area']!r}", object=key)
    flags = {name: as_flag(row[name]) if name in row else False for name in ("iscrowd", "ignore")}
    for flag, value in flags.items():
        if value is None:
            findings.add(Flaw.FLAG_UNKNOWN, file, f"{flag} is {row[flag]!r}", object=key)
    return Object(key, name, (bbox[0], bbox[1], x2, y2), crowd=bool(flags["iscrowd"]), ignored=bool(flags["ignore"]))


PAIR = Listed(Text("the name of the image folder or of the instances json"), n=2)


class CocoSplits(RootOptions):
    """`train` and `test` are pairs of image folder and instances json in `root`."""

    train: Annotated[Sequence[str], PAIR] = ("train2017", "annotations/instances_train2017.json")
    test: Annotated[Sequence[str], PAIR] = ("val2017", "annotations/instances_val2017.json")

    def pair(self, split: str) -> tuple[Path, Path]:
        """Folder and file of a split; DataError that says what to put where if one is not there."""
        pair, root = self.train if split == "train" else self.test, Path(self.root).expanduser().absolute()
        folder, file = root / pair[0], root / pair[1]
        for path in (folder, file):
            if not os.path.exists(path):  # noqa: PTH110
                raise DataError(f"no {path}: put the images into {folder} and their annotations into {file}")
        return folder, file


class CocoOptions(LoaderOptions, CocoSplits):
    """`train` and `test` are pairs of image folder and instances json in `root`."""

    where = "dataloader.coco"

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> DetectionDataset:
        """As `read_coco`."""
        folder, file = self.pair(split)
        return read_coco(folder, file, classes=classes, listed_by=self.listed_by(split), strict=strict)


class DataLoader(DatasetLoader, DetectionLoader):
    """Batches of a COCO data set; the keywords are those of `CocoOptions`."""

    declared = CocoOptions
