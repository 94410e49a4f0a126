"""The tables a cost model sums up, one entry for each block and choice (Section 3.1.1)."""

from typing import NamedTuple, Protocol

import numpy as np

from ..errors import ConfigError
from .family import Family
from .masks import Masks, SegmentRows


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


class LayeredCost(Protocol):
    """A cost that is joined from tables of layers, as `CostModel` is."""

    layers: LayerCosts

    def require_family(self, family: Family) -> None:
        """SpaceError unless the cost is of that family."""


def checked(costs: LayerCosts) -> LayerCosts:
    """`costs` as float64 arrays; ConfigError where a value is no whole number that sums hold exactly."""
    tables = [np.asarray(table, np.float64) for table in (*costs.segments, costs.tail)]
    for table in tables:
        if not ((table == np.floor(table)) & (table >= 0) & (table < 2.0**48)).all():  # nan and inf fail too
            raise ConfigError("a table of costs must hold whole numbers from 0 to below 2**48: choose another unit")
    return LayerCosts(tuple(tables[:-1]), tables[-1], costs.join)


class SegmentTable:
    """Rows of genes gathered into groups of equal (width before, width after, cost)."""

    def __init__(self, rows: np.ndarray, start: np.ndarray, end: np.ndarray, cost: np.ndarray) -> None:
        order = np.lexsort((cost, end, start))
        start, end, cost = start[order], end[order], cost[order]
        new: np.ndarray = np.r_[True, (np.diff(start) != 0) | (np.diff(end) != 0) | (np.diff(cost) != 0)]
        self._rows, self._first = rows[order], np.flatnonzero(new)
        self.start: np.ndarray = start[new]
        self.end: np.ndarray = end[new]
        self.cost: np.ndarray = cost[new]
        self.count: np.ndarray = np.diff(np.r_[self._first, len(order)])

    def genes(self, group: np.ndarray, member: np.ndarray) -> list[np.ndarray]:
        return [self._rows[self._first[group] + member]]


def segment_tables(masks: Masks, costs: LayerCosts) -> list[SegmentTable]:
    """Each segment's rows after each leaf before it; the tail belongs to the last."""
    parts, last = [], len(masks.rows) - 1
    for segment, (one, rows) in enumerate(zip(masks.family.segments, masks.rows, strict=True)):
        cost, leaves = costs.rows(segment, rows), one.leaves[rows.context]
        cost = costs.join(cost, costs.tail[leaves]) if segment == last else cost
        n = len(cost)
        start = np.repeat(np.arange(n), len(leaves))
        parts.append(SegmentTable(np.tile(rows.genes, (n, 1)), start, np.tile(leaves, n), cost.ravel()))
    return parts
