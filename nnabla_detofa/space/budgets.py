"""FLOPs buckets (Section 3.1.1): intervals of equal width between the cheapest and the dearest path of 𝒜."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import ConfigError, SpaceError
from ..options import Whole
from .cost import CostModel
from .search_space import SearchSpace

ROUNDS = 32  # of draws until a bucket is held to have no other path


@dataclass(frozen=True, eq=False)
class Budgets:
    """Bucket b holds the costs from edges[b] to below edges[b + 1]; the last one also holds the largest cost."""

    edges: np.ndarray

    def __init__(self, edges: Iterable[float]) -> None:
        """`edges` (n + 1,), ascending."""
        array = np.array(tuple(edges), np.float64)
        if array.ndim != 1 or len(array) < 2 or not np.isfinite(array).all() or not (np.diff(array) > 0).all():
            raise ConfigError(f"the bucket edges are {array.tolist()}; they must be at least two ascending numbers")
        array.setflags(write=False)
        object.__setattr__(self, "edges", array)

    @classmethod
    def equal_width(cls, cost: CostModel, *, n: int = 5) -> "Budgets":
        """`n` buckets between the exact smallest and largest cost of the unpruned space; of OFA's for CompOFA*, which
        prunes that by hand, so that both are searched under the same budgets.
        """
        Whole().required("the number of buckets", n)
        cost = cost.whole()
        low, high = cost.range(cost.space)
        if low == high:
            raise SpaceError(f"every path costs {low:,.0f} {cost.unit}; buckets need paths of different cost")
        return cls(np.linspace(low, high, n + 1))

    def __len__(self) -> int:
        return len(self.edges) - 1

    def bucket(self, costs: np.ndarray) -> np.ndarray:
        """The bucket of each cost, int64; costs outside the edges belong to the first or the last bucket."""
        return np.searchsorted(self.edges[1:-1], costs, side="right")

    def range(self, bucket: int) -> tuple[float, float]:
        """(low, high) of a bucket for `SearchSpace.sample`, which takes low <= cost < high."""
        if bucket not in range(len(self)):
            raise ConfigError(f"bucket {bucket!r} does not exist; there are 0 to {len(self) - 1}")
        last = bucket == len(self) - 1
        return float(self.edges[bucket]), float(
            np.nextafter(self.edges[-1], np.inf) if last else self.edges[bucket + 1]
        )

    def counts(self, space: SearchSpace, cost: CostModel) -> list[int]:
        """How many paths of `space` each bucket holds."""
        return [space.count(cost, low=low, high=high) for low, high in map(self.range, range(len(self)))]

    def reachable(self, space: SearchSpace, cost: CostModel) -> list[int]:
        """The buckets that hold at least one path of `space`, proved by counting."""
        return [bucket for bucket, n in enumerate(self.counts(space, cost)) if n]

    def sample(
        self,
        space: SearchSpace,
        cost: CostModel,
        n: int,
        rng: np.random.Generator,
        buckets: Iterable[int] | None = None,
        *,
        distinct: bool = False,
    ) -> list[np.ndarray]:
        """`n` paths of `space` drawn uniformly from each of the `buckets`, or of all, in turn; (n, genes) int8 each.

        `distinct`: none twice, and so fewer from a bucket that holds fewer. SpaceError for a bucket that none reaches.
        """
        draw = partial(distinct_paths if distinct else SearchSpace.sample, space)
        ranges = map(self.range, range(len(self)) if buckets is None else buckets)
        return [draw(n, rng, cost=cost, low=low, high=high) for low, high in ranges]


def distinct_paths(space: SearchSpace, n: int, rng: np.random.Generator, **given: Any) -> np.ndarray:
    """`n` paths as `space.sample(n, rng, **given)` draws them, but without replacement: fewer where there are fewer, of
    which each is missed by a chance of about exp(-ROUNDS)."""
    drawn = space.sample(n, rng, **given)
    for _ in range(ROUNDS):
        first = np.sort(np.unique(drawn, axis=0, return_index=True)[1])
        if len(first) >= n:
            break
        drawn = np.concatenate([drawn[first], space.sample(n, rng, **given)])
    return drawn[first[:n]]
