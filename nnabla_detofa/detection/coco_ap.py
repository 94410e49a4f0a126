"""Average precision as COCO computes it, by pycocotools (4.1)."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..errors import DataError, is_number
from .boxes import Detections, check_boxes, check_column, check_labels
from .coco_file import is_bbox, is_id, read_instances

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


class _Kind(NamedTuple):
    """What a dict of this kind is called, must have and may have."""

    name: str
    needs: tuple[str, ...]
    may_have: tuple[str, ...] = ()


_TRUTH = _Kind("annotation", ("image_id", "category_id", "bbox"), ("area", "iscrowd"))
_RESULT = _Kind("detection", ("image_id", "category_id", "bbox", "score"))


def coco_ap(
    detections: Iterable[dict[str, Any]], annotation_file: str | Path, *, image_ids: Iterable[int] | None = None
) -> dict[str, float]:
    """COCO's twelve box metrics, in 0..1; nan where there is no object to find (of that size).

    `detections` are COCO's result dicts: image_id, category_id, bbox (x y width height), score; at most the best 100 of
    an image count. `annotation_file` is an instances json; `image_ids` restricts the evaluation to these of its images.
    Prints nothing. DataError for a file or a dict that is not of COCO's form and for ids that the file does not hold.
    """
    content = read_instances(Path(annotation_file))
    images, categories = ({row["id"] for row in content[key]} for key in ("images", "categories"))
    truth = _checked(content["annotations"], _TRUTH, f"{annotation_file}: ", images, categories)
    results = _checked(detections, _RESULT, "", images, categories)
    wanted = images if image_ids is None else set(image_ids)
    if wanted - images:
        raise DataError(f"image {min(wanted - images)} is to be evaluated, but {annotation_file} does not list it")
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_index(content, truth), _index(content, results), iouType="bbox")
        evaluation.params.imgIds = sorted(wanted)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) if value >= 0 else np.nan for name, value in zip(METRICS, evaluation.stats, strict=True)}


def to_coco(detections: Detections, image_ids: Sequence[int], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """`detections` as COCO's result dicts: image i is `image_ids[i]`, label j is `category_ids[j]`.

    A box's width is x2 − x1, as COCO has it. Scores are not rounded. DataError for an image or label outside the lists.
    """
    box = check_boxes(detections.box, "detections.box")
    image = check_labels(detections.image, len(box), len(image_ids), "detections.image", "images")
    label = check_labels(detections.label, len(box), len(category_ids), "detections.label")
    sides = np.concatenate([box[:, :2], box[:, 2:] - box[:, :2]], axis=1)
    score = check_column(detections.score, len(box), "detections.score", np.float64)
    return [
        {"image_id": int(image_ids[i]), "category_id": int(category_ids[j]), "bbox": bbox, "score": one}
        for i, j, bbox, one in zip(image, label, sides.tolist(), score.tolist(), strict=True)
    ]


def _checked(rows: Iterable[Any], kind: _Kind, where: str, images: set[int], categories: set[int]) -> list[dict]:
    """Copies of `rows` with what pycocotools looks up; it would mutate the rows themselves, and take any id."""
    checked = []
    for number, row in enumerate(rows):
        name = f"{where}{kind.name} {number}"
        missing = [key for key in kind.needs if not isinstance(row, dict) or key not in row]
        if missing:
            raise DataError(f"{name} lacks {', '.join(missing)}; it must have {', '.join(kind.needs)}")
        if not is_id(row["image_id"]) or row["image_id"] not in images:
            raise DataError(f"{name} is of image {row['image_id']}, which the annotations do not list")
        if not is_id(row["category_id"]) or row["category_id"] not in categories:
            known = ", ".join(map(str, sorted(categories)))
            raise DataError(f"{name} is of category {row['category_id']}; known: {known}")
        if not is_bbox(row["bbox"]):
            raise DataError(f"{name} has the bbox {row['bbox']}; it must be x, y, width, height")
        numbers = [row[key] for key in ("score", "area") if key in row]
        if not all(map(is_number, numbers)) or row.get("iscrowd", 0) not in (0, 1):
            raise DataError(f"{name} has a score, area or iscrowd that is no finite number: {row}")
        # Numbered from 1: pycocotools takes an object with id 0 for not found once it is found.
        checked.append(
            {"id": number + 1, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
            | {key: row[key] for key in (*kind.needs, *kind.may_have) if key in row}
        )
    return checked


def _index(content: dict, annotations: list[dict]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": content["images"], "categories": content["categories"], "annotations": annotations}
    coco.createIndex()
    return coco
