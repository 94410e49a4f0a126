"""Children of the fittest paths that keep to their range of cost (section 3.3)."""

from collections.abc import Callable

import numpy as np

from .protocols import Cost, Space

Known = Callable[[np.ndarray, np.ndarray], np.ndarray]  # paths (n, genes), their searches (n,) -> (n,) bool

TRIES = (1, 4, 16)  # candidates for a child, round by round, before it is drawn from the space instead


class Offspring:
    """Populations of several searches at once, (searches, population, genes), each within its range of cost.

    Parameters:
        ranges: (searches, 2), low <= cost < high.
        probability: of each gene of a mutated parent to be redrawn.
        mutation_ratio: share of the children that are mutated parents; the others are crosses of two.
    """

    def __init__(
        self,
        space: Space,
        cost: Cost,
        ranges: np.ndarray,
        rng: np.random.Generator,
        *,
        probability: float,
        mutation_ratio: float,
    ) -> None:
        self._space, self._cost, self._rng = space, cost, rng
        self._low, self._high = np.asarray(ranges, np.float64).T
        self._probability, self._mutation_ratio = probability, mutation_ratio

    def founders(self, n: int) -> np.ndarray:
        """`n` paths of each range, drawn from the space."""
        return np.stack([self._draw(search, n) for search in range(len(self._low))])

    def children(self, parents: np.ndarray, n: int, known: Known) -> np.ndarray:
        """`n` children for each search of `parents` (searches, parents, genes).

        One that misses its range, or that is `known` already, is made again from other parents, more at once in each
        round of `TRIES`, and after the last drawn from the space: a narrow range costs draws, never an endless loop.
        """
        searches, _, genes = parents.shape
        children = np.empty((searches * n, genes), parents.dtype)
        search = np.repeat(np.arange(searches), n)
        mutated = np.tile(np.arange(n) < round(self._mutation_ratio * n), searches)
        waiting = np.arange(len(children))
        for tries in TRIES:
            rows = np.repeat(waiting, tries)
            own = search[rows]
            made = self._offspring(parents, own, mutated[rows])
            costs = self._cost(made)
            fit = (costs >= self._low[own]) & (costs < self._high[own]) & ~known(made, own)
            children[rows[fit]] = made[fit]
            waiting = np.setdiff1d(waiting, rows[fit])
            if not len(waiting):
                break
        for one in np.unique(search[waiting]):
            rows = waiting[search[waiting] == one]
            children[rows] = self._draw(one, len(rows))
        return children.reshape(searches, n, genes)

    def _offspring(self, parents: np.ndarray, search: np.ndarray, mutated: np.ndarray) -> np.ndarray:
        """One child for each entry of `search`, of random parents of that search."""
        pair = parents[search, self._rng.integers(parents.shape[1], size=(2, len(search)))]
        made = np.empty_like(pair[0])
        made[mutated] = self._space.mutate(pair[0][mutated], self._rng, self._probability)
        made[~mutated] = self._space.crossover(pair[0][~mutated], pair[1][~mutated], self._rng)
        return made

    def _draw(self, search: int, n: int) -> np.ndarray:
        low, high = float(self._low[search]), float(self._high[search])
        return self._space.sample(n, self._rng, cost=self._cost, low=low, high=high)
