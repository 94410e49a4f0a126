"""The best path under each budget by evolution (section 3.3): all budgets in one search, scores from a callable."""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import numpy as np

from ..errors import ConfigError, SpaceError
from ..options import Number, Whole, checked, share
from ..space import Budgets, Score
from .offspring import Offspring
from .protocols import Cost, Space
from .score_cache import ScoreCache


class Found(NamedTuple):
    """The best path that a search met under one budget.

    limit: the budget τ. bucket: where it was searched, that of τ or a lower one where τ's has no path of at most τ.
    path: (genes,). cost, score: the path's.
    evaluations: distinct paths met in that search; one that two searches share is counted for both, scored once.
    history: best score before the first and after each generation, (generations + 1,).
    """

    limit: float
    bucket: int
    path: np.ndarray
    cost: float
    score: float
    evaluations: int
    history: np.ndarray


@checked("search", "budgets", "rng", "progress")
def evolve(
    space: Space,
    score: Score,
    cost: Cost,
    limits: Sequence[float],
    *,
    budgets: Budgets,
    rng: np.random.Generator,
    generations: Annotated[int, Whole(least=0)] = 500,
    population: Annotated[int, Whole(least=2)] = 100,
    parent_ratio: Annotated[float, Number(above=0, most=1)] = 0.25,
    mutation_probability: Annotated[float, share()] = 0.1,
    mutation_ratio: Annotated[float, share()] = 0.5,
    progress: Callable[[int], None] | None = None,
) -> list[Found]:
    """For each limit τ the path of best score among those in the bucket of τ that cost at most τ (Eq. 2).

    Where there is none, between a bucket's edge and its first path, the next bucket below that holds one is searched.
    Limits that allow the same part of the same bucket share one search, and so its result.

    Each generation keeps the best `parent_ratio` of a population, no path twice, and fills it up with their children.
    `score` is called at most once a generation, for the new paths of all searches together.

    Parameters:
        score: paths (n, genes) to scores (n,), higher is better; only scores of one bucket are compared.
        limits: in the unit of `cost`; one on the edge of two buckets belongs to the lower.
        mutation_probability: of each gene of a mutated parent to be redrawn.
        mutation_ratio: share of the children that are mutated parents; the others are crosses of two.
        progress: called with the number of each finished generation, from 0.

    Raises:
        ConfigError: options that make no search.
        SpaceError: a limit below the cheapest path; names its cost.
    """
    places = [_place(space, cost, budgets, limit, rng) for limit in limits]
    if not places:
        raise ConfigError("limits is empty: give the search at least one budget")
    ranges, searches = np.unique([place[1:] for place in places], axis=0, return_inverse=True)
    offspring = Offspring(space, cost, ranges, rng, probability=mutation_probability, mutation_ratio=mutation_ratio)
    cache = ScoreCache(score, searches=len(ranges))
    n_parents = min(max(round(parent_ratio * population), 1), population - 1)
    paths, history = offspring.founders(population), []
    for generation in range(generations + 1):  # the founders, then the generations
        if generation:
            children = offspring.children(paths, population - n_parents, cache.knows)
            paths = np.concatenate([paths, children], axis=1)
        numbers = cache(paths)
        fittest = _fittest(numbers, cache.scores)[:, :n_parents]
        paths = np.take_along_axis(paths, fittest[:, :, None], axis=1)
        history.append(cache.scores[np.take_along_axis(numbers, fittest[:, :1], axis=1)[:, 0]])
        if generation and progress is not None:
            progress(generation - 1)
    best, curves = paths[:, 0], np.transpose(history)
    costs, evaluations = cost(best), cache.met
    return [
        Found(float(limit), bucket, best[one], float(costs[one]), float(curves[one, -1]), evaluations[one], curves[one])
        for limit, (bucket, *_), one in zip(limits, places, searches, strict=True)
    ]


def _place(
    space: Space, cost: Cost, budgets: Budgets, limit: float, rng: np.random.Generator
) -> tuple[int, float, float]:
    """Where to search under a limit: the highest bucket that holds a path of at most `limit`, and (low, high) of the
    costs that are meant there, low <= cost < high. A limit on the edge of two buckets belongs to the lower."""
    cheapest, _ = cost.range(space)
    if not limit >= cheapest:
        amount = f"{cheapest:,.12g} {getattr(cost, 'unit', '')}".rstrip()
        raise SpaceError(f"no path costs at most {limit:,.12g}; the cheapest path of this space costs {amount}")
    bucket = int(np.searchsorted(budgets.edges[1:-1], limit, side="left"))
    while True:
        low, high = budgets.range(bucket)
        high = min(high, float(np.nextafter(limit, np.inf)))
        try:
            space.sample(1, rng, cost=cost, low=low, high=high)  # a draw proves that there is a path
        except SpaceError:
            if not bucket:
                raise
            bucket -= 1
        else:
            return bucket, low, high


def _fittest(numbers: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Positions (searches, population) in the order of their scores, best first, repeated paths last."""
    order = np.lexsort((numbers, -scores[numbers]))
    ordered = np.take_along_axis(numbers, order, axis=1)
    repeated = np.pad(ordered[:, 1:] == ordered[:, :-1], ((0, 0), (1, 0)))
    return np.take_along_axis(order, np.argsort(repeated, axis=1, kind="stable"), axis=1)
