"""Files of a run folder: they appear whole or not at all."""

import json
import os
from pathlib import Path

from ..errors import RunFolderError


def write_bytes(file: Path, content: bytes) -> None:
    """Write beside, flush to the disk, and rename into place."""
    beside = file.with_name(f".{file.name}.writing")
    with beside.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(file)


def write_text(file: Path, text: str) -> None:
    """`write_bytes` of the text in UTF-8."""
    write_bytes(file, bytes(text, "utf-8"))


def write_json(file: Path, value) -> None:
    """`write_text` of indented JSON; NaN and infinity are not JSON and raise ValueError."""
    write_text(file, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(file: Path):
    """The parsed file; RunFolderError where it is damaged."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{file} cannot be read ({error}); delete it to redo its stage") from error
