"""Contents of a run's page: its sections' values, from the run's summary and the files beside it."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..figure_names import figure_name
from ..search import pareto_front
from ..storage.files import read_json
from ..storage.tables import read_rows
from .curves import read_curves
from .pareto import millions

MEASURED = {"paths_warmup": "after warm-up", "paths_final": "after training"}
DATA = "data.json"


def contents(folder: Path, summary: Mapping[str, Any], *, edges: Sequence[float]) -> dict[str, Any]:
    """Values by the names that the template knows; None or empty where the run has no such thing."""
    from . import figures  # Matplotlib takes a while to import

    unit, label = millions(summary["cost"]["name"])
    rows = detector_rows(summary)
    draw = {"cost": label}
    stages = summary["seconds"]
    operations = _table(folder / "operations.csv") if "operations" in stages else []
    measured = {title: _table(folder / f"{name}.csv") for name, title in MEASURED.items() if name in stages}
    losses = {title: costs_and_losses(rows) for title, rows in measured.items() if rows}
    curves = by_name(read_curves(folder), stages)
    quality = {name: ranks for name, ranks in (summary["filter_quality"] or {}).items() if name != "filter"}
    budgets = [row["budget"] / 1e6 for row in rows if row["budget"] is not None]
    return {
        "unit": unit,
        "figure": figure_name(summary.get("metric")),
        "summary": summary,
        "rows": rows,
        "classes": class_rows(summary, rows),
        "reasons": reasons(operations),
        "operations": operations,
        "quality": quality,
        "stages": stage_rows(stages),
        "data": data_parts(folder / DATA),
        "figures": {
            "front": figures.as_uri(figures.front(rows, budgets=budgets, metric=summary["metric"], **draw)),
            "operations": _drawn(operations, lambda: figures.operation_scores(operations)),
            "losses": _drawn(
                losses, lambda: figures.path_losses(losses, edges=[e / 1e6 for e in edges], cost=draw["cost"])
            ),
            "curves": _drawn(curves, lambda: figures.training_curves(curves)),
            "quality": _drawn(quality, lambda: figures.ranking_quality(quality)),
        },
    }


def _drawn(data: Any, draw: Callable[[], Any]) -> str | None:
    from .figures import as_uri

    return as_uri(draw()) if data else None


def reasons(operations: Sequence[Mapping[str, str]]) -> list[tuple[str, str, int]]:
    """The fates of operations, the reasons, and their numbers; behind them those near the threshold."""
    why = Counter((row["kept"] == "True", row["reason"].removeprefix("kept: ")) for row in operations if row["reason"])
    fates = [("kept by a guard" if kept else "pruned", reason, n) for (kept, reason), n in why.most_common()]
    near = Counter(row["near_threshold"] for row in operations if row.get("near_threshold"))
    return fates + [("near the threshold", votes, n) for votes, n in sorted(near.items())]


def detector_rows(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The found detectors and behind them the largest path: costs in millions."""
    rows = [*summary["pareto"], summary["largest"]]
    costs = np.array([row.get("cost", row["flops"]) for row in rows], float)
    best = pareto_front(costs, np.array([row["ap"] for row in rows], float))
    return [
        {
            **{
                key: row.get(key)
                for key in ("name", "budget", "score", "ap", "ap_interval", "ap_per_class", "equal_to", "file")
            },
            "number": number + 1,
            "path": row["path"],
            "cost": costs[number] / 1e6,
            "flops": row["flops"] / 1e6,
            "on_front": number in best,
        }
        for number, row in enumerate(rows)
    ]


def class_rows(summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[float | None]]]:
    """Each class with its AP by detector; empty where it was not measured."""
    known = [row["ap_per_class"] for row in rows if row["ap_per_class"]]
    if not known or len(known) < len(rows):
        return []
    names = summary.get("classes") or [f"class {number}" for number in range(len(known[0]))]
    return [(name, list(aps)) for name, *aps in zip(names, *known, strict=False)]


def by_name(curves: Mapping[str, Any], stages: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Curves of these stages, tagged STAGE/NAME, by name and then by stage."""
    found: dict[str, dict[str, Any]] = {}
    for stage in stages:
        for tag, points in curves.items():
            of, _, name = tag.partition("/")
            if of == stage and points:
                found.setdefault(name, {})[stage] = points
    return found


def stage_rows(stages: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Each stage with its seconds and its share of all."""
    total = sum(stages.values()) or 1.0
    return [(name, seconds, seconds / total) for name, seconds in stages.items()]


def data_parts(file: Path) -> list[dict[str, Any]]:
    """Splits of an examined data set: name, images, objects by class, and flaws with what was done about each."""
    if not file.is_file():
        return []
    found = read_json(file)
    policy = found.get("policy", {})
    return [
        {**part, "split": split, "flaws": [(policy.get(flaw, flaw), n) for flaw, n in part["counts"].items()]}
        for split, part in found.get("splits", {}).items()
    ]


def _table(file: Path) -> list[dict[str, str]]:
    """All rows; none where there is no such file."""
    return read_rows(file) if file.is_file() else []


def costs_and_losses(rows: Sequence[Mapping[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Costs in millions and losses of measured paths."""
    column = "cost" if "cost" in rows[0] else "flops"
    return np.array([float(row[column]) / 1e6 for row in rows]), np.array([float(row["loss"]) for row in rows])


def flat(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Each option by its key with dots, as JSON writes it."""
    found = []
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", json.dumps(value, ensure_ascii=False, default=str)))
    return found
