"""The data doctor, `nnabla_detofa check`: a whole data set is examined, nothing is trained (not in the paper)."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ConfigError, unknown
from .coco import CocoOptions
from .examination import examine, severity
from .flaws import Severity, policy_table
from .image_folder import FolderOptions
from .options import from_mapping
from .report import as_json, report
from .voc import VocOptions

__all__ = ["check", "policy_table"]

KINDS: dict[str, Any] = {"voc": VocOptions, "coco": CocoOptions, "image_folder": FolderOptions}
VERDICTS = {
    Severity.NOTED: "clean",
    Severity.MENDED: "usable; training mends the flaws as said",
    Severity.UNUSABLE: "unusable; training stops at a flaw that says so",
}


def check(dataloader: Any, json_file: Path | None = None) -> int:
    """Examine the data set that a configuration's `dataloader` names, print the tables, write the JSON file.

    Returns the exit code of the worst flaw. Raises ConfigError for what the options may not hold, and for a file that
    cannot be written.
    """
    if not isinstance(dataloader, Mapping) or len(dataloader) != 1:
        raise ConfigError(f"dataloader must hold exactly one entry, a name and its options; it is {dataloader!r}")
    ((name, options),) = dataloader.items()
    if name not in KINDS:
        raise unknown("data set to check", name, KINDS)
    chosen = from_mapping(KINDS[name], options or {}, f"dataloader.{name}")
    if json_file:
        _require_writable(json_file)  # known before minutes of reading
    start = time.perf_counter()
    parts = examine(chosen)
    seconds = time.perf_counter() - start
    if json_file:
        _write(json_file, json.dumps(as_json(parts), indent=1))
    print("\n".join(report(parts)))
    print(f"{sum(part.images for part in parts)} images in {seconds:.1f} s: {VERDICTS[severity(parts)]}")
    return int(severity(parts))


def _require_writable(file: Path) -> None:
    """ConfigError where `_write` would be refused."""
    if file.exists() and not file.is_file():
        raise ConfigError(f"cannot write {file}: it is there, and no file")
    with _refused(file) as beside:
        beside.touch()
        beside.unlink()


def _write(file: Path, text: str) -> None:
    """The file appears whole; until then, what was there before is."""
    with _refused(file) as beside:
        beside.write_text(text)
        beside.replace(file)


@contextmanager
def _refused(file: Path) -> Iterator[Path]:
    """The file to write first, beside this one; ConfigError where the disk refuses."""
    try:
        yield file.with_name(f".{file.name}.writing")
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from error
