"""`stages.json`: what a run's stages were made from, and the checksums of the files that they left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import RunFolderError
from .files import checksum, read_json, write_json

MANIFEST = "stages.json"
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$")]  # in the run folder itself, and no pattern
ANEW = "delete it to run all stages again, which go on from checkpoints of the same settings"


class Record(BaseModel):
    """Entry of a stage in `stages.json`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    digest: str
    inputs: dict[str, Any]
    files: list[FileName]
    after: list[str]
    on_chain: bool = True  # or no other comes after it unless it says so
    sums: dict[FileName, str] = {}
    seconds: Annotated[float, Field(ge=0, lt=1e10)] = 0.0
    done: bool = False


def read_manifest(folder: Path) -> dict[str, Record]:
    """The record of stages; RunFolderError for anything else. A stage in it may come after one that is not there."""
    file = folder / MANIFEST
    try:
        return TypeAdapter(dict[str, Record]).validate_python(read_json(file))
    except (RunFolderError, ValidationError) as error:
        raise RunFolderError(f"{file} is no record of stages, or of another version; {ANEW}") from error


def write_manifest(folder: Path, records: Mapping[str, Record]) -> None:
    """The folder's record of these stages."""
    write_json(folder / MANIFEST, {name: record.model_dump() for name, record in records.items()})


def restamp(folder: Path, file: str) -> None:
    """Record the checksum of a stage's file that was written anew, as if the stage had left it so."""
    records = read_manifest(folder)
    for record in records.values():
        if file in record.sums:
            record.sums[file] = checksum(folder / file)
    write_manifest(folder, records)
