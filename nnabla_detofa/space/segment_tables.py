"""The rows of each segment, gathered by what they cost: what draws within a range of cost are made of."""

import numpy as np

from .layer_costs import LayerCosts
from .masks import Masks


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
