"""The search needs no `SearchSpace`: a table of measured paths will do."""

import itertools

import numpy as np

from nnabla_detofa.errors import SpaceError
from nnabla_detofa.search import evolve
from nnabla_detofa.space import Budgets


class Table:
    """Chains of six layers with three choices each, every one with a cost and a worth."""

    def __init__(self):
        self.paths = np.array(list(itertools.product(range(3), repeat=6)), np.int8)
        rng = np.random.default_rng(0)
        self.costs = 100.0 + self.paths @ rng.integers(1, 30, 6)
        self.worth = rng.standard_normal(len(self.paths))  # nothing to climb: only meeting every path finds the best

    def index(self, paths):
        return paths.astype(int) @ 3 ** np.arange(5, -1, -1)

    def sample(self, n, rng, *, cost, low, high):  # noqa: ARG002
        inside = np.flatnonzero((self.costs >= low) & (self.costs < high))
        if not len(inside):
            raise SpaceError("no path in the table")
        return self.paths[rng.choice(inside, n)]

    def mutate(self, paths, rng, probability):
        return np.where(rng.random(paths.shape) < probability, rng.integers(0, 3, paths.shape, np.int8), paths)

    def crossover(self, first, second, rng):
        return np.where(rng.random(first.shape) < 0.5, first, second)

    def range(self, space):  # noqa: ARG002
        return self.costs.min(), self.costs.max()

    def __call__(self, paths):
        return self.costs[self.index(paths)]


def test_a_table_is_searched_without_regret():
    table = Table()
    budgets = Budgets(np.linspace(table.costs.min(), table.costs.max(), 6))
    results = evolve(
        table,
        lambda paths: table.worth[table.index(paths)],
        table,
        budgets.edges[1:],
        budgets=budgets,
        rng=np.random.default_rng(0),
        generations=100,
        population=50,
    )
    for found in results:
        low, high = budgets.range(found.bucket)
        inside = (table.costs >= low) & (table.costs < high)
        assert found.score == table.worth[inside].max()
        assert found.evaluations == inside.sum()
