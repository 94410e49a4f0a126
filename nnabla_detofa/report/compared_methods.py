"""Methods to be compared: finished runs that differ by seed alone, and the AP that they have under each budget."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..detection.bootstrap import SHARE
from ..errors import ConfigError
from .finished_runs import SEED, FinishedRun, UnfinishedRunError, differing, only_seeds_differ, runs_of


class Estimate(NamedTuple):
    """Values and the ends of their intervals, each (points,); nan where nothing is known."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Method:
    """A name, and runs that differ by seed alone."""

    def __init__(self, name: str, runs: Sequence[FinishedRun]):
        self.name, self.runs = name, list(runs)

    @property
    def searched(self) -> bool:
        """Whether there was more than the largest path to find."""
        return all(run.searched for run in self.runs)

    def points(self, budgets: Sequence[float]) -> tuple[Estimate, np.ndarray]:
        """AP under each budget and, last, of the largest path; and mean costs of the same, (budgets + 1,)."""
        rows = [self._rows(run, budgets) for run in self.runs]
        aps, costs = (
            np.array([_picked(getattr(run, key), own) for run, own in zip(self.runs, rows, strict=True)])
            for key in ("aps", "costs")
        )
        if len(self.runs) > 1:
            return students_t(aps), costs.mean(axis=0)
        low, high = _picked(self.runs[0].intervals, rows[0]).T
        return Estimate(aps[0], low, high), costs[0]

    def resampled(self, budgets: Sequence[float]) -> np.ndarray | None:
        """Mean AP of the runs on the same resampled test images, (budgets + 1, resamples); None where not kept."""
        kept = [_picked(run.resampled, self._rows(run, budgets)) for run in self.runs if run.resampled is not None]
        if len(kept) < len(self.runs) or len({one.shape for one in kept}) > 1:
            return None
        return np.mean(kept, axis=0)

    def mean(self, figure: Callable[[FinishedRun], float]) -> float:
        """Of a figure of a run, over the runs."""
        return float(np.mean([figure(run) for run in self.runs]))

    @staticmethod
    def _rows(run: FinishedRun, budgets: Sequence[float]) -> list[int | None]:
        return [*(run.row_under(budget) for budget in budgets), len(run.rows) - 1]


def _picked(values: np.ndarray, rows: Sequence[int | None]) -> np.ndarray:
    """These rows of `values`, nan for None."""
    nothing = np.full(values.shape[1:], np.nan)
    return np.array([nothing if row is None else values[row] for row in rows])


def students_t(values: np.ndarray) -> Estimate:
    """Mean over the first axis of (runs, points), with its 95 % interval by Student's t; of two runs or more."""
    from scipy import stats  # late: it takes a second

    mean, n = values.mean(axis=0), len(values)
    half = stats.t.ppf((1 + SHARE) / 2, n - 1) * values.std(axis=0, ddof=1) / n**0.5
    return Estimate(mean, mean - half, mean + half)


def read_methods(given: Sequence[str]) -> tuple[list[Method], list[UnfinishedRunError]]:
    """Of arguments FOLDER, or NAME=FOLDER,FOLDER; each FOLDER one of a run or of a multirun. And the runs of multiruns
    that are left out because they are not finished.

    Without a name those of a multirun are a method each, or one where seeds alone differ. ConfigError for a name that
    is given twice, and for runs under a name that differ in more than their seeds.
    """
    methods: list[Method] = []
    unfinished: list[UnfinishedRunError] = []

    def read(places: Sequence[str]) -> list[FinishedRun]:
        found = [runs_of(Path(place)) for place in places]
        unfinished.extend(one for _, lacking in found for one in lacking)
        return [run for runs, _ in found for run in runs]

    for argument in given:
        name, equals, folders = argument.partition("=")
        if not equals or Path(argument).exists():
            methods += [Method(_own_name(own[0].folder), own) for own in _by_seed(read([argument]))]
            continue
        if not (name and folders):
            raise ConfigError(f"'{argument}' must be FOLDER or NAME=FOLDER,FOLDER", key="compare", given=argument)
        runs = read([folders] if Path(folders).exists() else folders.split(","))
        others = [one for one in differing(runs) if one.rpartition(".")[2] != SEED]
        if not only_seeds_differ(runs):
            raise ConfigError(
                f"the runs of {name} differ in {', '.join(others) or 'their spaces'}; one name, one method"
            )
        seeds = [run.said(SEED) for run in runs]
        if len(set(seeds)) < len(seeds):
            raise ConfigError(f"the runs of {name} have the seeds {seeds}; each must have another")
        methods.append(Method(name, runs))
    names = [method.name for method in methods]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"'{twice[0]}' is given twice; give each run once, as NAME=FOLDER where names are alike")
    return methods, unfinished


def _own_name(folder: Path) -> str:
    return folder.resolve().name


def _by_seed(runs: Sequence[FinishedRun]) -> list[list[FinishedRun]]:
    """Runs that differ by seed alone together, in the order given."""
    found: list[list[FinishedRun]] = []
    for run in runs:
        for own in found:
            if only_seeds_differ([own[0], run]) and run.said(SEED) not in [one.said(SEED) for one in own]:
                own.append(run)
                break
        else:
            found.append([run])
    return found
