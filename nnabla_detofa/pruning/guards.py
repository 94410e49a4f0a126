"""Guards of operation pruning: a complete path in every stage, and every bucket that was reachable (Section 3.2)."""

import numpy as np

from ..errors import SpaceError
from ..space import Budgets, CostModel, SearchSpace
from .strategies import Drop


class Guards:
    """Says what dropping operations would destroy; dropping more never repairs, so a prefix can be found by halving."""

    def __init__(self, space: SearchSpace, cost: CostModel, budgets: Budgets) -> None:
        self._space, self._cost, self._budgets = space, cost, budgets
        self._reachable = budgets.reachable(space, cost)

    def harm(self, dropped: list[Drop]) -> str | None:
        """The loss if these operations went, in words; None where there is none."""
        try:
            left = self._space.restrict(self._keep(dropped))
        except SpaceError as error:
            return str(error)
        lost = set(self._reachable) - set(self._budgets.reachable(left, self._cost))
        return f"no path would be left in bucket {min(lost)}" if lost else None

    def _keep(self, dropped: list[Drop]) -> np.ndarray:
        keep = np.ones(self._space.n_operations, bool)
        keep[[drop.number for drop in dropped]] = False
        return keep

    def admit(self, drops: list[Drop]) -> tuple[SearchSpace, list[Drop], list[Drop]]:
        """Drop one after the other, in the given order, what does no harm.

        Returns the space that is left, the dropped operations, and the kept ones with the harm as their reason.
        """
        admitted: list[Drop] = []
        kept: list[Drop] = []
        rest = drops
        while self.harm(admitted + rest):
            harmless, harmful = 0, len(rest)
            while harmful - harmless > 1:
                middle = (harmless + harmful) // 2
                if self.harm(admitted + rest[:middle]):
                    harmful = middle
                else:
                    harmless = middle
            kept.append(Drop(rest[harmless].number, f"kept: {self.harm(admitted + rest[:harmful])}"))
            admitted, rest = admitted + rest[:harmless], rest[harmful:]
        admitted += rest
        return self._space.restrict(self._keep(admitted)), admitted, kept
