"""The check of a data set, `nnabla_detofa check`: it is examined, nothing is trained (not in the paper)."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError, RunFolderError, one_line, unknown
from ..storage.files import write_text
from . import coco, coco_masks, image_folder, voc, voc_masks, yolo
from .examination import Part, as_json, examine, severity
from .flaws import Finding, Flaw, Severity, by_flaw

LOADERS: dict[str, Any] = {
    "voc": voc.DataLoader,
    "coco": coco.DataLoader,
    "yolo": yolo.DataLoader,
    "image_folder": image_folder.DataLoader,
    "voc_masks": voc_masks.DataLoader,
    "coco_masks": coco_masks.DataLoader,
}
DECLARED: dict[str, Any] = {name: loader.declared for name, loader in LOADERS.items()}
SHOWN = 20  # places of a flaw on the terminal; the JSON file has them all
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
    chosen = options_of(dataloader)
    require_place(json_file)
    start = time.perf_counter()
    parts = examine(chosen)
    seconds = time.perf_counter() - start
    if json_file:
        try:
            write_text(json_file, json.dumps(as_json(parts), indent=1))
        except RunFolderError as error:
            raise ConfigError(f"cannot write {json_file}: {error.__cause__}") from error
    print("\n".join(report(parts)))
    print(f"{sum(len(part.files) for part in parts)} images in {seconds:.1f} s: {VERDICTS[severity(parts)]}")
    return int(severity(parts))


def options_of(dataloader: Any, **changed: Any) -> Any:
    """The declared options of the data set that a configuration's `dataloader` names, some of them `changed`;
    ConfigError for what they may not hold."""
    if not isinstance(dataloader, Mapping) or len(dataloader) != 1:
        allowed = "exactly one entry, a name and its options"
        raise ConfigError(f"dataloader must hold {allowed}; it is {dataloader!r}", key="dataloader", allowed=allowed)
    ((name, options),) = dataloader.items()
    if name not in DECLARED:
        raise unknown("data set", name, DECLARED)
    given = options or {}
    return DECLARED[name].of(f"dataloader.{name}", {**given, **changed} if isinstance(given, Mapping) else given)


def require_place(file: Path | None) -> None:
    """ConfigError for the place of a file, if there is to be one, where none can be written."""
    if file and ((file.exists() and not file.is_file()) or not file.absolute().parent.is_dir()):
        raise ConfigError(f"cannot write {file}: it must be a file in a folder that is there")


def policy_table() -> list[str]:
    """Every flaw with the exit code that it means and what training does."""
    rows = [(f"{flaw.severity:>9}", flaw.title, flaw.policy) for flaw in Flaw]
    return table([("exit code", "flaw", "what training does"), *rows])


def report(parts: Sequence[Part]) -> list[str]:
    """Tables of the splits, the classes and the flaws."""
    rows = [("split", "data", "images", "labels", "smallest", "median", "largest")]
    for part in parts:
        numbers = str(len(part.files)), str(sum(part.counts.values()))
        rows.append((part.split, part.name, *numbers, *part.extremes().values()))  # type: ignore[arg-type]
    names = dict.fromkeys(name for part in parts for name in part.counts)
    classes = [["class", *(part.split for part in parts)]]
    classes += [[name, *(str(part.counts.get(name, 0)) for part in parts)] for name in names]
    flaws = []
    for part in parts:
        for flaw, found in by_flaw(part.findings):
            flaws.append(f"{part.split}: {len(found)} x {flaw.title}: {flaw.policy}")
            flaws += [f"    {_place(finding)}" for finding in found[:SHOWN]]
            if len(found) > SHOWN:
                flaws.append(f"    … and {len(found) - SHOWN} more (--json FILE lists them all)")
    return [*table(rows), "", *table(classes), "", *(flaws or ["no flaws"]), ""]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of aligned columns."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _place(finding: Finding) -> str:
    unusable = finding.flaw.severity is Severity.UNUSABLE
    return finding.detail if unusable else f"{finding.place}  {finding.detail}".rstrip()
