"""Masks as files: the class of each pixel by its colour, its place in a palette, or as a number (an addition).

Which colour is which class is VOC's, or that of `labelmap.txt` beside the masks, as CVAT and Datumaro write it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ..errors import DataError
from ..segmentation import IGNORED, VOID, Colour, voc_colours
from .flaws import Findings, Flaw
from .images import DAMAGED, read_bytes, read_list

LABELS = "labelmap.txt"
VOC_CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class MaskForm:
    """Which classes masks show: `names` by number, and each one's colour."""

    def __init__(self, colours: dict[str, Colour]) -> None:
        self.names = tuple(colours)
        self._numbers = {VOID: IGNORED, **{colour: number for number, colour in enumerate(colours.values())}}

    @classmethod
    def beside(cls, folder: Path) -> MaskForm:
        """That of `labelmap.txt` in a folder; VOC's where there is none. DataError for what cannot be understood."""
        file = folder / LABELS
        if not file.is_file():
            return cls(dict(zip(VOC_CLASSES, voc_colours(len(VOC_CLASSES)), strict=True)))
        colours: dict[str, Colour] = {}
        for line in read_list(file, "classes of masks"):
            name, _, rest = line.partition(":")
            if name.startswith("#"):
                continue
            parts = rest.partition(":")[0].split(",")
            if len(parts) != 3 or not all(one.strip().isdecimal() and int(one) < 256 for one in parts) or not name:
                raise DataError(f"{file}: {line!r} is no class: write name:red,green,blue")
            red, green, blue = map(int, parts)
            colours[name.strip()] = (red, green, blue)
        if not 0 < len(set(colours.values())) == len(colours) <= IGNORED:
            raise DataError(f"{file} must give each of at most {IGNORED} classes a colour of its own")
        return cls(colours)

    def read(self, file: Path, size: tuple[int, int], findings: Findings) -> np.ndarray | None:
        """The classes (height, width) uint8 of a PNG, IGNORED where VOC's border is; None, and the flaw in `findings`,
        for a mask that cannot be used with an image of `size` (width, height)."""
        data = read_bytes(file, "mask", Flaw.MASK_MISSING, findings)
        if data is None:
            return None
        try:
            with Pillow.open(io.BytesIO(data), formats=["PNG"]) as picture:
                if picture.size != size:
                    is_, wants = ("x".join(map(str, one)) for one in (picture.size, size))
                    findings.add(Flaw.SIZE_DISAGREES, file, f"the mask {file} is {is_}, its image {wants}")
                    return None
                return self._numbered(picture, file, findings)
        except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError):  # whatever its parsing meets
            findings.add(Flaw.IMAGE_UNREADABLE, file, DAMAGED.format(file))
            return None

    def _numbered(self, picture: Pillow.Image, file: Path, findings: Findings) -> np.ndarray | None:
        if picture.mode in ("1", "L", "P"):
            found = np.asarray(picture if picture.mode == "P" else picture.convert("L"))
            there = np.flatnonzero(np.bincount(found.ravel(), minlength=256))
            known = {**{i: i for i in range(len(self.names))}, IGNORED: IGNORED}
            if picture.mode == "P":
                palette = np.array(picture.getpalette("RGB")).reshape(-1, 3).tolist()
                known = {i: self._numbers.get((*colour,)) for i, colour in enumerate(palette)}  # type: ignore[misc]
            numbers = [known.get(one) for one in there.tolist()]
            if None in numbers:
                self._add_unknown(f"the number {there[numbers.index(None)]}", file, findings)
                return None
            table = np.zeros(256, np.uint8)
            table[there] = numbers
            return table[found]
        rgb = np.asarray(picture.convert("RGB")).astype(np.int32)
        codes, places = np.unique(rgb @ [1 << 16, 1 << 8, 1], return_inverse=True)
        colours = [(code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist()]
        numbers = [self._numbers.get(one) for one in colours]
        if None in numbers:
            self._add_unknown(f"the colour {colours[numbers.index(None)]}", file, findings)
            return None
        return np.array(numbers, np.uint8)[places.reshape(rgb.shape[:2])]

    def _add_unknown(self, what: str, file: Path, findings: Findings) -> None:
        reason = f"the mask {file} has {what}, which is no class: a {LABELS} beside {file.parent.name} names them"
        findings.add(Flaw.ANNOTATION_BROKEN, file, reason)


def mask_png(classes: np.ndarray) -> bytes:
    """The file of a map (h, w) uint8, with VOC's palette."""
    picture, content = Pillow.fromarray(classes), io.BytesIO()
    picture.putpalette([part for colour in voc_colours() for part in colour])  # from grey to numbers of a palette
    picture.save(content, "PNG")
    return content.getvalue()


def label_map(names: Sequence[str]) -> str:
    """The content of `labelmap.txt` for classes with VOC's colours."""
    rows = zip(names, voc_colours(len(names)), strict=True)
    return "".join(f"{name}:{','.join(map(str, colour))}::\n" for name, colour in rows)
