"""Distributions from which training draws its paths (Algorithm 1, lines 2 and 10).

What they reach of the five buckets of the paper's space (384 px, 20 classes), in per cent of the draws:

    genes       14.1   69.9   15.6    .27    .0002    each choice equally often: as OFA and NNablaNAS train
    uniform      3.8   60.8   33.8   1.56    .0016    each path equally often
    balanced    20     20     20     20      20       each bucket equally often

A path of many blocks is one of many that differ in an expand alone, so what is uniform over paths prefers deep stages.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from .budgets import Budgets
from .cost import CostModel
from .search_space import SearchSpace
from .variation_operators import draw_keys, settle

Draw = Callable[[int, np.random.Generator], np.ndarray]  # n and a generator to paths (n, genes)


class DrawnPaths:
    """Paths one by one that are drawn in batches, which costs less."""

    def __init__(self, draw: Draw, rng: np.random.Generator, *, batch: int = 64):
        self._draw, self._rng, self._batch = draw, rng, batch
        self._queue = np.empty((0, 0), np.int8)

    def next(self) -> np.ndarray:
        """The next path, (genes,) int8."""
        if not len(self._queue):
            self._queue = self._refill()
        path, self._queue = self._queue[0], self._queue[1:]
        return path

    def _refill(self) -> np.ndarray:
        """The next paths, at least one."""
        return self._draw(self._batch, self._rng)

    def state(self) -> dict[str, Any]:
        """State from which a resumed run goes on with the same paths, as JSON holds it."""
        return {"queue": self._queue.tolist(), "rng": self._rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._queue = np.array(state["queue"], np.int8)
        self._rng.bit_generator.state = state["rng"]


def uniform(space: SearchSpace, cost: CostModel, budgets: Budgets) -> Draw:  # noqa: ARG001
    """Every path of the space equally often, and so the depths of a stage as often as there are expands for them."""
    return space.sample


def balanced(space: SearchSpace, cost: CostModel, budgets: Budgets) -> Draw:
    """A bucket first, each that holds a path equally often, then each of its paths equally often (not in the paper).

    The other draws hardly ever reach the dearest paths, which stay as the initial weights made them.
    """
    ranges = [budgets.range(bucket) for bucket in budgets.reachable(space, cost)]

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        paths = np.empty((n, space.family.n_genes), np.int8)
        chosen = rng.integers(len(ranges), size=n)
        for number, (low, high) in enumerate(ranges):
            members = np.flatnonzero(chosen == number)
            paths[members] = space.sample(len(members), rng, cost=cost, low=low, high=high)
        return paths

    return draw


def genes(space: SearchSpace, cost: CostModel, budgets: Budgets) -> Draw:  # noqa: ARG001
    """Each choice equally often: the stem, a stage's depth and width, and then the expand of each of its blocks.

    This is a ~ U(𝒜) of the paper as its framework reads it. In the whole space all choices are independent. Of a space
    that lacks operations, a stage takes each context for which every block has a choice left equally often, and then
    each block each of the choices that are left to it there: all of it stays inside the space, and nothing is drawn
    again.
    """
    family, masks = space.family, space.masks
    contexts = [one.contexts[own] for one, own in zip(family.segments, masks.contexts, strict=True)]

    def draw(n: int, rng: np.random.Generator) -> np.ndarray:
        paths = np.full((n, family.n_genes), -1, np.int8)
        for columns, own in zip(family.own_columns, contexts, strict=True):
            paths[:, columns] = own[rng.integers(len(own), size=n)]
        return settle(masks, paths, draw_keys(masks, n, rng))

    return draw


PROPOSALS: dict[str, Callable[[SearchSpace, CostModel, Budgets], Draw]] = {
    "uniform": uniform,
    "balanced": balanced,
    "genes": genes,
}
