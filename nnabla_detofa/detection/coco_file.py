"""COCO's instances file, read the same way for training and for evaluation (4.1)."""

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

from ..errors import DataError, is_number

PARTS = ("images", "annotations", "categories")
IDS = {"images": ("id",), "annotations": ("id", "image_id", "category_id"), "categories": ("id",)}
DIGITS = re.compile("-?[0-9]{1,18}")
YES, NO = ("1", "true", "yes", "y", "t"), ("", "0", "false", "no", "n", "f", "none")

Id = int | str


def read_instances(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Its lists of images, annotations and categories; DataError for anything else.

    Images and categories have an id. An id of digits is a number, whether it is written as one or as a string; any
    other string is a name. Names of categories are stripped and in Unicode's composed form.
    """
    if file.exists() and not file.is_file():  # a pipe may never end
        raise DataError(f"cannot read the annotations {file}: it is no file")
    try:
        content = json.loads(file.read_bytes(), object_pairs_hook=_object)
    except OSError as error:
        raise DataError(f"cannot read the annotations {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is not JSON: {error}") from error
    for key in PARTS:
        rows = content.get(key) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            raise DataError(f"{file} is not a COCO instances file: it has no list of {key}")
        for number, row in enumerate(rows):
            if isinstance(row, dict):
                row |= {name: meant for name in IDS[key] if (meant := as_id(row.get(name))) is not None}
            if not isinstance(row, dict) or (key != "annotations" and not is_id(row.get("id"))):
                given = f"the id {row['id']!r}" if isinstance(row, dict) and "id" in row else "no id"
                raise DataError(f"{file}: entry {number} of {key} has {given}; it must be a whole number or a name")
    for row in content["categories"]:
        if isinstance(row.get("name"), (str, int)):
            row["name"] = unicodedata.normalize("NFC", str(row["name"]).strip())
    return content


def as_id(value: Any) -> Id | None:
    """The whole number or the name that `value` means; None where it is neither."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)  # tables of numbers write all of them so
    if isinstance(value, str) and (text := value.strip()):
        return int(text) if DIGITS.fullmatch(text) else unicodedata.normalize("NFC", text)
    return value if isinstance(value, int) and is_id(value) else None


def is_id(value: Any) -> bool:
    """Whether `value` is a whole number that NumPy can hold, or a name."""
    if isinstance(value, str):
        return bool(value)
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def id_order(value: Id) -> tuple[bool, Id]:
    """A key that sorts ids: numbers first."""
    return isinstance(value, str), value


def as_flag(value: Any) -> bool | None:
    """Whether a flag is set, however it is written; None where it says neither yes nor no."""
    text = str(value).strip().lower()
    if text in YES or text in NO:
        return text in YES
    try:
        return {0.0: False, 1.0: True}.get(float(text))
    except ValueError:
        return None


def is_bbox(value: Any) -> bool:
    """Whether `value` is x, y, width, height."""
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(map(is_number, value))


def has_bbox(annotation: dict[str, Any]) -> bool:
    """Whether an annotation has a box at all, well-formed or not."""
    return annotation.get("bbox") not in (None, [], "")


def bbox_of(annotation: dict[str, Any]) -> Any:
    """An annotation's bbox, numbers in strings as numbers; the box around its polygons where it has none, else None."""
    bbox = annotation.get("bbox") if has_bbox(annotation) else _around(annotation.get("segmentation"))
    if isinstance(bbox, (list, tuple)) and str in map(type, bbox):
        try:
            return [float(one) for one in bbox]
        except (TypeError, ValueError, OverflowError):
            return bbox
    return bbox


def _around(polygons: Any) -> list[float] | None:
    """x, y, width, height of the box around polygons, each a list x1 y1 x2 y2 …; None for anything else."""
    if not isinstance(polygons, list) or not polygons:
        return None
    polygons = polygons if isinstance(polygons[0], list) else [polygons]
    for one in polygons:
        if not isinstance(one, list) or len(one) < 6 or len(one) % 2 or not all(map(is_number, one)):
            return None
    xs, ys = ([number for one in polygons for number in one[start::2]] for start in (0, 1))
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError for a key that is there twice, of which Python would keep the last and say nothing."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"an object has the key {max(keys, key=keys.count)!r} more than once")
    return found
