"""Distributions from which training draws its paths (Algorithm 1, lines 2 and 10).

What they reach of the five buckets of the paper's space (384 px, 20 classes), in per cent of the draws:

    genes       14.1   69.9   15.6    .27    .0002    each choice equally often: as OFA and NNablaNAS train
    uniform      3.8   60.8   33.8   1.56    .0016    each path equally often
    balanced    20     20     20     20      20       each bucket equally often

A path of many blocks is one of many that differ in an expand alone, so what is uniform over paths prefers deep stages.
"""

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
    """Every path of the space equally often, and so the depths of a stage as often as there are expands for them."""
    return space.sample


def balanced(space: "SearchSpace", cost: "CostModel", budgets: "Budgets") -> Draw:
    """A bucket first, each that holds a path equally often, then each of its paths equally often (not in the paper).

    The other draws hardly ever reach the dearest paths, which stay as the initial weights made them.
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
    """Each choice equally often: the stem, a stage's depth and width, and then the expand of each of its blocks.

    This is a ~ U(𝒜) of the paper as its framework reads it. In the whole space all choices are independent. Of a space
    that lacks operations, a stage takes each pair of depth and width for which every block has an expand left equally
    often, and then each block each of the expands that are left to it under that pair: all of it stays inside the
    space, and nothing is drawn again.
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
