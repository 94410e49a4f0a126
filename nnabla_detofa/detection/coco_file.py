"""COCO's instances file as it stands, for training and for evaluation alike (4.1)."""

import json
from pathlib import Path
from typing import Any

from ..errors import DataError, is_number

PARTS = ("images", "annotations", "categories")


def read_instances(file: Path) -> dict[str, list[dict[str, Any]]]:
    """Its lists of images, annotations and categories, each entry with an id; DataError for anything else."""
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
            if not isinstance(row, dict) or not is_id(row.get("id")):
                given = f"the id {row['id']!r}" if isinstance(row, dict) and "id" in row else "no id"
                raise DataError(f"{file}: entry {number} of {key} has {given}; it must be a whole number")
    return content


def is_id(value: Any) -> bool:
    """Whether `value` is a whole number that NumPy can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_bbox(value: Any) -> bool:
    """Whether `value` is x, y, width, height."""
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(map(is_number, value))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; ValueError for a key that is there twice, of which Python would keep the last and say nothing."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"an object has the key {max(keys, key=keys.count)!r} more than once")
    return found
