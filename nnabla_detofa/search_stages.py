"""Search stages: the best path under each budget, and the AP of what was found (Sections 3.3 and 4.1)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .detection import interval, paired_difference
from .errors import SpaceError
from .search import Best, best_measured, contested, evolve, pareto_front
from .space import Score, SearchSpace
from .storage.files import read_json, write_array
from .supernet import load_weights
from .training import (
    HELD_OUT,
    STATISTICS,
    WEIGHTS,
    Assessed,
    Run,
    Taken,
    assessed,
    evaluation_work,
    figure_inputs,
    held_out_figures,
    preparer,
)

EVALUATED = "detectors.json"
WINNERS = "winners"  # the table of those that were measured
RESAMPLED = "resampled.npy"  # (detectors, resamples) float32: AP on the same resampled test images
LARGEST, LARGEST_LEFT = "largest path", "largest path of the pruned space"
BEFORE, ONLY = "before fine-tuning", "the only path"  # in its place where one path is trained alone

BY_EVALUATION = ("ap", "ap_interval", "ap_per_class", "on_front", "equal_to", "gain")


@dataclass(frozen=True)
class Detector:
    """A detector that a run found, as its files hold it.

    budget: that it was found under; None for the largest path, which has a `name` instead.
    flops, cost: of the path; `cost` where budgets are of another one, else None.
    score, bucket: of the path filter, and where it was searched; held_out_ap: what decided between buckets.
    path: a row of genes. Once it is evaluated:
    ap: on the test split, 0–1; ap_interval: its 95 % bootstrap interval; ap_per_class: None where nothing is of one.
    on_front: whether no other of the run's detectors dominates it.
    equal_to: rows, from 1 on and the largest path behind the found ones, whose paired difference in AP may be 0.
    gain: of AP by fine-tuning, its 95 % interval by pairs; None where there was no detector before it.
    """

    path: tuple[int, ...]
    flops: int
    cost: int | None = None
    name: str | None = None
    budget: float | None = None
    score: float | None = None
    bucket: int | None = None
    held_out_ap: float | None = None
    ap: float | None = None
    ap_interval: tuple[float, ...] | None = None
    ap_per_class: tuple[float | None, ...] | None = None
    on_front: bool | None = None
    equal_to: tuple[int, ...] | None = None
    gain: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: a found path has all but a name, the largest path no more than its name and what evaluation
        says; what is not known yet is left out."""
        given = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        found = {"budget", "score", "bucket", "held_out_ap"} if self.name is None else {"name"}
        known = {key for key in ("cost", *BY_EVALUATION) if given[key] is not None}
        return {key: value for key, value in given.items() if key in {"path", "flops", *found, *known}}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> "Detector":
        """The detector that `to_dict` described."""
        read: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in given.items()}
        return cls(**read)

    @property
    def own_cost(self) -> int:
        """The cost that budgets are of."""
        return self.flops if self.cost is None else self.cost

    @property
    def genes(self) -> np.ndarray:
        """The path, (genes,) int8."""
        return np.array(self.path, np.int8)


def priced(run: Run, path: np.ndarray, **known: Any) -> Detector:
    """A path as a detector with its costs."""
    cost = None if run.cost is run.flops else int(run.cost(path[None])[0])
    return Detector(path=tuple(path.tolist()), flops=int(run.flops(path[None])[0]), cost=cost, **known)


def limits(run: Run) -> list[float]:
    """The budgets to search under: those given, or the upper edge of each bucket that holds a path."""
    given = run.options.search.budgets
    if given is None:
        return run.budgets.edges[1:][run.budgets.reachable(run.space, run.cost)].tolist()
    return [float(budget) for budget in given]


def require_affordable(run: Run, pruned: SearchSpace) -> None:
    """SpaceError, before hours of fine-tuning, for a budget below the cheapest path that pruning left."""
    cheapest, least = run.cost.range(pruned)[0], min(limits(run))
    if least < cheapest and pruned != run.space:  # else the search says so
        raise SpaceError(
            f"search.budgets has {least:,.12g}; the cheapest path that pruning left costs {cheapest:,.12g}"
            f" {run.cost.unit}; raise the budget or prune less"
        )


def search(run: Run, space: SearchSpace, score: Score) -> list[Detector]:
    """For each budget the best path of at most that cost (Equation 2): every bucket's winner by score, of these the
    best by the run's metric on the held-out images. The test split takes no part in it."""
    under = limits(run)
    asked = contested(space, run.cost, under, run.budgets)
    options = run.options.search.evolution

    def winners(purpose: str, **changed: Any) -> list:
        own = {**options, **changed}
        return evolve(space, score, run.cost, asked, budgets=run.budgets, rng=run.rng(purpose), **own)

    def work() -> list[Detector]:
        with run.session.bar("search", total=options["generations"]) as step:
            found = winners("search", progress=step)
        return [_chosen(run, one) for one in best_measured(found, under, lambda p: held_out_figures(run, WINNERS, p))]

    def rehearsed() -> list[Detector]:
        first = winners("rehearsal", generations=0)  # says what is wrong with the options
        return [_chosen(run, Best(limit, one, np.nan)) for limit, one in zip(under, first, strict=False)]

    rows = run.stages.run(
        "search",
        {**options, "budgets": under, **figure_inputs(run, "valid")},
        run.folder.json(
            "search.json",
            lambda found: [one.to_dict() for one in found],
            lambda given: [Detector.from_dict(one) for one in given],
            f"{WINNERS}.csv",
        ),
        work,
        rehearsed=rehearsed,
        takes=evaluation_work(run, len(asked), "valid"),
    )
    run.say(f"search: {_how(run, rows)}")
    return rows


def _chosen(run: Run, best: Best) -> Detector:
    winner, figure = best.winner, None if np.isnan(best.figure) else best.figure
    own = {"score": winner.score, "bucket": winner.bucket, HELD_OUT: figure}
    return priced(run, winner.path, budget=best.limit, **own)


def _how(run: Run, found: Sequence[Detector]) -> str:
    """The way in which the search chose, in words."""
    if all(one.held_out_ap is None for one in found):
        return "the held-out images show no object, so scores alone chose, in each budget's own bucket"
    own = np.searchsorted(run.budgets.edges[1:-1], np.array([one.budget for one in found]))
    lower = np.count_nonzero(own > np.array([one.bucket for one in found]))
    images = len(run.data["valid"].dataset)
    return f"under {lower} of {len(found)} budgets the best path on {images:,} held-out images is of a lower bucket"


def only_detector(run: Run) -> Detector:
    """The detector of training one path, as if it were found: its own cost is its budget, no filter scores it."""
    path = run.model.largest
    cost = run.cost(path[None])
    return priced(run, path, budget=float(cost[0]), bucket=int(run.budgets.bucket(cost)[0]))


def evaluate(
    run: Run, space: SearchSpace, found: list[Detector], *, largest: np.ndarray, before: Assessed | None = None
) -> list[Detector]:
    """The found detectors, and behind them the `largest` path, with their AP on the test split; `before`: the figures
    of the only path before it was fine-tuned, which then stand in the last row."""
    name = LARGEST if space == run.space else LARGEST_LEFT
    if run.model.only is not None:
        name = ONLY if before is None else BEFORE
    detectors = [*found, priced(run, largest, name=name)]
    present = detectors if before is None else found
    alone = run.options.trains_one or run.model.only is not None
    measured = 1 if alone else len(present)  # the only path is the largest one, too

    def work() -> list[Detector]:
        distinct, place = np.unique([one.genes for one in present], axis=0, return_inverse=True)
        statistics = Taken(run)
        figures = assessed(run, "evaluate", distinct, statistics=statistics)
        statistics.write(distinct)
        figures = Assessed(*(column[place] for column in figures))
        if before is not None:
            figures = Assessed(*map(np.concatenate, zip(figures, before, strict=True)))
        if run.folder.writes:
            write_array(run.folder / RESAMPLED, figures.resampled.astype(np.float32))
        rows = rated(detectors, run.cost(np.array([one.path for one in detectors], np.int8)), figures)
        return rows if before is None else [replace(rows[0], gain=(*paired_difference(*figures.resampled),)), rows[1]]

    return run.stages.run(
        "evaluate",
        {**figure_inputs(run, "test"), "cost": run.cost_inputs},
        run.folder.json(EVALUATED, _as_rows, evaluated, RESAMPLED, STATISTICS),
        work,
        rehearsed=lambda: detectors,
        takes=evaluation_work(run, measured),
    )


def rated(detectors: Sequence[Detector], costs: np.ndarray, found: Assessed) -> list[Detector]:
    """Detectors with all that evaluation says of them; `costs` (n,), and as many rows of `found`."""
    aps, front = found.figure.tolist(), pareto_front(costs, found.figure)
    return [
        replace(
            one,
            ap=aps[i],
            ap_interval=(*interval(found.resampled[i], about=aps[i]),),
            ap_per_class=tuple(None if np.isnan(ap) else ap for ap in found.per_class[i].tolist()),
            on_front=i in front,
            equal_to=(*equals(found.resampled, i),),
        )
        for i, one in enumerate(detectors)
    ]


def equals(resampled: np.ndarray, i: int) -> list[int]:
    """Numbers, from 1 on, of the other rows that the i-th cannot be told from on the same resampled images."""
    alike = paired_difference(resampled[i], resampled).holds(0)
    return [j + 1 for j in np.flatnonzero(alike).tolist() if j != i]


def _as_rows(detectors: list[Detector]) -> dict[str, Any]:
    *pareto, last = [one.to_dict() for one in detectors]
    return {"pareto": pareto, "largest": last}


def evaluated(given: dict[str, Any]) -> list[Detector]:
    """The detectors of EVALUATED: those found, and behind them the largest path."""
    return [Detector.from_dict(one) for one in (*given["pareto"], given["largest"])]


def estimate_statistics(run: Run) -> None:
    """STATISTICS of a finished run whose evaluation did not keep them, from the images that it took."""
    load_weights(run.model, run.folder / WEIGHTS)
    distinct = np.unique([one.genes for one in evaluated(read_json(run.folder / EVALUATED))], axis=0)
    prepare, statistics = preparer(run).prepare, Taken(run)
    for path in run.session.progress(distinct[run.processes.rank :: run.processes.n], "statistics"):
        prepare(path)
        statistics.take(path)
    statistics.write(distinct)
