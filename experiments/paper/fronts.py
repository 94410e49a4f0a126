"""AP by budget of methods, and differences by pairs (Figures 5, 8 and 9)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from nnabla_detofa.report import figures
from nnabla_detofa.report.compared_methods import Method
from nnabla_detofa.report.comparison import Comparison
from nnabla_detofa.report.comparison_files import picture
from nnabla_detofa.report.finished_runs import PRUNING, SAMPLING, FinishedRun

from .estimates import Runs, aps, difference, estimate, held_out_aps, pairs_needed, shown, table
from .exhibits import Exhibit, plain

MEAN, LARGEST = "mean of budgets", "largest path"
OURS, LONGER = "detofa", "ofa_longer"  # methods of equal cost
HALF = 0.4  # points of AP: the interval that a difference is to have


class Split(NamedTuple):
    """The images that AP is of: names for the CSV file, pictures and the page, and the columns behind the budgets'."""

    name: str
    title: str
    remark: str
    aps: Callable[[FinishedRun, list[float]], np.ndarray]
    columns: tuple[str, ...]


TEST = Split("test", "test split", "On the test split:", aps, (MEAN, LARGEST))
HELD_OUT = Split(
    "held out",
    "held-out images",
    "On the held-out training images, which also chose between the few winners of each budget:",
    held_out_aps,
    (MEAN,),
)
Points = Mapping[str, Mapping[int, np.ndarray]]  # method -> seed -> AP in the columns of a split


def fronts(runs: Runs, labels: Mapping[str, str]) -> Exhibit:
    """AP by budget of methods, the first being what the others are compared with (Fig. 5, 8 and 9)."""
    searched = [run for own in runs.values() for run in own.values() if run.searched]
    budgets = searched[0].budgets if searched else []
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    gains: dict[str, dict[str, tuple[float, ...]]] = {}
    first, *others = runs
    for split in (TEST, HELD_OUT):
        points = {method: {seed: split.aps(run, budgets) for seed, run in own.items()} for method, own in runs.items()}
        # nothing was searched for, and so nothing held out, where the largest path was trained alone
        points = {method: own for method, own in points.items() if not np.isnan([*own.values()]).all()}
        if first in points:
            more, said = _compared(points, labels, split, budgets, _Pairs(runs))
            rows, lines = rows + more, [*lines, *([""] if lines else []), split.remark, "", *said]
            if found := _gains(more, labels, first):
                gains[split.title] = found
    # means over other seeds do not compare
    drawn = {method: own for method, own in runs.items() if own.keys() >= runs[first].keys()}
    if len(drawn) < len(runs):
        n = f"{len(runs[first])} seed{'s' * (len(runs[first]) > 1)}"
        left_out = "; ".join(labels[method] for method in others if method not in drawn)
        lines += ["", f"The picture of fronts is of methods with {labels[first]}'s {n}, without {left_out}."]
    methods = [Method(labels[method], [own[seed] for seed in runs[first]]) for method, own in drawn.items()]
    comparison = Comparison(methods)
    comparison.settings = []  # labels say them
    return Exhibit(rows, lines, picture(comparison), figures.gains(gains, over=labels[first]) if gains else None)


class _Pairs:
    """The seeds of two methods, whose runs began with one warm-up or with two of the same settings: made on another
    machine, these differ by how sums are rounded, and so do all figures behind them."""

    def __init__(self, runs: Runs):
        self._warmups = {
            method: {seed: run.seconds.get("warmup") for seed, run in own.items()} for method, own in runs.items()
        }

    def of(self, ours: str, theirs: str) -> Iterator[tuple[str, list[int]]]:
        """A remark and seeds: all of both methods, and those with one warm-up where these are some of them."""
        first, second = (self._warmups[method] for method in (ours, theirs))
        seeds = sorted(first.keys() & second.keys())
        # a copy keeps its seconds, to the millisecond
        alike = [seed for seed in seeds if first[seed] is not None and first[seed] == second[seed]]
        yield "" if alike or not seeds else ", other warm-ups", seeds
        if 0 < len(alike) < len(seeds):
            yield ", of one warm-up", alike


def _gains(rows: list[dict[str, Any]], labels: Mapping[str, str], first: str) -> dict[str, tuple[float, ...]]:
    """Of the mean of the budgets, by pairs, with its interval; of the methods that were searched for it."""
    found = {}
    for row in rows:
        if row["budget"] == MEAN and row["method"] != first and row["difference"] != "":
            pairs = f"{row['pairs']} pair{'s' * (row['pairs'] > 1)}"
            ends = (row[key] for key in ("difference", "difference_low", "difference_high"))
            found[f"{labels[row['method']]}, {pairs}"] = tuple(np.nan if one == "" else one for one in ends)
    return found


def _compared(
    points: Points, labels: Mapping[str, str], split: Split, budgets: list[float], pairs: _Pairs
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows and lines of each method's figures by seed, and of their differences from the first method's."""
    first, *others = points
    titles = [*(f"≤ {budget / 1e6:.3g} M" for budget in budgets), *split.columns]
    mean, rows, needed = titles.index(MEAN), [], []
    cells, against = [["AP (%)", "seeds", *titles]], [[f"minus {labels[first]}", "pairs", *titles]]
    for method, own in points.items():
        found = estimate([*own.values()])
        gain, seeds = difference(own, points[first])
        cells.append([labels[method], str(len(own)), *(shown(*one) for one in zip(*found, strict=True))])
        if method != first:
            for remark, some in pairs.of(method, first):
                by_pairs = zip(*difference({seed: own[seed] for seed in some}, points[first])[0], strict=True)
                cells_of = (shown(*one, sign="+") for one in by_pairs)
                against.append([f"{labels[method]}{remark}", str(len(some)), *cells_of])
            if len(seeds) > 1 and not np.isnan(gain.value[mean]):
                n = pairs_needed([own[one][mean] - points[first][one][mean] for one in seeds], HALF)
                needed.append(f"{labels[method]} {n}")
        for column, title in enumerate(titles):
            values = (*(one[column] for one in found), *(one[column] for one in gain))
            names = ("ap", "ap_low", "ap_high", "difference", "difference_low", "difference_high")
            row = dict(zip(names, map(plain, values), strict=True))
            known = {"images": split.name, "method": method, "seeds": len(own), "budget": title}
            rows.append({**known, **row, "pairs": len(seeds)})
    told = f"Pairs for ± {HALF} points of the mean, by the scatter of these: {', '.join(needed)}."
    lines = [*table(cells), *(["", *table(against)] if others else []), *(["", told] if needed else [])]
    lines += _ours_minus(points, labels, mean, pairs)
    if split is TEST:  # winners on held-out images cannot fall from one budget to the next
        lines += _rises(points, labels, titles[: len(budgets)])
    return rows, lines


def _ours_minus(points: Points, labels: Mapping[str, str], mean: int, pairs: _Pairs) -> list[str]:
    """DetOFA's gain over each method but the first, which has its own table, in the mean of the budgets."""
    _, *others = points
    if OURS not in others:
        return []
    cells = [[f"{labels[OURS]} minus", "pairs", MEAN]]
    for method in others:
        for remark, some in pairs.of(OURS, method) if method != OURS else ():
            gain, _ = difference({seed: points[OURS][seed] for seed in some}, points[method])
            if some and not np.isnan(gain.value[mean]):
                by_pairs = shown(*(float(one[mean]) for one in gain), sign="+")
                cells.append([f"{labels[method]}{remark}", str(len(some)), by_pairs])
    return ["", *table(cells)] if len(cells) > 1 else []


def _rises(points: Points, labels: Mapping[str, str], titles: list[str]) -> list[str]:
    """Rise of AP from each budget to the next, by pairs of the same run; of methods with two runs that were searched
    under several budgets."""
    cells = [["rise from the budget before", "seeds", *titles[1:], "smallest to largest"]]
    for method, own in points.items():
        found = np.array([*own.values()])[:, : len(titles)]
        if len(found) > 1 and len(titles) > 1 and not np.isnan(found).any():
            rises = estimate(np.column_stack([np.diff(found), found[:, -1] - found[:, 0]]))
            by_pairs = (shown(*one, sign="+") for one in zip(*rises, strict=True))
            cells.append([labels[method], str(len(found)), *by_pairs])
    return ["", *table(cells)] if len(cells) > 1 else []


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
    cells = [["at equal cost", "seeds", "epochs", "seconds until trained", *(one.title for one in (TEST, HELD_OUT))]]
    means = [
        {
            method: {s: split.aps(run, budgets)[len(budgets)] for s, run in runs[method].items()}
            for method in (LONGER, OURS)
        }
        for split in (TEST, HELD_OUT)
    ]
    for method in (LONGER, OURS):
        own = [*runs[method].values()]
        took = estimate([_until_trained(run) for run in own])
        epochs = "/".join(sorted({str(run.settings[f"{run.training[-1]}.epochs"][1]) for run in own}))
        by_images = (shown(*map(float, estimate([*one[method].values()]))) for one in means)
        cells.append([labels[method], str(len(own)), epochs, shown(*map(float, took), digits=0), *by_images])
    gains = [difference(one[OURS], one[LONGER]) for one in means]
    by_pairs = (shown(*map(float, gain), sign="+") for gain, _ in gains)
    cells.append([f"{labels[OURS]} minus {labels[LONGER]}", f"{len(gains[0][1])} pairs", "", "", *by_pairs])
    return ["", "Means of the budgets:", "", *table(cells)]


def _until_trained(run: FinishedRun) -> float:
    """Seconds of all stages up to the trained supernet, which a search takes over."""
    return run.seconds_of([*SAMPLING, *PRUNING, *run.training])
