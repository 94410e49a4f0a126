"""The data doctor: what `nnabla_detofa check` prints and writes, and training says first (not in the paper)."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError, one_line, unknown
from .coco import CocoOptions
from .examination import Options, Part, examine, severity
from .flaws import Finding, Flaw, Severity, by_flaw, count_lines, tell
from .image_folder import FolderOptions
from .options import from_mapping
from .voc import VocOptions

KINDS: dict[str, Any] = {"voc": VocOptions, "coco": CocoOptions, "image_folder": FolderOptions}
SHOWN = 20  # places of a flaw on the terminal; the JSON file has them all
VERDICTS = {
    Severity.NOTED: "clean",
    Severity.MENDED: "usable; training mends the flaws as said",
    Severity.UNUSABLE: "unusable; training stops at a flaw that says so",
}


def options_of(dataloader: Mapping[str, Any]) -> Options | None:
    """Options of the data set that a configuration's `dataloader` names; None for one that is not ours.

    Raises ConfigError for what the options may not hold.
    """
    ((name, options),) = dataloader.items()
    return from_mapping(KINDS[name], options or {}, f"dataloader.{name}") if name in KINDS else None


def check(dataloader: Any, json_file: Path | None = None) -> int:
    """Examine the data set, print the tables, write the JSON file; returns the exit code of its worst flaw."""
    if not isinstance(dataloader, Mapping) or len(dataloader) != 1:
        raise ConfigError(f"dataloader must hold exactly one entry, a name and its options; it is {dataloader!r}")
    options = options_of(dataloader)
    if options is None:
        raise unknown("data set to check", next(iter(dataloader)), KINDS)
    start = time.perf_counter()
    parts = examine(options)
    seconds = time.perf_counter() - start
    print("\n".join(report(parts)))
    print(f"{sum(part.images for part in parts)} images in {seconds:.1f} s: {VERDICTS[severity(parts)]}")
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(as_json(parts), indent=1) + "\n")
        except OSError as error:
            raise ConfigError(f"cannot write {json_file}: {error.strerror}") from error
    return severity(parts)


def require_usable(options: Options) -> None:
    """Examine a data set before it is trained on: say every flaw's count; DataError where one makes it unusable."""
    parts = examine(options)
    for part in parts:
        for line in count_lines(part.name, part.findings):
            tell(line)
    worst = [finding for part in parts for finding in part.findings if finding.flaw.severity is Severity.UNUSABLE]
    if worst:
        more = f" (and {len(worst) - 1} more such flaws: `nnabla_detofa check` lists them)" if len(worst) > 1 else ""
        raise DataError(f"{worst[0].detail}{more}")


def report(parts: Sequence[Part]) -> list[str]:
    """Tables of the splits, the classes and the flaws."""
    rows = [["split", "data", "images", "labels", "smallest", "median", "largest"]]
    rows += [[part.split, part.name, str(part.images), str(sum(part.counts.values())), *_sizes(part)] for part in parts]
    names = list(dict.fromkeys(name for part in parts for name in part.counts))
    classes = [["class", *(part.split for part in parts)]]
    classes += [[name, *(str(part.counts.get(name, 0)) for part in parts)] for name in names]
    flaws = [line for part in parts for line in _flaw_lines(part)]
    return [*table(rows), "", *table(classes), "", *(flaws or ["no flaws"]), ""]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines of aligned columns."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def as_json(parts: Iterable[Part]) -> dict:
    """Everything that was found, as plain data."""
    parts = list(parts)
    return {
        "exit_code": int(severity(parts)),
        "splits": {
            part.split: {
                "name": part.name,
                "images": part.images,
                "classes": part.counts,
                "sizes": dict(zip(("smallest", "median", "largest"), _sizes(part), strict=True)),
                "counts": {flaw.name.lower(): len(found) for flaw, found in by_flaw(part.findings)},
            }
            for part in parts
        },
        "flaws": [
            {"split": part.split, "flaw": finding.flaw.name.lower(), "severity": finding.flaw.severity.name.lower()}
            | {"file": str(finding.file), "object": finding.object, "detail": finding.detail}
            for part in parts
            for finding in part.findings
        ],
        "policy": {flaw.name.lower(): f"{flaw.title}: {flaw.policy}" for flaw in Flaw},
    }


def _sizes(part: Part) -> tuple[str, str, str]:
    """The image of the fewest pixels, the one in the middle, and that of the most, as width x height."""
    if not len(part.sizes):
        return "-", "-", "-"
    order = part.sizes[np.argsort(part.sizes.prod(axis=1), kind="stable")]
    smallest, median, largest = (f"{w}x{h}" for w, h in order[[0, len(order) // 2, -1]].tolist())
    return smallest, median, largest


def _flaw_lines(part: Part) -> list[str]:
    lines = []
    for flaw, found in by_flaw(part.findings):
        lines.append(f"{part.split}: {len(found)} x {flaw.title}: {flaw.policy}")
        lines += [f"    {_place(finding)}" for finding in found[:SHOWN]]
        lines += [f"    … and {len(found) - SHOWN} more (--json FILE lists them all)"] if len(found) > SHOWN else []
    return lines


def _place(finding: Finding) -> str:
    unusable = finding.flaw.severity is Severity.UNUSABLE
    return finding.detail if unusable else f"{finding.place}  {finding.detail}".rstrip()
