"""What an examination found, as tables, as plain data and as what a run says first (an addition; not in the paper)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..errors import DataError, one_line
from .examination import Options, Part, examine, severity
from .flaws import Finding, Flaw, Severity, by_flaw, count_lines, tell

SHOWN = 20  # places of a flaw on the terminal; the JSON file has them all
HARMLESS = ("workers", "prefetch", "cache_megabytes")  # options that change nothing of what there is


def before_training(options: Options, known: Any, digests: Sequence[str] = ()) -> dict[str, Any]:
    """Say every flaw's count before a data set is trained on, and return a record of it for the run.

    `known` is the record of an earlier session of the run, or anything else: of the same options, and annotations of
    the same `digests`, it spares opening every image again. DataError where a flaw makes the data set unusable.
    """
    wanted = {key: value for key, value in asdict(options).items() if key not in HARMLESS}  # type: ignore[call-overload]
    wanted = json.loads(json.dumps({**wanted, "digests": digests}, default=str))
    if not isinstance(known, dict) or known.get("options") != wanted or not isinstance(known.get("said"), list):
        parts = examine(options)
        _require_usable(parts)
        lines = [line for part in parts for line in count_lines(part.name, part.findings)]
        known = {"options": wanted, "said": lines, **as_json(parts)}
    for line in known["said"]:
        tell(str(line))
    return known


def _require_usable(parts: Iterable[Part]) -> None:
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
