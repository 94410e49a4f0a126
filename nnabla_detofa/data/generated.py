"""Generated sets on disk: complete or not there, each in a folder that is named by a digest of its options."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ..errors import DataError
from .mask_files import LABELS, label_map, mask_png
from .scenes import Box

JPEG_QUALITY = 95
_generating: ContextVar[bool] = ContextVar("generating", default=True)


class NotGeneratedError(DataError):
    """Pictures of this `kind` that a plan does without, and the `options` that they would be made with."""

    def __init__(self, kind: str, options: Mapping[str, Any]) -> None:
        super().__init__(f"the {kind} are not generated yet, a run does that")
        self.kind, self.options = kind, options


class Picture(NamedTuple):
    """`pixels` (h, w, 3) uint8 BGR, and the class of what is in each box; `inks` (h, w) bool are where it shows there,
    of kinds that have masks."""

    pixels: np.ndarray
    placed: dict[Box, Any]
    inks: Sequence[np.ndarray] = ()

    def classes(self, names: Sequence[Any]) -> np.ndarray:
        """The place among `names` of the class of each pixel, from 1 on, 0 for background; (h, w) uint8."""
        found = np.zeros(self.pixels.shape[:2], np.uint8)
        for ((x1, y1, x2, y2), label), ink in zip(self.placed.items(), self.inks, strict=True):
            found[y1:y2, x1:x2][ink] = 1 + names.index(label)
        return found


def kept(root: str | Path, kind: str, options: Mapping[str, Any], write: Callable[[Path], None]) -> Path:
    """The folder below `root` of the set of this `kind` with these `options`; made by `write` if it is not there.

    The folder's name is a digest of the options, so other options never meet this one's files. It is written under
    another name and renamed when complete: whoever finds it finds all of it, and of two processes the first wins.
    DataError where it cannot be written, or holds something else; NotGeneratedError instead of a new one for a plan.
    """
    manifest = json.dumps(options, sort_keys=True, indent=1)
    root, name = Path(root).expanduser().absolute(), f"{kind}-{hashlib.sha256(manifest.encode()).hexdigest()[:12]}"
    if not (root / name).is_dir():
        if not _generating.get():
            raise NotGeneratedError(kind, options)
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=root) as unfinished:
                made = Path(unfinished) / name  # its access is that of any folder; that of `unfinished` is private
                write(made)
                (made / "manifest.json").write_text(manifest)
                try:
                    made.rename(root / name)
                except OSError:
                    if not (root / name).is_dir():  # otherwise another process was first
                        raise
        except OSError as error:
            raise DataError(f"cannot write the {kind} into {root}: {error.strerror}") from error
    found = root / name / "manifest.json"
    if not found.is_file() or found.read_text() != manifest:
        raise DataError(f"{root / name} does not hold the {kind} it is named after; delete it and run again")
    return root / name


@contextmanager
def nothing_generated() -> Iterator[None]:
    """The scope of a plan, in which no set is made."""
    token = _generating.set(False)
    try:
        yield
    finally:
        _generating.reset(token)


def write_devkit(root: Path, pictures: Mapping[str, Iterable[Picture]], *, masked: Sequence[Any] = ()) -> None:
    """A VOCdevkit of VOC2007 with the pictures of each split, which are numbered over all of them; with masks where
    the classes to be `masked` are given."""
    devkit, number = root / "VOC2007", 0
    lists = ("Main", "Segmentation") if masked else ("Main",)
    folders = ("Annotations", "JPEGImages", *(("SegmentationClass",) if masked else ()))
    for one in (*folders, *(f"ImageSets/{one}" for one in lists)):
        (devkit / one).mkdir(parents=True)
    if masked:
        (devkit / LABELS).write_text(label_map(["background", *map(str, masked)]))
    for split, some in pictures.items():
        names = []
        for picture in some:
            number += 1
            names.append(f"{number:06d}")
            (devkit / "JPEGImages" / f"{names[-1]}.jpg").write_bytes(jpeg(picture.pixels))
            (devkit / "Annotations" / f"{names[-1]}.xml").write_text(_xml(names[-1], picture))
            if masked:
                (devkit / "SegmentationClass" / f"{names[-1]}.png").write_bytes(mask_png(picture.classes(masked)))
        for one in lists:
            (devkit / "ImageSets" / one / f"{split}.txt").write_text("\n".join(names) + "\n")


def jpeg(pixels: np.ndarray) -> bytes:
    """The file of a picture."""
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _xml(name: str, picture: Picture) -> str:
    """The annotation, in VOC's coordinates: pixels counted from 1, the last one included."""
    height, width = picture.pixels.shape[:2]
    lines = [
        f"<annotation><folder>VOC2007</folder><filename>{name}.jpg</filename>",
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for (x1, y1, x2, y2), label in picture.placed.items():
        box = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        lines.append(f"<object><name>{label}</name><difficult>0</difficult><bndbox>{box}</bndbox></object>")
    return "\n".join([*lines, "</annotation>", ""])
