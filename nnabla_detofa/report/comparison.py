"""Finished runs side by side: AP by budget (Fig. 5), differences, and what training cost (Table 3).

Several runs that differ by seed alone are one method, whose AP is their mean.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..detection import paired_difference
from ..figure_names import figure_name
from .compared_methods import Estimate, Method
from .finished_runs import PRUNING, SAMPLING, SEARCHING, UnfinishedRunError, differing, require_same_task, short_names

NOTHING = "–"
GROUPS = (SAMPLING, PRUNING, SEARCHING)  # of stages
COLUMNS = ("budget", "ap", "ap_low", "ap_high", "cost", "difference", "difference_low", "difference_high", "paired")
LONGEST = 24  # characters of a setting in a table


def unpaired(first: Estimate, other: Estimate) -> Estimate:
    """The gain of `other`, with an interval from both intervals, as of independent estimates."""
    value = other.value - first.value
    down = np.hypot(other.value - other.low, first.high - first.value)
    up = np.hypot(other.high - other.value, first.value - first.low)
    return Estimate(value, value - down, value + up)


class Comparison:
    """Methods on the same test images; the first is what the others are compared with.

    `unfinished`: runs that were left out.
    """

    def __init__(self, methods: Sequence[Method], unfinished: Sequence[UnfinishedRunError] = ()):
        self.methods, self.unfinished = list(methods), list(unfinished)
        require_same_task([run for method in self.methods for run in method.runs])

    @cached_property
    def task(self) -> dict[str, str]:
        """Metric, data set and unit of the cost."""
        said = self.methods[0].runs[0].said
        return {"metric": str(said("metric")), "dataset": str(said("dataset")), "unit": str(said("cost.unit"))}

    @cached_property
    def budgets(self) -> list[float]:
        """Of the first run that searched."""
        return next((method.runs[0].budgets for method in self.methods if method.searched), [])

    @cached_property
    def points(self) -> list[tuple[Estimate, np.ndarray]]:
        """`Method.points` of each."""
        return [method.points(self.budgets) for method in self.methods]

    @cached_property
    def differences(self) -> list[tuple[Estimate, bool]]:
        """The gain of each method but the first over that, and whether by pairs."""
        first, resampled = self.points[0][0], self.methods[0].resampled(self.budgets)
        found = []
        for method, (other, _) in zip(self.methods[1:], self.points[1:], strict=True):
            own = method.resampled(self.budgets)
            if resampled is not None and own is not None and own.shape == resampled.shape:
                found.append((Estimate(other.value - first.value, *paired_difference(own, resampled)), True))
            else:
                found.append((unpaired(first, other), False))
        return found

    @cached_property
    def settings(self) -> list[tuple[str, list[str]]]:
        """Settings that differ: the name, and its value in each method, that of every run where these differ."""
        runs = [run for method in self.methods for run in method.runs]
        found = differing(runs)
        shown = []
        for name, values in zip(short_names([*found]), found.values(), strict=True):
            waiting = iter(values)
            cells = [", ".join(dict.fromkeys(_shown(next(waiting)) for _ in method.runs)) for method in self.methods]
            if len(set(cells)) > 1:
                shown.append((name, cells))
        return shown

    @property
    def remarks(self) -> list[str]:
        """Remarks for a reader of the tables."""
        several = any(len(method.runs) > 1 for method in self.methods)
        means = "; of several runs the mean, with Student's t over them" if several else ""
        name = figure_name(self.task["metric"])
        found = [
            f"{name} (%), {self.task['metric']}, trained on {self.task['dataset']}; in brackets 95 % intervals{means}"
        ]
        others = {tuple(run.budgets) for method in self.methods for run in method.runs if run.searched}
        if len(others) > 1:
            found.append(
                "budgets differ: the columns are the first run's, and the others' best affordable rows stand in"
            )
        if any(by_pairs for _, by_pairs in self.differences):
            found.append(
                "differences are by pairs, on the same resampled images; one whose interval holds 0 may be chance"
            )
        without = [m.name for m, (_, by_pairs) in zip(self.methods[1:], self.differences, strict=True) if not by_pairs]
        if without:
            found.append(
                f"differences are unpaired for {', '.join(without)}: no AP on the same resampled images was kept"
            )
        if self.unfinished:
            names = ", ".join(str(one.folder) for one in self.unfinished)
            found.append(f"left out, as they are not finished, {len(self.unfinished)}: {names}; their commands go on")
        return found

    def table(self) -> list[list[str]]:
        """Its heading and a row for each method: settings that differ, AP by budget, seconds, pruned shares."""
        titles = [*(_limit(budget) for budget in self.budgets), "largest path"]
        ends = ["seconds", "space pruned (%)", "draws rejected (%)"]
        rows = [["method", "runs", *(name for name, _ in self.settings), *titles, *ends]]
        for i, (method, (found, _)) in enumerate(zip(self.methods, self.points, strict=True)):
            figures = [
                f"{method.mean(lambda run: sum(run.seconds.values())):,.1f}",
                _percent(method.mean(lambda run: run.pruned_share)),
                _percent(method.mean(lambda run: run.rejected_share)),
            ]
            aps = [_cell(*one, "") for one in zip(*found, strict=True)]
            rows.append([method.name, str(len(method.runs)), *(own[i] for _, own in self.settings), *aps, *figures])
        return rows

    def difference_table(self) -> list[list[str]]:
        """The gain of each other method over the first, in points."""
        titles = [*(_limit(budget) for budget in self.budgets), "largest path"]
        rows = [[f"minus {self.methods[0].name}", *titles]]
        for method, (found, _) in zip(self.methods[1:], self.differences, strict=True):
            rows.append([method.name, *(_cell(*one, "+") for one in zip(*found, strict=True))])
        return rows

    def seconds_table(self) -> list[list[str]]:
        """Table 3: first the sum of the three columns behind it."""
        rows = [["seconds", "before the search", "sampling paths", "filter and pruning", "training", "search and AP"]]
        for method in self.methods:
            parts = [float(np.mean([run.seconds_of(own) for run in method.runs])) for own in GROUPS]
            training = method.mean(lambda run: run.training_seconds)
            cells = [parts[0] + parts[1] + training, parts[0], parts[1], training, parts[2]]
            rows.append([method.name, *(f"{cell:,.1f}" for cell in cells)])
        return rows

    def tables(self) -> list[list[list[str]]]:
        """All of them."""
        differences = [self.difference_table()] if len(self.methods) > 1 else []
        return [self.table(), *differences, self.seconds_table()]

    def records(self) -> list[dict[str, Any]]:
        """A row for each method and budget, and one for its largest path, whose budget is empty; AP in 0–1."""
        limits, found = [*self.budgets, None], []
        nothing = np.full(len(limits), np.nan)
        differences = [(Estimate(nothing, nothing, nothing), None), *self.differences]
        for i, (method, (aps, costs)) in enumerate(zip(self.methods, self.points, strict=True)):
            difference, by_pairs = differences[i]
            ends = [method.mean(lambda run: sum(run.seconds.values())), method.mean(lambda run: run.pruned_share)]
            for values in zip(limits, *aps, costs, *difference, strict=True):
                row = {"method": method.name, "runs": len(method.runs), **{name: own[i] for name, own in self.settings}}
                row |= dict(zip(COLUMNS, (*values, by_pairs), strict=True))
                if values[0] is None or not np.isnan(values[-4]):
                    row |= {"seconds": ends[0], "space_pruned": ends[1]}
                    found.append({key: "" if _is_nothing(one) else one for key, one in row.items()})
        return found


def _is_nothing(value: Any) -> bool:
    return value is None or value == NOTHING or (isinstance(value, float) and bool(np.isnan(value)))


def _percent(share: float) -> str:
    return NOTHING if np.isnan(share) else f"{100 * share:.3g}"


def _limit(budget: float) -> str:
    return f"≤ {budget / 1e6:,.1f} M" if budget >= 1e6 else f"≤ {budget / 1e6:.3g} M"


def _cell(value: float, low: float, high: float, sign: str) -> str:
    if np.isnan(value):
        return NOTHING
    interval = "" if np.isnan(low) else f" [{100 * low:{sign}.2f}, {100 * high:{sign}.2f}]"
    return f"{100 * value:{sign}.2f}{interval}"


def _shown(value: Any) -> str:
    text = NOTHING if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
