"""YOLO's label files: a row an object, its class and its box, or its outline, as shares of the image (4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .flaws import Findings, Flaw
from .images import lines_of, read_bytes
from .objects import Box, Object, are_corners

LONGEST = 2**24  # bytes of a label file; outlines are long
BOX, TRIANGLE = 5, 7  # numbers of a row with a box, and with the shortest outline
LONG = 60  # characters of a row that are told
ROW, OUTLINE = "a class id, then centre x, centre y, width, height", "or x and y of three points or more"


def read_labels(
    file: Path, size: tuple[int, int], names: Mapping[int, str], findings: Findings, *, points: int = 0
) -> list[Object]:
    """The objects of an image of `size` (width, height), in pixels from its corner; `names` are those of the class ids.

    A row may have `points` numbers behind its box, those of a pose; then it has no outline.

    An object's key is the number of its row, from 1. What is wrong with a row goes into the findings, and the others
    are read. An empty file has no objects.
    """
    data = read_bytes(file, "labels", Flaw.ANNOTATION_UNREADABLE, findings, limit=LONGEST)
    try:
        lines = lines_of(data or b"")
    except ValueError as error:
        findings.add(Flaw.ANNOTATION_BROKEN, file, f"cannot read the labels {file}: {error}")
        return []
    found = []
    for number, line in enumerate(lines, 1):
        if line and (one := _object(number, line.split(), size, names, file, findings, points)):
            found.append(one)
    return found


def _object(
    number: int,
    row: list[str],
    size: tuple[int, int],
    names: Mapping[int, str],
    file: Path,
    findings: Findings,
    points: int,
) -> Object | None:
    """A row's object; None, and the flaw in `findings`, where it has none."""
    outlined = not points and len(row) >= TRIANGLE and len(row) % 2 == 1
    try:
        numbers = [float(one) for one in row]
    except ValueError:
        numbers = []
    if not numbers or not (len(row) in (BOX, BOX + points) or outlined):
        form = f"{ROW}, with the {points} numbers of kpt_shape or without" if points else f"{ROW}, {OUTLINE}"
        reason = f"{file}: row {number} has {' '.join(row)[:LONG]!r}; it must be {form}"
        findings.add(Flaw.ANNOTATION_BROKEN, file, reason, object=number)
        return None
    if (name := names.get(int(numbers[0])) if numbers[0].is_integer() else None) is None:
        reason = f"{file}: row {number} is of class {row[0]}; known: {', '.join(map(str, names))}"
        findings.add(Flaw.CATEGORY_UNKNOWN, file, reason, object=number)
        return None
    box = _around(numbers[1:], size) if outlined else _box(*numbers[1:BOX], size=size)
    if not are_corners((*numbers, *box)):  # a minimum may pass over nan
        reason = f"{file}: row {number} has {' '.join(row[1:BOX])}; these are shares of the image, from 0 to 1"
        findings.add(Flaw.ANNOTATION_BROKEN, file, reason, object=number)
        return None
    if len(row) > BOX:
        findings.add(Flaw.BOX_FROM_OUTLINE if outlined else Flaw.BOX_WITH_POINTS, file, object=number)
    return Object(number, name, box)


def _box(x: float, y: float, width: float, height: float, *, size: tuple[int, int]) -> Box:
    w, h = size
    return (x - width / 2) * w, (y - height / 2) * h, (x + width / 2) * w, (y + height / 2) * h


def _around(points: list[float], size: tuple[int, int]) -> Box:
    xs, ys = [size[0] * x for x in points[::2]], [size[1] * y for y in points[1::2]]
    return min(xs), min(ys), max(xs), max(ys)
