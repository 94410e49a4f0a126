"""DetOFA beside OFA that was trained for as long as all of DetOFA takes (an addition to Figure 5's equal epochs)."""

from collections.abc import Iterator, Mapping

import numpy as np

from nnabla_detofa.report.finished_runs import PRUNING, SAMPLING, FinishedRun

from .estimates import Runs, difference, estimate, shown, table
from .exhibits import Exhibit
from .fronts import HELD_OUT, OURS, TEST, Split, fronts

OFA, LONGER = "ofa", "ofa_longer"  # of as many epochs as DetOFA, and of what its cost buys, rounded up
Values = Mapping[int, np.ndarray]  # by seed


def fronts_at_equal_cost(runs: Runs, labels: Mapping[str, str]) -> Exhibit:
    """As `fronts`, with a table at equal cost where DetOFA and longer OFA have runs."""
    exhibit = fronts(runs, labels)
    if not {LONGER, OURS} <= {*runs}:
        return exhibit
    return exhibit._replace(lines=[*exhibit.lines, "", "Means of the budgets:", "", *table([*_rows(runs, labels)])])


def _rows(runs: Runs, labels: Mapping[str, str]) -> Iterator[list[str]]:
    """Costs of the trained supernets beside the mean AP of all budgets, and DetOFA's gain by pairs."""
    yield ["at equal cost", "seeds", "epochs", "cost in epochs", *(one.title for one in (TEST, HELD_OUT))]
    budgets = next(iter(runs[LONGER].values())).budgets
    means = [{method: _means(runs, method, split, budgets) for method in runs} for split in (TEST, HELD_OUT)]
    for method in (LONGER, OURS):
        own = [*runs[method].values()]
        cost = shown(*map(float, estimate([*map(_cost_in_epochs, own)])), digits=1)
        by_split = (shown(*map(float, estimate([*one[method].values()]))) for one in means)
        yield [labels[method], str(len(own)), "/".join(sorted({str(_epochs(run)) for run in own})), cost, *by_split]
    yield _gain(f"{labels[OURS]} minus {labels[LONGER]}", [difference(one[OURS], one[LONGER]) for one in means])
    between = [_between(runs, one) for one in means]
    if between[0]:
        name = f"{labels[OURS]} minus {labels[OFA]} of as many epochs, by a straight line between its two"
        yield _gain(name, [difference(one[OURS], line) for one, line in zip(means, between, strict=True)])


def _gain(name: str, gains: list) -> list[str]:
    by_pairs = (shown(*map(float, gain), sign="+") for gain, _ in gains)
    n = len(gains[0][1])
    return [name, f"{n} pair{'s' * (n != 1)}", "", "", *by_pairs]


def _means(runs: Runs, method: str, split: Split, budgets: list[float]) -> Values:
    return {seed: split.aps(run, budgets)[len(budgets)] for seed, run in runs[method].items()}


def _between(runs: Runs, means: Mapping[str, Values]) -> Values:
    """AP of OFA at what the run of DetOFA of each seed cost, between its shorter and its longer run of that seed."""
    found = {}
    for seed in sorted(runs.get(OFA, {}).keys() & runs[LONGER].keys() & runs[OURS].keys()):
        first, last = (_epochs(runs[method][seed]) for method in (OFA, LONGER))
        if last > first:
            share = (_cost_in_epochs(runs[OURS][seed]) - first) / (last - first)
            found[seed] = (1 - share) * means[OFA][seed] + share * means[LONGER][seed]
    return found


def _epochs(run: FinishedRun) -> int:
    return int(run.settings[f"{run.training[-1]}.epochs"][1])


def _cost_in_epochs(run: FinishedRun) -> float:
    """All stages up to the trained supernet, which a search takes over, in epochs of the run's own training: seconds
    are of whatever machine it ran on, and of what ran beside it."""
    return _epochs(run) * run.seconds_of([*SAMPLING, *PRUNING, *run.training]) / run.training_seconds
