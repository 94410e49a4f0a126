"""The tables a cost model sums up, one entry for each block and choice (Section 3.1.1)."""

from typing import NamedTuple

import numpy as np

from ..errors import ConfigError
from .family import Family
from .masks import SegmentRows


class LayerCosts(NamedTuple):
    """The cost of each block by its choice, in whole numbers of one unit (MACs, weights, bytes, nanoseconds).

    segments: for each segment (leaves before, contexts, blocks, choices), one leaf before the first.
    tail: of all that follows the last segment, by its leaves.
    join: makes the cost of two parts that of both: np.add, or np.maximum where the layers take turns, as in memory.
    """

    segments: tuple[np.ndarray, ...]
    tail: np.ndarray
    join: np.ufunc = np.add

    def rows(self, segment: int, rows: SegmentRows) -> np.ndarray:
        """Cost of each row of a segment's genes after each leaf before it, (leaves, m)."""
        table = self.segments[segment]
        cost = table[:, rows.context, 0, rows.choice[:, 0]]
        for block in range(1, table.shape[2]):
            choice = rows.choice[:, block]
            self.join(cost, np.where(choice >= 0, table[:, rows.context, block, choice], 0), out=cost)
        return cost

    def lack(self, limit: float, cost: np.ndarray) -> np.ndarray:
        """The least that another part has to cost so that it and one of `cost` together reach `limit`; as `cost`."""
        return limit - cost if self.join is np.add else np.where(cost < limit, limit, -np.inf)


def checked(costs: LayerCosts, family: Family) -> LayerCosts:
    """`costs` as float64 arrays; ConfigError where a shape or a value does not fit."""
    if costs.join not in (np.add, np.maximum):
        raise ConfigError(key="the join of cost tables", given=costs.join, allowed="np.add or np.maximum")
    segments = family.segments
    if len(costs.segments) != len(segments):
        raise ConfigError(key="the number of cost tables", given=len(costs.segments), allowed=str(len(segments)))
    before = (1, *(one.n_leaves for one in segments))
    shapes = [(n, len(one.contexts), one.n_blocks, len(one.choices)) for n, one in zip(before, segments, strict=False)]
    tables = zip((one.name for one in segments), costs.segments, shapes, strict=True)
    return LayerCosts(
        tuple(_table(*table) for table in tables), _table("the tail", costs.tail, before[-1:]), costs.join
    )


def _table(name: str, given: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    table = np.asarray(given, np.float64)
    if table.shape != shape:
        raise ConfigError(key=f"the shape of the cost table of {name}", given=table.shape, allowed=str(shape))
    if not ((table == np.floor(table)) & (table >= 0) & (table < 2.0**48)).all():  # nan and inf fail too
        raise ConfigError(
            f"the cost table of {name} must hold whole numbers from 0 to below 2**48: choose another unit"
        )
    return table
