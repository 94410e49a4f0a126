"""Image files to pixels, with the decoded pixels of a few kept in memory (4.1)."""

from collections.abc import Collection
from pathlib import Path, PurePosixPath, PureWindowsPath
from threading import Lock

import cv2
import numpy as np

from ..errors import DataError

JPEG_BEGIN, JPEG_END = b"\xff\xd8", b"\xff\xd9"


def read_image(file: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """The pixels (h, w, 3) of `file` as BGR bytes; grey images get three equal channels.

    If `size` (width, height) is given and does not match, the camera's orientation tag is tried the other way round.
    DataError if the file is missing, cannot be decoded, is cut off, or is not of `size`.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the image {file}: {error.strerror}") from error
    pixels = _decode(data, cv2.IMREAD_COLOR)
    # OpenCV fills the missing part of a JPEG with grey and says nothing.
    if pixels is None or (data.startswith(JPEG_BEGIN) and JPEG_END not in data[len(data) // 2 :]):
        raise DataError(f"cannot decode the image {file}: it is damaged, cut off or not an image")
    if size is None or pixels.shape[1::-1] == size:
        return pixels
    untagged = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if untagged is None or untagged.shape[1::-1] != size:
        height, width = pixels.shape[:2]
        raise DataError(f"the image {file} is {width}x{height}, its annotation says {size[0]}x{size[1]}")
    return untagged


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None


def inside(folder: Path, name: str, where: str) -> Path:
    """The path of `name` in `folder`; DataError if the name leads out of the folder."""
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(name).is_absolute() or ".." in kind(name).parts:
            raise DataError(f"{where}: the name {name!r} leads out of {folder}; names must stay inside")
    return folder / name


class ImageCache:
    """Pixels by file, kept until `limit` bytes are full. Never evicts: an epoch that does not fit would only churn."""

    def __init__(self, limit: int) -> None:
        self._room = limit
        self._pixels: dict[Path, np.ndarray] = {}
        self._lock = Lock()

    def read(self, file: Path, size: tuple[int, int]) -> np.ndarray:
        """As `read_image`; the result is shared and must not be written to."""
        pixels = self._pixels.get(file)
        if pixels is None:
            pixels = read_image(file, size)
            with self._lock:
                if file not in self._pixels and pixels.nbytes <= self._room:
                    self._room -= pixels.nbytes
                    self._pixels[file] = pixels
        return pixels


def present(folder: Path) -> Collection[str]:
    """The names of all files directly in `folder`: one listing instead of a question for each of 118,287 images."""
    try:
        return {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise DataError(f"cannot list the image folder {folder}: {error.strerror}") from error
