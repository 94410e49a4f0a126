"""The paper's tables and figures from finished runs: rows, a text, and a picture drawn by `report/figures.py`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from nnabla_detofa.path_filter import kendall_tau
from nnabla_detofa.report import figures
from nnabla_detofa.report.comparison import GROUPS
from nnabla_detofa.storage.tables import read_rows

from .estimates import Runs, estimate, shown, table


class Exhibit(NamedTuple):
    """Rows of the CSV file, lines of the page, the picture, and one of gains where there are some."""

    rows: list[dict[str, Any]]
    lines: list[str]
    figure: Figure
    gains: Figure | None = None


def costs(runs: Runs, labels: Mapping[str, str]) -> Exhibit:
    """Seconds of sampling paths, of filters and pruning, and of training (Table 3)."""
    names = ("sampling paths", "filter and pruning", "training")
    cells, rows, bars = [["seconds", "seeds", "in all", *names, "sampling, % of all"]], [], {}
    for method, own in runs.items():
        parts = [[*(run.seconds_of(some) for some in GROUPS[:2]), run.training_seconds] for run in own.values()]
        found = estimate([[sum(one), *one] for one in parts])
        by_column = [shown(*one, digits=1) for one in zip(*found, strict=True)]
        share = shown(*map(float, estimate([100 * one[0] / sum(one) for one in parts])), digits=1)
        cells.append([labels[method], str(len(own)), *by_column, share])
        for name, *values in zip(("in all", *names), *found, strict=True):
            ends = dict(zip(("seconds", "low", "high"), map(plain, values), strict=True))
            rows.append({"method": method, "seeds": len(own), "part": name, **ends})
        bars[labels[method]] = dict(zip(names, found.value[1:].tolist(), strict=True))
    return Exhibit(rows, table(cells), figures.stacked_seconds(bars))


def operation_scores(runs: Runs, labels: Mapping[str, str]) -> Exhibit:  # noqa: ARG001
    """Scores of operations, and how they go with what an operation costs inside its block (Fig. 7)."""
    ((_, own),) = runs.items()
    kept = {*figures.NOT_CHOICES} - {"stage", "layer"}
    scores: dict[tuple, list[dict[str, str]]] = {}
    taus = []
    for run in own.values():
        operations = read_rows(run.folder / "operations.csv")
        blocks = {(one["stage"], one["layer"]) for one in operations}
        inside = [[one for one in operations if (one["stage"], one["layer"]) == block] for block in sorted(blocks)]
        taus.append([_tau(some) for some in inside])
        for one in operations:
            scores.setdefault(tuple(value for key, value in one.items() if key not in kept), []).append(one)
    rows = []
    for each in scores.values():
        score = np.mean([float(one["score"] or "nan") for one in each])
        pruned = sum(one["kept"] != "True" for one in each)
        row = {**each[0], "score": score, "kept": str(2 * pruned <= len(each)), "reason": ""}
        rows.append({**row, "pruned_in": pruned, "seeds": len(each)})
    mean = estimate([np.nanmean(one) for one in taus])
    line = f"Kendall tau of score and cost inside a block, mean over blocks: {shown(*map(float, mean))}."
    drawn = [{key: str(value) for key, value in row.items() if key not in ("pruned_in", "seeds")} for row in rows]
    return Exhibit(rows, [line], figures.operation_scores(drawn))


def _tau(operations: Sequence[Mapping[str, str]]) -> float:
    scores, sizes = ([float(one[key] or "nan") for one in operations] for key in ("score", "flops"))
    return kendall_tau(np.array(scores), np.array(sizes)) if len(scores) > 1 else np.nan


def plain(value: Any) -> Any:
    """A figure for a CSV file, nothing where it is not defined."""
    return "" if np.isnan(value) else round(float(value), 5)


Draw = Callable[[Runs, Mapping[str, str]], Exhibit]
