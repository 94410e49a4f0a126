"""Search stages: the best path under each budget, and the AP of what was found (Sections 3.3 and 4.1)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .errors import SpaceError
from .filter_stages import Score
from .search import Best, best_measured, contested, evolve
from .space import SearchSpace
from .training import HELD_OUT, Run, evaluation_work, figure_inputs, figures, held_out_figures

WINNERS = "winners"  # the table of those that were measured
LARGEST, LARGEST_LEFT = "largest path", "largest path of the pruned space"


@dataclass(frozen=True)
class Detector:
    """A detector that a run found, as its files hold it.

    budget: that it was found under; None for the largest path, which has a `name` instead.
    flops, cost: of the path; `cost` where budgets are of another one, else None.
    score, bucket: of the path filter, and where it was searched; held_out_ap: what decided between buckets.
    path: a row of genes. ap: on the test split, 0–1, once it is evaluated.
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

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: a found path has all but a name, the largest path has no more than its name and AP; what is
        not known yet is left out."""
        given = {**asdict(self), "path": list(self.path)}
        found = {"budget", "score", "bucket", "held_out_ap"} if self.name is None else {"name"}
        known = {key for key in ("cost", "ap") if given[key] is not None}
        return {key: value for key, value in given.items() if key in {"path", "flops", *found, *known}}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> "Detector":
        """What `to_dict` gave."""
        return cls(**{**given, "path": tuple(given["path"])})

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
    """How the search chose, in words."""
    if all(one.held_out_ap is None for one in found):
        return "the held-out images show no object, so scores alone chose, in each budget's own bucket"
    own = np.searchsorted(run.budgets.edges[1:-1], np.array([one.budget for one in found]))
    lower = np.count_nonzero(own > np.array([one.bucket for one in found]))
    images = len(run.data["valid"].dataset)
    return f"under {lower} of {len(found)} budgets the best path on {images:,} held-out images is of a lower bucket"


def only_detector(run: Run) -> Detector:
    """What full-network training leaves, as if it were found: its own cost is its budget, no filter scores it."""
    path = run.space.largest()
    cost = run.cost(path[None])
    return priced(run, path, budget=float(cost[0]), bucket=int(run.budgets.bucket(cost)[0]))


def evaluate(run: Run, space: SearchSpace, found: list[Detector], *, largest: np.ndarray) -> list[Detector]:
    """The found detectors, and behind them the `largest` path, with their AP on the test split."""
    name = LARGEST if space == run.space else LARGEST_LEFT
    detectors = [*found, priced(run, largest, name=name)]

    def work() -> list[Detector]:
        distinct, place = np.unique([one.genes for one in detectors], axis=0, return_inverse=True)
        aps = figures(run, "evaluate", distinct)[place].tolist()
        return [replace(one, ap=ap) for one, ap in zip(detectors, aps, strict=True)]

    def encode(rows: list[Detector]) -> dict:
        *pareto, last = [one.to_dict() for one in rows]
        return {"pareto": pareto, "largest": last}

    def decode(given: dict) -> list[Detector]:
        return [Detector.from_dict(one) for one in (*given["pareto"], given["largest"])]

    return run.stages.run(
        "evaluate",
        {**figure_inputs(run, "test"), "cost": run.cost_inputs},
        run.folder.json("detectors.json", encode, decode),
        work,
        rehearsed=lambda: detectors,
        takes=evaluation_work(run, len(detectors)),
    )
