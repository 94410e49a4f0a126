"""Boxes or classes in many pictures: drawn, and as COCO's results (an addition; not in the paper)."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..data.images import SUFFIXES
from ..detection import Detections, to_coco
from ..errors import ConfigError, DataError
from ..segmentation import overlaid, regions_of, voc_colours
from ..storage.files import as_json, write_bytes, write_text
from .detector import Detector
from .exported import Exported, rgb_of
from .segmenter import Segmenter

SHOWN = 0.3  # the least score of a box that is drawn, where none is given
LEAST_SIDE = 384  # pixels of the longer side of a drawing, or little less
# a colour a class, RGB, in turn
COLOURS = (
    (31, 119, 180),
    (214, 39, 40),
    (44, 160, 44),
    (255, 127, 14),
    (148, 103, 189),
    (23, 190, 207),
    (227, 119, 194),
)


def pictures_in(places: Iterable[str | Path], *, out: Path | None = None) -> tuple[list[Path], list[Path]]:
    """The files that are given, and the pictures below the folders that are: neither hidden ones nor drawings that are
    in `out` from before; and the other files there, which are no pictures by their names.

    DataError where a folder holds none; ConfigError where a drawing would take a picture's place.
    """
    found: list[Path] = []
    others: set[Path] = set()
    for place in (Path(one).expanduser() for one in places):
        if place.is_dir():
            inside = {one for one in _below(place, out) if one.is_file()}
            pictures = {one for one in inside if one.suffix.lower() in SUFFIXES}
            if not pictures:
                raise DataError(f"{place} holds no picture: {', '.join(SUFFIXES)}")
            found += sorted(pictures)
            others |= inside - pictures
        else:
            found.append(place)
    files = list(dict.fromkeys(found))
    beside = [] if out is None else [one for one in files if one.parent.resolve() == out.resolve()]
    if beside:
        reason = f"{out} holds {beside[0].name} itself, and drawings would take the place of pictures"
        raise ConfigError(f"{reason}: give another folder with --out", key="--out", given=str(out))
    return files, sorted(others)


def _below(place: Path, out: Path | None) -> Iterator[Path]:
    """Everything below a folder but hidden names, and what is in the folder `out` inside it."""
    home, own = place.resolve(), None if out is None else out.resolve()
    drawings = own.relative_to(home) if own is not None and own != home and own.is_relative_to(home) else None
    for one in place.rglob("*"):
        inside = one.relative_to(place)
        if not one.name.startswith(".") and (drawings is None or not inside.is_relative_to(drawings)):
            yield one


def detect_in(
    exported: Exported,
    files: Sequence[Path],
    *,
    out: Path | None = None,
    json: Path | None = None,
    threshold: float | None = None,
    progress: Callable[[Iterable], Iterable] = iter,
) -> list[DataError]:
    """Draw what is found into files of the folder `out`, and write all of it into the file `json`.

    Of boxes those of scores above the `threshold`; without one, those above SHOWN are drawn, and all are in `json`.
    Returns what was wrong with the pictures that cannot be read. ConfigError for a threshold where there are no scores.
    """
    look = LOOKS[exported.task]
    if threshold is not None and not isinstance(exported, Detector):
        raise ConfigError(key="--threshold", given=threshold, allowed="of boxes alone: leave it out")
    failures: list[DataError] = []
    rows: list[dict[str, Any]] = []
    ids, names = ids_of(files), drawn_names(files)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    for number in progress(range(len(files))):
        pixels = _read(files[number], failures)
        if pixels is None:
            continue
        own, draw = look(exported, pixels, ids[number], threshold)
        rows += own
        if out is not None:
            write_bytes(out / names[number], draw())
    if json is not None:
        write_text(json, as_json(rows))
    return failures


Look = tuple[list[dict[str, Any]], Callable[[], bytes]]  # rows of a picture, and its drawing


def _boxes(detector: Detector, pixels: np.ndarray, image_id: int | str, threshold: float | None) -> Look:
    found = detector.detect(pixels, threshold=threshold or 0.0)
    shown = found.score > (SHOWN if threshold is None else threshold)
    best = Detections(*(column[shown] for column in found))
    rows = coco_rows(found, image_id, detector.category_ids)
    return rows, lambda: drawn(pixels, best, detector.classes)


def _classes(segmenter: Segmenter, pixels: np.ndarray, image_id: int | str, _threshold: float | None) -> Look:
    classes = segmenter.segment(pixels)
    known = {label: one for label, one in enumerate(segmenter.category_ids) if label and one is not None}
    rows: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": known[label], "segmentation": region, "area": area}
        for label, region, area in regions_of(classes, list(known))
    ]
    return rows, lambda: painted(pixels, classes, segmenter.classes)


LOOKS: dict[str, Callable[..., Look]] = {Detector.task: _boxes, Segmenter.task: _classes}


def _read(file: Path, failures: list[DataError]) -> np.ndarray | None:
    try:
        return rgb_of(file)
    except DataError as error:
        failures.append(error)
        return None


def ids_of(files: Sequence[Path]) -> list[int | str]:
    """COCO's ids of pictures: their names without the suffix, as numbers where all are; whole names where two agree."""
    names = [file.stem for file in files]
    if len(set(names)) < len(names):
        return [str(file) for file in files]
    numbers = all(name.isascii() and name.isdecimal() for name in names) and len({*map(int, names)}) == len(names)
    return [int(name) for name in names] if numbers else [*names]


def drawn_names(files: Sequence[Path]) -> list[str]:
    """The names of their drawings, each another."""
    found: dict[str, None] = {}
    for file in files:
        name, number = f"{file.stem}.jpg", 1
        while name in found:
            number += 1
            name = f"{file.stem}-{number}.jpg"
        found[name] = None
    return [*found]


def coco_rows(found: Detections, image_id: int | str, category_ids: Sequence) -> list[dict[str, Any]]:
    """COCO's results of one picture; its coordinates begin at the first pixel's corner."""
    return to_coco(found._replace(box=found.box + 0.5), [image_id], category_ids)


def drawn(pixels: np.ndarray, found: Detections, classes: Sequence[str]) -> bytes:
    """The picture (h, w, 3) RGB with boxes, names and scores, as JPEG; the best box lies on top.

    A small picture is drawn some whole times larger, so that names can be read beside its objects.
    """
    times = max(1, LEAST_SIDE // max(pixels.shape[:2]))
    canvas = cv2.resize(np.ascontiguousarray(pixels[..., ::-1]), None, fx=times, fy=times)
    boxes = (found.box + 0.5) * times - 0.5
    height, width = canvas.shape[:2]
    line = max(2, round(max(height, width) / 400))
    scale = max(0.5, max(height, width) / 1200)
    font, limit = cv2.FONT_HERSHEY_SIMPLEX, np.array([width, height, width, height]) - 1
    for label, box, score in zip(found.label[::-1], boxes[::-1], found.score[::-1], strict=True):
        x1, y1, x2, y2 = np.clip(np.rint(box), 0, limit).astype(int).tolist()
        colour = COLOURS[int(label) % len(COLOURS)][::-1]
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)
        text = f"{_written(classes[int(label)], int(label))} {score:.2f}"
        (wide, high), under = cv2.getTextSize(text, font, scale, 1)
        left, top = max(0, min(x1, width - wide)), max(y1, high + under)
        cv2.rectangle(canvas, (left, top - high - under), (left + wide, top), colour, cv2.FILLED)
        cv2.putText(canvas, text, (left, top - under // 2 - 1), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def painted(pixels: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> bytes:
    """The picture (h, w, 3) RGB with the colours of its classes (h, w) over it and their names on it, as JPEG; a small
    one is drawn larger, as by `drawn`."""
    times = max(1, LEAST_SIDE // max(pixels.shape[:2]))
    canvas = overlaid(pixels, classes)[..., ::-1]
    canvas = cv2.resize(np.ascontiguousarray(canvas), None, fx=times, fy=times, interpolation=cv2.INTER_NEAREST)
    scale = max(0.5, max(canvas.shape[:2]) / 1200)
    bottom = 0
    for label in np.unique(classes[classes > 0]).tolist():
        text = _written(names[label], label)
        (wide, high), under = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        top, bottom = bottom, bottom + high + 2 * under
        cv2.rectangle(canvas, (0, top), (wide + under, bottom), voc_colours()[label][::-1], cv2.FILLED)
        place = (under // 2, bottom - under)
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def _written(name: str, label: int) -> str:
    """A class in ASCII, as OpenCV's font has no more: without accents, and by its number where no letter is left."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    return plain.encode("ascii", "replace").decode() if any(map(_is_ascii_letter, plain)) else f"class {label}"


def _is_ascii_letter(letter: str) -> bool:
    return letter.isascii() and letter.isalnum()
