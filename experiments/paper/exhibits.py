"""The paper's tables and figures from finished runs: rows, a text, and a picture drawn by `report/figures.py`."""

import csv
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from nnabla_detofa.path_filter import kendall_tau
from nnabla_detofa.report import figures
from nnabla_detofa.report.compared_methods import Method
from nnabla_detofa.report.comparison import GROUPS, Comparison
from nnabla_detofa.report.comparison_files import picture
from nnabla_detofa.report.finished_runs import PRUNING, SAMPLING, FinishedRun
from nnabla_detofa.report.pareto import millions

from .estimates import Runs, aps, difference, estimate, pairs_needed, shown, table

MEAN = -2  # the column of `aps` with the mean of all budgets
OURS, LONGER = "detofa", "ofa_longer"  # methods of equal cost
HALF = 0.4  # points of AP: the interval that a difference is to have
PER_BUCKET = 15  # paths shown of a bucket (Fig. 6)


class Exhibit(NamedTuple):
    """Rows of the CSV file, lines of the page, and the picture."""

    rows: list[dict[str, Any]]
    lines: list[str]
    figure: Figure


def fronts(runs: Runs, labels: Mapping[str, str]) -> Exhibit:
    """AP by budget of methods, the first being what the others are compared with (Fig. 5, 8 and 9)."""
    first, *others = runs
    searched = [run for own in runs.values() for run in own.values() if run.searched]
    budgets = searched[0].budgets if searched else []
    points = {method: {seed: aps(run, budgets) for seed, run in own.items()} for method, own in runs.items()}
    titles = [*(f"≤ {budget / 1e6:.3g} M" for budget in budgets), "mean of budgets", "largest path"]
    needed: list[str] = []
    cells, against, rows = [["AP (%)", "seeds", *titles]], [[f"minus {labels[first]}", "pairs", *titles]], []
    for method, own in points.items():
        found = estimate([*own.values()])
        gain, seeds = difference(own, points[first])
        cells.append([labels[method], str(len(own)), *(shown(*one) for one in zip(*found, strict=True))])
        if method != first:
            by_pairs = (shown(*one, sign="+") for one in zip(*gain, strict=True))
            against.append([labels[method], str(len(seeds)), *by_pairs])
            if len(seeds) > 1 and not np.isnan(gain.value[MEAN]):
                n = pairs_needed([own[one][MEAN] - points[first][one][MEAN] for one in seeds], HALF)
                needed.append(f"{labels[method]} {n}")
        for column, title in enumerate(titles):
            values = (*(one[column] for one in found), *(one[column] for one in gain))
            names = ("ap", "ap_low", "ap_high", "difference", "difference_low", "difference_high")
            row = dict(zip(names, map(_plain, values), strict=True))
            rows.append({"method": method, "seeds": len(own), "budget": title, **row, "pairs": len(seeds)})
    remark = [f"Pairs for ± {HALF} points of the mean, by the scatter of these: {', '.join(needed)}.", ""]
    comparison = Comparison([Method(labels[method], [*own.values()]) for method, own in runs.items()])
    comparison.settings = []  # labels say them
    lines = [*table(cells), "", *(table(against) if others else []), "", *(remark if needed else [])]
    return Exhibit(rows, lines[:-1], picture(comparison))


def fronts_at_equal_cost(runs: Runs, labels: Mapping[str, str]) -> Exhibit:
    """As `fronts`, and DetOFA beside OFA that was trained for as long as all of DetOFA took (Fig. 5)."""
    exhibit = fronts(runs, labels)
    return exhibit._replace(lines=[*exhibit.lines, *_equal_cost(runs, labels)])


def _equal_cost(runs: Runs, labels: Mapping[str, str]) -> list[str]:
    """Seconds until the supernet is trained beside the mean AP of all budgets, and DetOFA's gain by pairs; nothing
    where either method has no run."""
    if not {LONGER, OURS} <= {*runs}:
        return []
    budgets = next(iter(runs[LONGER].values())).budgets
    means = {method: {s: aps(run, budgets)[MEAN] for s, run in runs[method].items()} for method in (LONGER, OURS)}
    cells = [["at equal cost", "seeds", "epochs", "seconds until trained", "mean of budgets"]]
    for method in (LONGER, OURS):
        own = [*runs[method].values()]
        took, mean = estimate([_until_trained(run) for run in own]), estimate([*means[method].values()])
        epochs = "/".join(sorted({str(run.settings[f"{run.training[-1]}.epochs"][1]) for run in own}))
        seconds, figure = shown(*map(float, took), digits=0), shown(*map(float, mean))
        cells.append([labels[method], str(len(own)), epochs, seconds, figure])
    gain, seeds = difference(means[OURS], means[LONGER])
    by_pairs = shown(*map(float, gain), sign="+")
    cells.append([f"{labels[OURS]} minus {labels[LONGER]}", f"{len(seeds)} pairs", "", "", by_pairs])
    return ["", *table(cells)]


def _until_trained(run: FinishedRun) -> float:
    """Seconds of all stages up to the trained supernet, which a search takes over."""
    return run.seconds_of([*SAMPLING, *PRUNING, *run.training])


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
            ends = dict(zip(("seconds", "low", "high"), map(_plain, values), strict=True))
            rows.append({"method": method, "seeds": len(own), "part": name, **ends})
        bars[labels[method]] = dict(zip(names, found.value[1:].tolist(), strict=True))
    return Exhibit(rows, table(cells), figures.stacked_seconds(bars))


def path_losses(runs: Runs, labels: Mapping[str, str]) -> Exhibit:
    """Losses of paths drawn uniformly from each bucket, of the whole space and of the pruned one (Fig. 6)."""
    tables: dict[str, dict[int, np.ndarray]] = {}  # bucket, cost and loss of each path, by method and seed
    for method, own in runs.items():
        tables[method] = {seed: _measured(run) for seed, run in own.items()}
    n = 1 + int(max(one[:, 0].max() for own in tables.values() for one in own.values()))
    means = {
        method: {
            seed: [one[one[:, 0] == b, 2].mean() if b in one[:, 0] else np.nan for b in range(n)]
            for seed, one in own.items()
        }
        for method, own in tables.items()
    }
    first, *others = means
    titles = [f"bucket {bucket}" for bucket in range(n)]
    cells = [["mean loss", "seeds", *titles]]
    for method, own in means.items():
        columns = zip(*estimate([*own.values()]), strict=True)
        cells.append([labels[method], str(len(own)), *(shown(*one, digits=3) for one in columns)])
    for method in others:
        gain, seeds = difference(means[method], means[first])
        columns = zip(*gain, strict=True)
        name = f"{labels[method]} minus {labels[first]}"
        cells.append([name, f"{len(seeds)} pairs", *(shown(*one, sign="+", digits=3) for one in columns)])
    rows = [
        {"method": method, "seed": seed, "bucket": int(bucket), "cost": cost, "loss": loss}
        for method, own in tables.items()
        for seed, one in own.items()
        for bucket, cost, loss in one.tolist()
    ]
    run = next(iter(runs[first].values()))
    drawn = {labels[method]: np.concatenate([*own.values()])[:, 1:].T for method, own in tables.items()}
    own = {"edges": [budget / 1e6 for budget in run.budgets], "cost": millions(run.said("cost.name"))[1]}
    shown_tables = {name: (cost / 1e6, loss) for name, (cost, loss) in drawn.items()}
    return Exhibit(rows, table(cells), figures.path_losses(shown_tables, one_scale=True, **own))


def _measured(run: FinishedRun) -> np.ndarray:
    """(bucket, cost, loss) of the first paths of each bucket that were measured behind training."""
    columns = _columns(run, "paths_final.csv")
    found = np.array([columns["bucket"], columns.get("cost", columns["flops"]), columns["loss"]], float).T
    order = np.random.default_rng(0).permutation(len(found))  # the table is sorted by genes
    return np.concatenate([found[order][found[order][:, 0] == b][:PER_BUCKET] for b in np.unique(found[:, 0])])


def operation_scores(runs: Runs, labels: Mapping[str, str]) -> Exhibit:  # noqa: ARG001
    """Scores of operations, and how they go with what an operation costs inside its block (Fig. 7)."""
    ((_, own),) = runs.items()
    kept = {*figures.NOT_CHOICES} - {"stage", "layer"}
    scores: dict[tuple, list[dict[str, str]]] = {}
    taus = []
    for run in own.values():
        operations = _rows(run, "operations.csv")
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


def _rows(run: FinishedRun, name: str) -> list[dict[str, str]]:
    with (run.folder / name).open(newline="") as stream:
        return [*csv.DictReader(stream)]


def _columns(run: FinishedRun, name: str) -> dict[str, list[str]]:
    rows = _rows(run, name)
    return {key: [row[key] for row in rows] for key in rows[0]}


def _plain(value: Any) -> Any:
    return "" if np.isnan(value) else round(float(value), 5)


Draw = Callable[[Runs, Mapping[str, str]], Exhibit]
