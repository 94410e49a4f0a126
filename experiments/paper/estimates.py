"""Figures of methods over seeds: means, intervals, and differences by pairs of the same seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from nnabla_detofa.detection.bootstrap import SHARE
from nnabla_detofa.report.compared_methods import Estimate, students_t
from nnabla_detofa.report.finished_runs import FinishedRun

Runs = Mapping[str, Mapping[int, FinishedRun]]  # method -> seed -> run


def estimate(values: Sequence[Any]) -> Estimate:
    """Mean over the first axis, with Student's 95 % interval; nan for the ends where there is one value alone."""
    given = np.asarray(values, float)
    if len(given) > 1:
        return students_t(given)
    mean = given.mean(axis=0) if len(given) else np.full(given.shape[1:], np.nan)
    return Estimate(mean, *np.full((2, *np.shape(mean)), np.nan))


def difference(ours: Mapping[int, Any], theirs: Mapping[int, Any]) -> tuple[Estimate, list[int]]:
    """Ours minus theirs by pairs of the same seed, nan without one, and these seeds."""
    seeds = sorted(ours.keys() & theirs.keys())
    apart = [np.asarray(ours[one], float) - np.asarray(theirs[one], float) for one in seeds]
    return estimate(np.reshape(apart, (len(seeds), *np.shape(next(iter(ours.values())))))), seeds


def pairs_needed(differences: Sequence[float], half: float, most: int = 10_000) -> int:
    """The number of pairs whose mean has an interval of +- `half`, if others scatter as these two or more do."""
    n = np.arange(2, most + 1)
    ends = stats.t.ppf((1 + SHARE) / 2, n - 1) * np.std(differences, ddof=1) / np.sqrt(n)
    return int(n[np.argmax(ends <= half)]) if (ends <= half).any() else most


def aps(run: FinishedRun, budgets: Sequence[float]) -> np.ndarray:
    """AP in points under each budget, their mean, and of the largest path; (budgets + 2,), nan where nothing is
    affordable, or was searched for."""
    rows = [run.row_under(budget) for budget in budgets]
    found = np.array([np.nan if row is None else run.aps[row] for row in rows])
    return 100 * np.array([*found, found.mean() if len(found) else np.nan, run.aps[-1]])


def held_out_aps(run: FinishedRun, budgets: Sequence[float]) -> np.ndarray:
    """As `aps` on the held-out training images: under each budget and their mean, (budgets + 1,)."""
    rows = [run.row_under(budget) for budget in budgets]
    given = [None if row is None else run.rows[row].get("held_out_ap") for row in rows]
    found = np.array([np.nan if one is None else one for one in given], float)
    return 100 * np.array([*found, found.mean() if len(found) else np.nan])


def shown(value: float, low: float = np.nan, high: float = np.nan, *, sign: str = "", digits: int = 2) -> str:
    """A figure with its interval as a cell."""
    if np.isnan(value):
        return "–"
    ends = "" if np.isnan(low) else f" [{low:{sign}.{digits}f}, {high:{sign}.{digits}f}]"
    return f"{value:{sign}.{digits}f}{ends}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows, the first the heading, as Markdown."""
    heading, *others = ["| " + " | ".join(row) + " |" for row in rows]
    return [heading, "|---" * len(rows[0]) + "|", *others]
