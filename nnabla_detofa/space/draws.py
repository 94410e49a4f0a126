"""Distributions from which training draws its paths (Algorithm 1, lines 2 and 10): uniform, or something else first."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .structure import STEM_GENES
from .variation import draw_keys, settle

if TYPE_CHECKING:
    from .budgets import Budgets
    from .cost import CostModel
    from .search_space import SearchSpace

Draw = Callable[[int, np.random.Generator], np.ndarray]  # n and a generator to paths (n, genes)


def uniform(space: "SearchSpace", cost: "CostModel", budgets: "Budgets") -> Draw:  # noqa: ARG001
    """a ~ U(𝒜): every path of the space equally often."""
    return space.sample


def balanced(space: "SearchSpace", cost: "CostModel", budgets: "Budgets") -> Draw:
    """A bucket first, each that holds a path equally often, then each of its paths equally often (not in the paper).

    Of the paper's space, uniform draws reach the buckets in 3.8, 60.9, 33.8, 1.4 and 0.0 % of the steps, so the
    dearest paths stay as the initial weights made them.
    """
    ranges = [budgets.range(bucket) for bucket in budgets.reachable(space, cost)]

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        paths = np.empty((n, space.structure.n_genes), np.int8)
        chosen = rng.integers(len(ranges), size=n)
        for number, (low, high) in enumerate(ranges):
            members = np.flatnonzero(chosen == number)
            paths[members] = space.sample(len(members), rng, cost=cost, low=low, high=high)
        return paths

    return draw


def genes(space: "SearchSpace", cost: "CostModel", budgets: "Budgets") -> Draw:  # noqa: ARG001
    """Each stage's depth and width first, each pair equally often, then each block's expand: how OFA trains.

    Of the paper's space, uniform paths give a stage its largest depth nine times as often as its smallest, because nine
    times as many expands go with it; here they are as frequent.
    """
    structure, stems = space.structure, space.stem_rows
    pairs = [np.argwhere(space.allowed[stage, 0].any(axis=-1)) for stage in range(len(structure.stage_columns))]

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        paths = np.full((n, structure.n_genes), -1, np.int8)
        paths[:, :STEM_GENES] = stems[rng.integers(len(stems), size=n)]
        for columns, own in zip(structure.stage_columns, pairs, strict=True):
            paths[:, columns[:2]] = own[rng.integers(len(own), size=n)]
        return settle(space, paths, draw_keys(space, n, rng))

    return draw


PROPOSALS: dict[str, Callable[["SearchSpace", "CostModel", "Budgets"], Draw]] = {
    "uniform": uniform,
    "balanced": balanced,
    "genes": genes,
}
