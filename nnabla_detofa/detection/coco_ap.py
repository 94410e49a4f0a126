"""Average precision as COCO computes it, by pycocotools (4.1)."""

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO

from ..errors import DataError, is_number
from .boxes import Detections, check_arrays, check_labels
from .coco_evaluation import Evaluation
from .coco_file import Id, as_flag, as_id, bbox_of, id_order, is_bbox, is_id, read_instances

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def coco_ap(
    detections: Iterable[dict[str, Any]],
    annotation_file: str | Path,
    *,
    image_ids: Iterable[Id] | None = None,
    category_ids: Iterable[Id | None] | None = None,
) -> dict[str, float]:
    """COCO's twelve box metrics, in 0..1; nan where there is no object to find (of that size).

    `detections` are COCO's result dicts: image_id, category_id, bbox (x y width height), score; at most the best 100 of
    an image count. `annotation_file` is an instances json; `image_ids` and `category_ids` restrict the evaluation to
    these of its images and categories (None is one that it lacks). Boxes count as they stand in it; objects without a
    box or of images that it does not list are left out, those with `ignore` count as crowds do, and categories of one
    name are one. Prints nothing. DataError for a file or a dict that is not of COCO's form and for ids that the file
    does not hold.
    """
    evaluation, _ = evaluated(detections, annotation_file, image_ids=image_ids, category_ids=category_ids)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) if value >= 0 else np.nan for name, value in zip(METRICS, evaluation.stats, strict=True)}


def evaluated(
    detections: Iterable[dict[str, Any]],
    annotation_file: str | Path,
    *,
    image_ids: Iterable[Id] | None = None,
    category_ids: Iterable[Id | None] | None = None,
    any_size: bool = False,
) -> tuple[Evaluation, "_Ids"]:
    """Detections matched with objects as `coco_ap` says, of every range of sizes or of `any_size` alone, and the
    numbers that images and categories have in it."""
    file, images = Path(annotation_file), None if image_ids is None else tuple(map(as_id, image_ids))
    stamp = None
    with contextlib.suppress(OSError):  # which is said where the file is read
        stamp = file.stat().st_mtime_ns, file.stat().st_size
    truth = _truth(file, images, None if category_ids is None else tuple(map(as_id, category_ids)), stamp)
    ids = truth.ids
    results = list(_results(detections, ids))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = Evaluation(ids.indexed(truth.objects), ids.indexed(results), iouType="bbox")
        evaluation.params.imgIds = truth.images
        evaluation.params.catIds = truth.categories
        if any_size:
            evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.evaluate()
    return evaluation, ids


def to_coco(detections: Detections, image_ids: Sequence[Id], category_ids: Sequence[Id | None]) -> list[dict[str, Any]]:
    """`detections` as COCO's result dicts: image i is `image_ids[i]`, label j is `category_ids[j]`.

    Detections of a label whose category is None, one that the annotations lack, are left out: nothing can be found of
    it. A box's width is x2 − x1, as COCO has it. Scores are not rounded. DataError for an image or label outside the
    lists.
    """
    image, label, box, score = check_arrays(detections, "detections", len(category_ids))
    image = check_labels(image, len(box), len(image_ids), "detections.image", "images")
    sides = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)
    images, categories = (np.asarray(ids, object).tolist() for ids in (image_ids, category_ids))  # no NumPy numbers
    return [
        {"image_id": images[i], "category_id": categories[j], "bbox": bbox, "score": one}
        for i, j, bbox, one in zip(image, label, sides.tolist(), score.tolist(), strict=True)
        if categories[j] is not None
    ]


class _Ids(NamedTuple):
    """Numbers for the ids of a file's images and categories: pycocotools sorts ids, which names and numbers mixed
    cannot be."""

    images: dict[Id, int]
    categories: dict[Id, int]

    def renumbered(self, row: dict[str, Any], name: str, bbox: Any) -> dict[str, Any]:
        """A new row with what pycocotools looks up; it would mutate the object or detection itself, and take any id.
        DataError for a row that is not sound; `name` is what it is called."""
        image, category = as_id(row["image_id"]), as_id(row["category_id"])
        if image not in self.images:
            raise DataError(f"{name} is of image {row['image_id']}, which the annotations do not list")
        if category not in self.categories:
            known = ", ".join(map(str, sorted(self.categories, key=id_order)))
            raise DataError(f"{name} is of category {row['category_id']}; known: {known}")
        if not is_bbox(bbox):
            raise DataError(f"{name} has the bbox {bbox}; it must be x, y, width, height")
        numbers = {"image_id": self.images[image], "category_id": self.categories[category]}
        return {**numbers, "bbox": list(bbox), "area": bbox[2] * bbox[3], "iscrowd": 0}

    def indexed(self, rows: list[dict[str, Any]]) -> COCO:
        """The rows as pycocotools wants them, numbered from 1: it takes an object with id 0 for not found once it is
        found."""
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number} for number in self.images.values()],
            "categories": [{"id": number} for number in sorted(set(self.categories.values()))],
            "annotations": [row | {"id": number} for number, row in enumerate(rows, start=1)],
        }
        coco.createIndex()
        return coco


class _Truth(NamedTuple):
    """The ground truth: the numbers of the images and the categories that are evaluated, and the objects in them."""

    ids: _Ids
    images: list[int]
    categories: list[int]
    objects: list[dict[str, Any]]


@lru_cache(maxsize=2)  # held-out and test images: detectors are measured one by one, and COCO takes long to read
def _truth(
    file: Path,
    image_ids: tuple[Id | None, ...] | None,
    category_ids: tuple[Id | None, ...] | None,
    stamp: tuple[int, int] | None,  # noqa: ARG001
) -> _Truth:
    """Of all images or categories where None. All of the file has to be sound, whatever is evaluated."""
    content = read_instances(file)
    order = sorted({row["id"] for row in content["images"]}, key=id_order)
    ids = _Ids({key: number for number, key in enumerate(order)}, _numbered_by_name(content["categories"]))
    images = set(ids.images.values())
    if image_ids is not None:
        if unlisted := [one for one in image_ids if one not in ids.images]:
            raise DataError(f"image {unlisted[0]} is to be evaluated, but {file} does not list it")
        images = {ids.images[one] for one in image_ids if one is not None}
    chosen = ids.categories if category_ids is None else category_ids
    numbers = {ids.categories[one] for one in chosen if one in ids.categories}
    wanted = {key for key, number in ids.categories.items() if number in numbers}
    objects = [one for one in _objects(content["annotations"], ids, wanted, file) if one["image_id"] in images]
    return _Truth(ids, sorted(images), sorted(numbers), objects)


def _numbered_by_name(rows: list[dict[str, Any]]) -> dict[Id, int]:
    """Ids of categories in their order, numbered; those of one name have one number."""
    names = {row["id"]: row["name"] if isinstance(row.get("name"), str) else (row["id"],) for row in rows}
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    return {key: numbers[name] for key, name in names.items()}


def _objects(rows: list[dict[str, Any]], ids: _Ids, wanted: set[Id], file: Path) -> Iterator[dict[str, Any]]:
    """The annotations of listed images and wanted categories that have a box, as pycocotools wants them."""
    for number, row in enumerate(rows):
        name, image, category = f"{file}: annotation {number}", row.get("image_id"), row.get("category_id")
        if not is_id(image) or image not in ids.images:
            continue
        _require(row, ("image_id", "category_id"), name)
        if is_id(category) and category in ids.categories and category not in wanted:
            continue
        if (bbox := bbox_of(row)) is not None:
            area, crowd = row.get("area"), as_flag(row.get("iscrowd")) or as_flag(row.get("ignore"))
            given = {"area": area} if is_number(area) and area >= 0 else {}
            yield {**ids.renumbered(row, name, bbox), **given, "iscrowd": int(bool(crowd))}


def _results(rows: Iterable[Any], ids: _Ids) -> Iterator[dict[str, Any]]:
    """The detections as pycocotools wants them."""
    for number, row in enumerate(rows):
        name = f"detection {number}"
        _require(row, ("image_id", "category_id", "bbox", "score"), name)
        if not is_number(row["score"]):
            raise DataError(f"{name} has a score that is no finite number: {row}")
        yield {**ids.renumbered(row, name, row["bbox"]), "score": row["score"]}


def _require(row: Any, keys: tuple[str, ...], name: str) -> None:
    """DataError for a row that lacks one of the keys."""
    missing = [key for key in keys if not isinstance(row, dict) or key not in row]
    if missing:
        raise DataError(f"{name} lacks {', '.join(missing)}; it must have {', '.join(keys)}")
