"""What operation pruning may not destroy: complete paths in every stage, and the path buckets that were reachable."""

import numpy as np

from ..errors import SpaceError
from ..space import Budgets, CostModel, SearchSpace
from .strategies import Drop


def reachable_buckets(space: SearchSpace, cost: CostModel, budgets: Budgets) -> list[int]:
    """The buckets that hold at least one path of `space`, proved by counting."""
    return [b for b in range(len(budgets)) if _holds_path(space, cost, budgets, b)]


def _holds_path(space: SearchSpace, cost: CostModel, budgets: Budgets, bucket: int) -> bool:
    low, high = budgets.range(bucket)
    return space.count(cost, low=low, high=high) > 0


class Guards:
    """Says what dropping operations would destroy; dropping more never repairs, so a prefix can be found by halving."""

    def __init__(self, space: SearchSpace, cost: CostModel, budgets: Budgets) -> None:
        self._space, self._cost, self._budgets = space, cost, budgets
        self._reachable = reachable_buckets(space, cost, budgets)

    def harm(self, dropped: list[Drop]) -> str | None:
        """What would be lost without these operations; None where nothing would."""
        try:
            left = self._space.restrict(self._keep(dropped))
        except SpaceError as error:
            return str(error)
        for bucket in self._reachable:
            if not _holds_path(left, self._cost, self._budgets, bucket):
                return f"no path would be left in bucket {bucket}"
        return None

    def _keep(self, dropped: list[Drop]) -> np.ndarray:
        keep = np.ones(len(self._space.operations().stage), bool)
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
