"""AP by budget of methods, and differences by pairs (Figures 5, 8 and 9)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from nnabla_detofa.report import figures
from nnabla_detofa.report.compared_methods import Estimate, Method
from nnabla_detofa.report.comparison import Comparison
from nnabla_detofa.report.comparison_files import picture
from nnabla_detofa.report.finished_runs import FinishedRun

from .estimates import Runs, aps, difference, estimate, held_out_aps, pairs_needed, shown, table
from .exhibits import Exhibit, plain
from .runs import warmup_of

MEAN, LARGEST = "mean of budgets", "largest path"
OURS = "detofa"
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
    pairs, first = _Pairs(runs), next(iter(runs))
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    gains: dict[str, dict[str, tuple[float, ...]]] = {}
    for split in (TEST, HELD_OUT):
        points = {method: {seed: split.aps(run, budgets) for seed, run in own.items()} for method, own in runs.items()}
        # nothing was searched for, and so nothing held out, where the largest path was trained alone
        points = {method: own for method, own in points.items() if not np.isnan([*own.values()]).all()}
        if first in points:
            compared = _Compared(points, labels, split, budgets, pairs)
            rows, lines = [*rows, *compared.rows()], [*lines, *([""] if lines else []), *compared.lines()]
            if found := compared.gains():
                gains[split.title] = found
    seeds = drawn_seeds(runs)
    drawn = {method: own for method, own in runs.items() if own.keys() >= seeds}
    if left_out := "; ".join(labels[method] for method in runs if method not in drawn):
        told = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, sorted(seeds)))}"
        lines += ["", f"The picture of fronts is of methods with {told}, without {left_out}."]
    methods = [Method(labels[method], [own[seed] for seed in sorted(seeds)]) for method, own in drawn.items()]
    comparison = Comparison(methods)
    comparison.settings = []  # labels say them
    return Exhibit(rows, lines, picture(comparison), figures.gains(gains, over=labels[first]) if gains else None)


def drawn_seeds(runs: Runs) -> set[int]:
    """The seeds that a picture of means is of, as those over other seeds do not compare: the first method's, or some
    of them, that show the most runs."""
    first = next(iter(runs.values())).keys()

    def shown_runs(seeds: set[int]) -> tuple[int, int]:
        methods = sum(own.keys() >= seeds for own in runs.values())
        return methods * len(seeds), methods

    return max(({*own} & first for own in runs.values()), key=shown_runs)


class _Pairs:
    """The seeds of two methods, whose runs began with one warm-up or with two of the same settings: made on another
    machine, these differ by how sums are rounded, and so do all figures behind them."""

    def __init__(self, runs: Runs):
        self._warmups = {method: {seed: warmup_of(run) for seed, run in own.items()} for method, own in runs.items()}

    def of(self, ours: str, theirs: str) -> Iterator[tuple[str, list[int]]]:
        """A remark and seeds: all of both methods, and those with one warm-up where these are some of them."""
        first, second = (self._warmups[method] for method in (ours, theirs))
        seeds = sorted(first.keys() & second.keys())
        alike = [seed for seed in seeds if first[seed] is not None and first[seed] == second[seed]]
        yield "" if alike or not seeds else ", other warm-ups", seeds
        if 0 < len(alike) < len(seeds):
            yield ", of one warm-up", alike


class _Compared(NamedTuple):
    """Methods' AP on a split, and its differences by pairs of the same seed, from the first method where not said."""

    points: Points
    labels: Mapping[str, str]
    split: Split
    budgets: list[float]
    pairs: _Pairs

    @property
    def _first(self) -> str:
        return next(iter(self.points))

    @property
    def _others(self) -> list[str]:
        return [*self.points][1:]

    @property
    def _columns(self) -> list[str]:
        return [*(f"≤ {budget / 1e6:.3g} M" for budget in self.budgets), *self.split.columns]

    @property
    def _mean(self) -> int:
        """The column of the budgets' mean."""
        return len(self.budgets)

    def rows(self) -> list[dict[str, Any]]:
        """Of the CSV file: each method's AP by column, and its difference."""
        rows = []
        for method, own in self.points.items():
            gain, seeds = difference(own, self.points[self._first])
            for title, *values in zip(self._columns, *estimate([*own.values()]), *gain, strict=True):
                names = ("ap", "ap_low", "ap_high", "difference", "difference_low", "difference_high")
                known = {"images": self.split.name, "method": method, "seeds": len(own), "budget": title}
                rows.append({**known, **dict(zip(names, map(plain, values), strict=True)), "pairs": len(seeds)})
        return rows

    def lines(self) -> list[str]:
        """Of the page."""
        parts = [self._aps(), self._differences(), self._pairs_needed(), self._ours_minus()]
        if self.split is TEST:  # winners on held-out images cannot fall from one budget to the next
            parts.append(self._rises())
        return [self.split.remark, *(line for part in parts if part for line in ("", *part))]

    def gains(self) -> dict[str, tuple[float, ...]]:
        """Differences in the mean of the budgets, with their intervals, of the methods that were searched for it."""
        found = {}
        for method in self._others:
            gain, seeds = difference(self.points[method], self.points[self._first])
            if not np.isnan(gain.value[self._mean]):
                told = f"{self.labels[method]}, {len(seeds)} pair{'s' * (len(seeds) > 1)}"
                found[told] = tuple(float(one[self._mean]) for one in gain)
        return found

    def _aps(self) -> list[str]:
        cells = [["AP (%)", "seeds", *self._columns]]
        for method, own in self.points.items():
            by_column = (shown(*one) for one in zip(*estimate([*own.values()]), strict=True))
            cells.append([self.labels[method], str(len(own)), *by_column])
        return table(cells)

    def _differences(self) -> list[str]:
        cells = [[f"minus {self.labels[self._first]}", "pairs", *self._columns]]
        for method in self._others:
            for remark, gain, n in self._by_pairs(method, self._first):
                by_column = (shown(*one, sign="+") for one in zip(*gain, strict=True))
                cells.append([f"{self.labels[method]}{remark}", str(n), *by_column])
        return table(cells) if len(cells) > 1 else []

    def _by_pairs(self, ours: str, theirs: str) -> Iterator[tuple[str, Estimate, int]]:
        for remark, seeds in self.pairs.of(ours, theirs):
            gain, _ = difference(self.points[ours], {seed: self.points[theirs][seed] for seed in seeds})
            yield remark, gain, len(seeds)

    def _pairs_needed(self) -> list[str]:
        needed, theirs = [], self.points[self._first]
        for method in self._others:
            own = self.points[method]
            apart = [own[seed][self._mean] - theirs[seed][self._mean] for seed in own.keys() & theirs.keys()]
            if len(apart) > 1 and not np.isnan(apart).any():
                needed.append(f"{self.labels[method]} {pairs_needed(apart, HALF)}")
        told = f"Pairs for ± {HALF} points of the mean, by the scatter of these: {', '.join(needed)}."
        return [told] if needed else []

    def _ours_minus(self) -> list[str]:
        """DetOFA's gain over each method but the first, which has its own table, in the mean of the budgets."""
        if OURS not in self._others:
            return []
        cells = [[f"{self.labels[OURS]} minus", "pairs", MEAN]]
        for method in self._others:
            for remark, gain, n in self._by_pairs(OURS, method) if method != OURS else ():
                if not np.isnan(gain.value[self._mean]):
                    by_pairs = shown(*(float(one[self._mean]) for one in gain), sign="+")
                    cells.append([f"{self.labels[method]}{remark}", str(n), by_pairs])
        return table(cells) if len(cells) > 1 else []

    def _rises(self) -> list[str]:
        """Rise of AP from each budget to the next, by pairs of the same run; of methods with two runs that were
        searched under several budgets."""
        n = len(self.budgets)
        cells = [["rise from the budget before", "seeds", *self._columns[1:n], "smallest to largest"]]
        for method, own in self.points.items():
            found = np.array([*own.values()])[:, :n]
            if len(found) > 1 and n > 1 and not np.isnan(found).any():
                rises = estimate(np.column_stack([np.diff(found), found[:, -1] - found[:, 0]]))
                by_pairs = (shown(*one, sign="+") for one in zip(*rises, strict=True))
                cells.append([self.labels[method], str(len(found)), *by_pairs])
        return table(cells) if len(cells) > 1 else []
