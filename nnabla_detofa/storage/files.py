"""Files and folders of a run: they appear whole or not at all, and outlast a power failure."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import RunFolderError

SUMS = "sums.json"  # of a folder: the SHA-256 of every other file in it
LARGEST_JSON = 1 << 28  # bytes


def write_bytes(file: Path, content: bytes) -> None:
    """Write beside, flush to the disk, and rename into place; RunFolderError where the disk refuses."""
    beside = file.with_name(f".{file.name}.writing")
    with refused(file):
        try:
            _write(beside, content)
            beside.replace(file)
        except OSError:
            beside.unlink(missing_ok=True)  # a partial file would keep its space
            raise
        flush(file.parent)


def write_text(file: Path, text: str) -> None:
    """`write_bytes` of the text in UTF-8."""
    write_bytes(file, bytes(text, "utf-8"))


def write_array(file: Path, array: np.ndarray) -> None:
    """`write_bytes` of the array as an NPY file, which holds no objects."""
    content = BytesIO()
    np.save(content, array, allow_pickle=False)
    write_bytes(file, content.getvalue())


def write_json(file: Path, value: Any) -> None:
    """`write_text` of indented JSON; NaN and infinity are not JSON and raise ValueError."""
    write_text(file, as_json(value))


def as_json(value: Any) -> str:
    """Indented JSON; ValueError for NaN and infinity."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def read_json(file: Path) -> Any:
    """The parsed file; RunFolderError where it is damaged."""
    try:
        if file.stat().st_size > LARGEST_JSON:
            raise ValueError("too large")
        return json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"{file} cannot be read ({error}); delete it to redo its stage") from error


def write_folder(folder: Path, contents: Mapping[str, bytes], *, replaces: bool = False) -> None:
    """A new folder of files and their checksums: written beside, flushed to the disk, and renamed into place, where
    none may be unless the new one `replaces` it."""
    beside = folder.with_name(f".{folder.name}.writing")
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    with refused(folder):
        shutil.rmtree(beside, ignore_errors=True)
        try:
            beside.mkdir(parents=True)
            for name, content in {**contents, SUMS: as_json(sums).encode()}.items():
                _write(beside / name, content)
            flush(beside)
            if replaces:
                shutil.rmtree(folder, ignore_errors=True)
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)  # what a full disk refused gives back its room
        flush(folder.parent)


def damage(folder: Path, names: tuple[str, ...]) -> str | None:
    """The damage of a folder that `write_folder` wrote with these files, in words, or None."""
    try:
        sums = read_json(folder / SUMS)
    except RunFolderError:
        return f"{SUMS} cannot be read"
    for name in names:
        if not isinstance(sums, dict) or name not in sums:
            return f"{SUMS} lacks {name}"
        try:
            if checksum(folder / name) != sums[name]:
                return f"the checksum of {name} differs"
        except OSError as error:
            return f"{name}: {error.strerror}"
    return None


def flush(place: Path) -> None:
    """Make a file, or the names in a folder, outlast a power failure."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def refused(
    place: Path, remedy: str = "what was saved before is as it was, and the same command goes on from there"
) -> Iterator[None]:
    """RunFolderError, in one line that ends with the `remedy`, where the disk refuses to write `place`."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(f"{place} cannot be written: {error.strerror or error}; {remedy}") from error


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def checksum(file: Path) -> str:
    """SHA-256 of the file's content, in hexadecimal."""
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while part := stream.read(1 << 22):
            found.update(part)
    return found.hexdigest()
