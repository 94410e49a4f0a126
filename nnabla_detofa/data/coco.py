"""COCO: any instances json with its image folder (4.1)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, unknown
from .dataset import DetectionDataset, Flaws, Image
from .images import inside, present
from .loader import DetectionLoader
from .options import LoaderOptions, from_mapping, require_classes, require_root

ORIGIN = 0.5  # COCO measures lengths from the image's corner: the first pixel's centre is at one half


def read_coco(folder: str | Path, file: str | Path, *, classes: Sequence[Any] | None = None) -> DetectionDataset:
    """The images in `folder` with the annotations of the instances json `file`.

    `classes` gives the labels their order; without, they are the file's categories by ascending id. Ids may have gaps.
    Images without boxes are kept. Crowds are flagged; training takes them for objects, as CenterNet does. Raises
    DataError for whatever is missing or not of COCO's form, ConfigError for a class that the file does not define.
    """
    file = Path(file)
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"cannot read the annotations {file}: {error.strerror}") from error
    names = None if classes is None else tuple(str(one) for one in classes)
    return _read(Path(folder), file, names, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=2)  # the loaders for training and for validation share one: COCO takes half a minute to read
def _read(folder: Path, file: Path, classes: tuple[str, ...] | None, stamp: tuple[int, int]) -> DetectionDataset:  # noqa: ARG001
    content = _content(file)
    categories = _categories(content, file)
    names = tuple(categories.values()) if classes is None else classes
    for name in names:
        if name not in categories.values():
            raise unknown(f"class for {file.name}", name, categories.values())
    ids = {name: number for number, name in categories.items()}
    rows = _rows_of_images(content, file)
    grouped = _group(content, rows, categories, names, file)
    files, flaws = present(folder), Flaws(ORIGIN)
    images = tuple(_image(row, grouped[row["id"]], folder, files, flaws, file) for row in rows.values())
    if not images:
        raise DataError(f"{file} lists no image")
    return DetectionDataset(
        file.stem,
        names,
        images,
        ORIGIN,
        skipped=dict(flaws.skipped),
        category_ids=tuple(ids[name] for name in names),
        annotation_file=file,
    )


def _content(file: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read the annotations {file}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) and _is_id(row.get("id")) for row in rows):
            raise DataError(f"{file} is not a COCO instances file: it has no list of {key} with ids")
    return content


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def _categories(content: dict, file: Path) -> dict[int, str]:
    """Names by id, ids ascending."""
    if not content["categories"]:
        raise DataError(f"{file} defines no category")
    try:
        return {row["id"]: str(row["name"]) for row in sorted(content["categories"], key=lambda row: row["id"])}
    except (KeyError, TypeError) as error:
        raise DataError(f"{file}: a category has no name, or an id that is not a number") from error


def _rows_of_images(content: dict, file: Path) -> dict[int, dict]:
    """The image entries by id, in the file's order."""
    for row in content["images"]:
        size = row.get("width"), row.get("height")
        if not isinstance(row.get("file_name"), str) or not all(
            isinstance(one, (int, float)) and one > 0 for one in size
        ):
            raise DataError(f"{file}: image {row['id']} lacks its file_name, width or height")
    return {row["id"]: row for row in content["images"]}


def _group(
    content: dict, images: dict[int, dict], categories: dict[int, str], classes: tuple[str, ...], file: Path
) -> dict[int, list[tuple[list[float], int, bool]]]:
    """Box as x1 y1 x2 y2, label and crowd flag of the annotations of each image."""
    labels = {number: classes.index(name) for number, name in categories.items() if name in classes}
    grouped: dict[int, list] = {number: [] for number in images}
    for row in content["annotations"]:
        image, category, where = row.get("image_id"), row.get("category_id"), f"{file}: annotation {row['id']}"
        if not _is_id(image) or image not in grouped:
            raise DataError(f"{where} is of image {image}, which the file does not list")
        if not _is_id(category) or category not in categories:
            raise DataError(f"{where} is of category {category}; known: {', '.join(map(str, categories))}")
        if category not in labels:
            raise DataError(f"{where}: {unknown('class', categories[category], classes)}")
        try:
            x, y, width, height = map(float, row["bbox"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where} has the bbox {row.get('bbox')}; it must be x, y, width, height") from error
        if not isfinite(x + y + width + height):
            raise DataError(f"{where} has the bbox {row['bbox']}; its numbers must be finite")
        grouped[image].append(([x, y, x + width, y + height], labels[category], bool(row.get("iscrowd", 0))))
    return grouped


def _image(row: dict, objects: list, folder: Path, files: Any, flaws: Flaws, file: Path) -> Image:
    path = inside(folder, row["file_name"], str(file))
    if path.name not in files and not path.is_file():
        raise DataError(f"{file} lists {row['file_name']}, but {folder} does not have it")
    size = int(row["width"]), int(row["height"])
    boxes = np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label, _ in objects], np.int64)
    crowd = np.array([crowd for _, _, crowd in objects], bool)
    sound = flaws.sound(boxes, size, row["file_name"])
    difficult = np.zeros(int(sound.sum()), bool)
    return Image(path, row["id"], size, boxes[sound], labels[sound], difficult, crowd[sound])


@dataclass(frozen=True, kw_only=True)
class CocoOptions(LoaderOptions):
    """`train` and `test` are pairs of image folder and instances json in `root`; `classes` null: those of `train`."""

    root: str | Path = ""
    train: Sequence[str] = ("train2017", "annotations/instances_train2017.json")
    test: Sequence[str] = ("val2017", "annotations/instances_val2017.json")
    classes: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_root("dataloader.coco", self.root)
        require_classes(self.classes)
        for name, pair in (("train", self.train), ("test", self.test)):
            if isinstance(pair, str) or not isinstance(pair, Sequence) or len(pair) != 2:
                raise ConfigError(f"dataloader.coco.{name} is {pair!r}; it must be [image folder, instances json]")

    def part(self, pair: Sequence[str], classes: Sequence[Any] | None) -> DetectionDataset:
        """The data set of a pair of image folder and json; DataError that says what to put where if it is not there."""
        root = Path(self.root).expanduser().absolute()
        folder, file = root / pair[0], root / pair[1]
        for path in (folder, file):
            if not path.exists():
                raise DataError(f"no {path}: put the images into {folder} and their annotations into {file}")
        return read_coco(folder, file, classes=classes)


class DataLoader(DetectionLoader):
    """Batches of a COCO data set; the keywords are those of `CocoOptions`."""

    def __init__(
        self, searching: bool, training: bool, batch_size: int, *, communicator: Any = None, **options: Any
    ) -> None:
        chosen = from_mapping(CocoOptions, options, "dataloader.coco")
        testing = not searching and not training
        classes = chosen.classes
        if testing and classes is None:
            classes = chosen.part(chosen.train, None).classes
        dataset = chosen.part(chosen.test if testing else chosen.train, classes)
        super().__init__(
            dataset,
            searching=searching,
            training=training,
            batch_size=batch_size,
            options=chosen,
            communicator=communicator,
        )
