"""Image files to pixels, with the decoded pixels of a few kept in memory (4.1)."""

import io
import os
import re
import stat
import warnings
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image as Pillow

from ..errors import DataError
from .flaws import Finding, Findings, Flaw

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "JPEG2000", "PPM")
# what files of these formats are called, in the order of preference where one name has several, whatever the case
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jfif", ".jpe", ".jp2", ".ppm", ".pgm")
MAX_PIXELS = 2**27  # a few kilobytes can declare an image that fills the memory
MAX_BYTES = 2**30
DAMAGED = "cannot decode the image {}: it is damaged, cut off or of no known kind; `nnabla_detofa check` finds all such"
ORIENTATION = 0x0112  # EXIF's tag
# names of the parts of a PNG that may hold it; Pillow decodes the picture to look for them
TAGS = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
# what an orientation tag asks for, on rows and columns of (h, w, 3) pixels
TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: np.rot90(pixels),
}
LINE_END = re.compile(r"\r\n|\r|\n")
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "F")
warnings.filterwarnings("ignore", module=r"PIL\.")  # what Pillow warns of is decided on here


def read_image(file: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """The pixels (h, w, 3) of `file` as BGR bytes; grey images get three equal channels.

    It is turned as its orientation tag says, unless `size` (width, height) is given and is that of the stored pixels.
    DataError if the file is missing, too large, cannot be decoded, is cut off, or is not of `size`.
    """
    pixels = examine_image(file, size, Findings())
    assert pixels is not None  # strict findings raise
    return pixels


def examine_image(file: Path, size: tuple[int, int] | None, findings: Findings) -> np.ndarray | None:
    """As `read_image`, with every flaw of the image in `findings`; None for an unusable one."""
    data = read_bytes(file, "image", Flaw.IMAGE_MISSING, findings)
    header = None if data is None else _read_header(file, io.BytesIO(data), findings)
    if data is None or header is None:
        return None
    kind, _, orientation = header
    stored = _decode(data, kind) if ENDS.get(kind, bool)(data) else None
    if stored is None:
        findings.add(Flaw.IMAGE_UNREADABLE, file, DAMAGED.format(file))
        return None
    already = kind == "TIFF"  # OpenCV has turned it
    turned = stored if already else np.ascontiguousarray(TURNS.get(orientation, np.asarray)(stored))
    for pixels in (turned, stored):
        if size in (None, pixels.shape[1::-1]):
            return pixels
    is_, said = ("x".join(map(str, one)) for one in (turned.shape[1::-1], size))  # type: ignore[arg-type]
    findings.add(Flaw.SIZE_DISAGREES, file, f"the image {file} is {is_}, its annotation says {said}")
    return None


def image_size(file: Path, findings: Findings) -> tuple[int, int] | None:
    """Width and height, turned as its orientation tag says, from the header alone; None, and the reason in `findings`,
    for an unusable image."""
    try:
        status = os.stat(file)  # noqa: PTH116
        size, found = _size_of(file, (status.st_mtime_ns, status.st_size))
    except (OSError, ValueError):
        size, found = _size_of.__wrapped__(file, None)
    for one in found:
        findings.add(one.flaw, one.file, one.detail)
    return size


@lru_cache(maxsize=2**18)  # the loaders of all splits ask again
def _size_of(file: Path, stamp: object) -> tuple[tuple[int, int] | None, list[Finding]]:  # noqa: ARG001
    """The size, or what makes the image unusable; what is only unusual about it is found when it is examined."""
    found = Findings(strict=False)
    stream = _opened(file, "image", Flaw.IMAGE_MISSING, found)
    if stream is None:
        return None, found.unusable
    with stream:
        header = _read_header(file, stream, found)
    if header is None:
        return None, found.unusable
    _, size, orientation = header
    return (size[::-1] if orientation >= 5 else size), []


def read_bytes(file: Path, what: str, missing: Flaw, findings: Findings, *, limit: int = MAX_BYTES) -> bytes | None:
    """The content of a regular file of at most `limit` bytes; the flaw `missing` otherwise. No device is opened."""
    stream = _opened(file, what, missing, findings, limit=limit)
    if stream is None:
        return None
    with stream:
        try:
            return stream.read()
        except OSError as error:
            findings.add(missing, file, f"cannot read the {what} {file}: {error.strerror}")
            return None


def _opened(file: Path, what: str, missing: Flaw, findings: Findings, *, limit: int = MAX_BYTES) -> BinaryIO | None:
    """A regular file of at most `limit` bytes, to be read; None, and the flaw `missing`, otherwise."""
    try:
        status = os.stat(file)  # noqa: PTH116
        if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
            return file.open("rb")
        reason = f"it is no file, or has more than {limit} bytes"
    except (OSError, ValueError) as error:  # a name may be none that the file system could have
        reason = getattr(error, "strerror", None) or str(error)
    findings.add(missing, file, f"cannot read the {what} {file}: {reason}")
    return None


def read_list(file: Path, what: str) -> list[str]:
    """The lines of a list of names, without the empty ones; DataError for what is none."""
    data = read_bytes(file, what, Flaw.SPLIT_UNREADABLE, Findings()) or b""
    try:
        return [line for line in lines_of(data) if line]
    except ValueError as error:
        raise DataError(f"cannot read the {what} {file}: {error}") from error


def lines_of(data: bytes) -> list[str]:
    """The lines of a text of any system, empty ones too; ValueError for what is none."""
    text = data.decode("utf-16" if data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig")
    return [line.strip() for line in LINE_END.split(text)]


def _read_header(file: Path, stream: BinaryIO, findings: Findings) -> tuple[str | None, tuple[int, int], int] | None:
    """Format, (width, height) as stored and orientation tag, 1 without one, if they promise an image of a bearable
    size; what is unusual about it is in `findings`. Of most formats the `stream` is not read to its end."""
    try:
        with Pillow.open(stream, formats=FORMATS) as picture:
            width, height = picture.size
            deep, orientation = ";16" in f"{picture.mode}{picture.tile}", None
            if picture.format != "PNG" or _has_tags(stream):
                orientation = picture.getexif().get(ORIENTATION)
            frames = getattr(picture, "is_animated", False)
    except Pillow.DecompressionBombError:
        width, height = MAX_PIXELS, 2  # or more: Pillow does not say
    except Exception:  # Pillow's readers raise whatever their parsing meets
        findings.add(Flaw.IMAGE_UNREADABLE, file, DAMAGED.format(file))
        return None
    if width * height > MAX_PIXELS:
        limit = f"an image may have {MAX_PIXELS} pixels"
        findings.add(Flaw.IMAGE_TOO_LARGE, file, f"the image {file} is too large, perhaps made to fill memory; {limit}")
        return None
    unusual = {
        Flaw.IMAGE_GREY: picture.mode in GREY_MODES,
        Flaw.IMAGE_DEEP: deep,
        Flaw.IMAGE_CMYK: picture.mode == "CMYK",
        Flaw.IMAGE_ALPHA: picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info,
        Flaw.IMAGE_TURNED: orientation in TURNS,
        Flaw.IMAGE_FRAMES: frames,
    }
    for flaw in (flaw for flaw, found in unusual.items() if found):
        findings.add(flaw, file)
    return picture.format, (width, height), orientation if orientation in TURNS else 1


def _has_tags(stream: BinaryIO) -> bool:
    """Whether any of TAGS stands in a file, which is then where it was."""
    place = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(place)
    return any(tag in data for tag in TAGS)


def _decode(data: bytes, kind: str | None) -> np.ndarray | None:
    """The pixels as they are stored (h, w, 3), BGR."""
    try:
        if kind == "GIF":  # not OpenCV's
            with Pillow.open(io.BytesIO(data), formats=[kind]) as picture:
                return np.ascontiguousarray(np.asarray(picture.convert("RGB"))[:, :, ::-1])
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except (cv2.error, OSError, ValueError, SyntaxError):
        return None


def _jpeg_ends(data: bytes) -> bool:
    """Whether the end mark follows the picture; a thumbnail before it has one too, and a film may be behind it."""
    place = 2  # behind the start mark; segments up to the picture say how long they are
    while data[place : place + 1] == b"\xff" and (kind := data[place + 1 : place + 2]) != b"\xda":
        place += 1 if kind == b"\xff" else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return data.rfind(b"\xff\xd9", place) >= 0  # it is rarely far from the end


# OpenCV fills the missing part of a JPEG with grey and says nothing
ENDS: dict[str | None, Callable[[bytes], bool]] = {
    "JPEG": _jpeg_ends,
    "PNG": lambda data: b"IEND" in data[len(data) // 2 :],
}


class ImageCache:
    """Pixels by file, kept until `limit` bytes are full. Never evicts: an epoch that does not fit would only churn."""

    def __init__(self, limit: int) -> None:
        self._room = limit
        self._pixels: dict[Path, np.ndarray] = {}
        self._lock = Lock()

    def read(self, file: Path, size: tuple[int, int] | None) -> np.ndarray:
        """As `read_image`; the result is shared and must not be written to."""
        pixels = self._pixels.get(file)
        if pixels is None:
            pixels = read_image(file, size)
            with self._lock:
                if file not in self._pixels and pixels.nbytes <= self._room:
                    self._room -= pixels.nbytes
                    self._pixels[file] = pixels
        return pixels
