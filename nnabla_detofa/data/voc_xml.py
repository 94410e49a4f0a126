"""PASCAL VOC's annotation files, as the devkit has them and as other people's tools write them (4.1)."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError, fromstring

from ..detection import as_flag
from .flaws import Findings, Flaw
from .images import MAX_PIXELS, read_bytes
from .listing import composed
from .objects import CORNERS, Box, Object, are_corners

LONGEST = 2**24  # bytes of an annotation; a hundred thousand objects are fewer
CORNER_NAMES = ("xmin", "ymin", "xmax", "ymax")
COORDINATE = re.compile("([xy])[0-9]*")  # a tag of a polygon's point
# of entity bombs and foreign files, in every encoding that expat takes: those that hold ASCII, and UTF-16
DOCTYPE = re.compile(rb"<\0?!\0?D\0?O\0?C\0?T\0?Y\0?P\0?E")


class Annotation(NamedTuple):
    """An annotation: (width, height), or None where the file does not say them, and its objects."""

    size: tuple[int, int] | None
    objects: list[Object]


def read_annotation(file: Path, findings: Findings) -> Annotation | None:
    """The annotation; None, and the flaw in `findings`, for what cannot be understood. An empty file is a background's.

    An object has a name and a bndbox, wherever it is and whatever its tag is called; parts of an object are none. Its
    key is its number in the file, from 0.
    """
    data = read_bytes(file, "annotation", Flaw.ANNOTATION_UNREADABLE, findings, limit=LONGEST)
    if data is None:
        return None
    if not (data := data.lstrip(b" \t\r\n")).removeprefix(BOM_UTF8).strip():
        findings.add(Flaw.ANNOTATION_MISSING, file)
        return Annotation(None, [])
    if DOCTYPE.search(data):
        findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file} has a DOCTYPE, which may hold anything; remove it")
        return None
    own = Findings(strict=findings.strict)
    try:
        root = fromstring(data)
    except (ParseError, ValueError, LookupError) as error:  # LookupError: an encoding that there is not
        reason = f"cannot read the annotation {file}: {error or type(error).__name__}"
        findings.add(Flaw.ANNOTATION_BROKEN, file, reason)
        return None
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2].lower()
    try:
        found = [
            one
            for number, (node, usual) in enumerate(_objects(root))
            for one in _read_object(number, node, usual, file, own)
        ]
        if not found and root.tag != "annotation":
            raise ValueError(f"it has no object, and begins with <{root.tag}> instead of <annotation>")
        size = _size(root)
    except ValueError as error:
        findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file} is not a VOC annotation: {error}")
        return None
    findings.extend(own)
    return Annotation(size, found)


def _objects(root: Element) -> Iterator[tuple[Element, bool]]:
    """Every object in the file's order, and whether it is where the devkit has it."""
    ahead = [(root, False)]
    while ahead:
        node, usual = ahead.pop()
        tags = {child.tag for child in node}
        if (
            "bndbox" in tags
            or ("name" in tags and (node.tag == "object" or tags & {"polygon", "robndbox"}))
            or (node.tag == "object" and node.find(".//bndbox") is None)  # whose lack is to be said
        ):
            yield node, usual
        else:
            here = node is root
            ahead += [(child, here and child.tag == "object") for child in reversed(node) if len(child) or here]


def _read_object(number: int, node: Element, usual: bool, file: Path, findings: Findings) -> list[Object]:
    """The object, once for each of its boxes; ValueError if it lacks its name or a finite corner."""
    names = [(one.text or "").strip() for one in node.iterfind("name")]
    if len(names) != 1 or not names[0]:
        given = f"has the names {', '.join(names)}" if len(names) > 1 else "lacks its name"
        raise ValueError(f"object {number} {given}; an object has one")
    if not usual:
        findings.add(Flaw.OBJECT_ELSEWHERE, file, f"in {node.tag}", object=number)
    boxes = [box for one in node.iterfind("bndbox") if (box := _box(number, one))]
    if not boxes and (outline := _around_polygons(number, node)):
        findings.add(Flaw.BOX_FROM_OUTLINE, file, object=number)
        boxes = [outline]
    if not boxes:
        if other := [child.tag for child in node if "box" in child.tag and child.tag != "bndbox"]:
            raise ValueError(f"object {number} has a {other[0]} and no bndbox; only upright boxes are read")
        findings.add(Flaw.BOX_MISSING, file, object=number)
    if len(boxes) > 1:
        findings.add(Flaw.BOX_SEVERAL, file, f"{len(boxes)} boxes", object=number)
    flags = {tag: as_flag(node.findtext(tag)) for tag in ("difficult", "ignore")}
    for tag, flag in flags.items():
        if flag is None:
            findings.add(Flaw.FLAG_UNKNOWN, file, f"{tag} is {node.findtext(tag)!r}", object=number)
    name, (difficult, ignored) = composed(names[0]), map(bool, flags.values())
    keys = [number if len(boxes) == 1 else f"{number} box {nth}" for nth in range(len(boxes))]
    return [Object(key, name, box, difficult, ignored=ignored) for key, box in zip(keys, boxes, strict=True)]


def _box(number: int, node: Element) -> Box | None:
    """The corners; None for a box that holds nothing."""
    corners = [(node.findtext(corner) or "").strip() for corner in CORNER_NAMES]
    if not any(corners) and not any((child.text or "").strip() for child in node):
        return None
    tags = [child.tag for child in node]
    if not all(corners) or any(tags.count(corner) > 1 for corner in CORNER_NAMES):
        given = ", ".join(tags) or "nothing"
        raise ValueError(f"object {number} has a bndbox of {given}; it must have xmin, ymin, xmax, ymax, each once")
    return _finite(number, corners)


def _finite(number: int, corners: Sequence[str]) -> Box:
    try:
        x1, y1, x2, y2 = map(float, corners)
        sound = are_corners((x1, y1, x2, y2))
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"object {number} has the corners {', '.join(corners)}; its numbers must be {CORNERS}")
    return x1, y1, x2, y2


def _around_polygons(number: int, node: Element) -> Box | None:
    """The box around an object's polygons; None without any."""
    points: dict[str, list[float]] = {"x": [], "y": []}
    for one in (one for polygon in node.iterfind("polygon") for one in polygon.iter()):
        if match := COORDINATE.fullmatch(one.tag):
            points[match[1]].append(float(one.text or ""))
    xs, ys = points.values()
    if len(xs) < 3 or len(xs) != len(ys):
        return None
    return _finite(number, [str(one) for one in (min(xs), min(ys), max(xs), max(ys))])


def _size(root: Element) -> tuple[int, int] | None:
    """Width and height; None where they are missing or zero, as some tools leave them."""
    given = [root.findtext(f"size/{side}") or "0" for side in ("width", "height")]
    try:
        width, height = (int(float(text)) for text in given)
        whole = [float(width), float(height)] == [float(text) for text in given] and min(width, height) >= 0
    except (ValueError, OverflowError):
        whole = False
    if not whole or width * height > MAX_PIXELS:
        said = " x ".join(text.strip() for text in given)
        raise ValueError(f"its size is {said}; it must be whole numbers of pixels, {MAX_PIXELS} of them at most")
    return (width, height) if min(width, height) > 0 else None
