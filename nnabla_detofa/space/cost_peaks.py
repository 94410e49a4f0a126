"""Paths within a range of a cost that is the largest of its parts, as peak memory, of a space too large for halves.

A path is in the range where no segment reaches its end and some segment reaches its beginning: completions are counted
by whether one has, exactly, and drawn by those counts.
"""

from typing import NamedTuple

import numpy as np

from ..errors import SpaceError
from .exact_draws import as_ways, drawn
from .layer_costs import LayerCosts, segment_tables
from .masks import Masks


class _Groups(NamedTuple):
    """The groups of a segment's table that stay below the end of a range.

    number: in the table. reaches: whether its beginning is reached. rows: of genes.
    """

    number: np.ndarray
    start: np.ndarray
    end: np.ndarray
    reaches: np.ndarray
    rows: np.ndarray


class PathsByPeak:
    """The paths of one space of costs that are the largest of their parts; see `SearchSpace.sample` and `.count`."""

    def __init__(self, masks: Masks, costs: LayerCosts) -> None:
        self._masks, self._parts = masks, segment_tables(masks, costs)

    def _within(self, low: float, high: float) -> tuple[list[_Groups], list[np.ndarray]]:
        """Groups of each segment; and for each, and behind the last, the ways to go on from a leaf before it,
        (2 · leaves): those where the beginning is still to be reached, then those where it has been."""
        groups = []
        for part in self._parts:
            below = np.flatnonzero(part.cost < high)
            groups.append(
                _Groups(below, part.start[below], part.end[below], part.cost[below] >= low, part.count[below])
            )
        n_leaves = [int(part.start.max()) + 1 for part in self._parts] + [int(self._parts[-1].end.max()) + 1]
        ways = [np.array([0] * n_leaves[-1] + [1] * n_leaves[-1], object)]
        for one, n_before, n_after in zip(groups[::-1], n_leaves[-2::-1], n_leaves[:0:-1], strict=True):
            before = np.zeros(2 * n_before, object)
            for reached in (0, 1):
                on = one.rows * ways[-1][one.end + n_after * (one.reaches | (reached == 1))]
                np.add.at(before, one.start + n_before * reached, on)
            ways.append(before)
        return groups, [as_ways(one) for one in ways[::-1]]

    def count(self, low: float, high: float) -> int:
        """The exact number of paths with low <= cost < high."""
        return int(self._within(low, high)[1][0][0])

    def sample(self, n: int, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
        """`n` paths exactly uniform over low <= cost < high, (n, genes); SpaceError where there is none."""
        groups, ways = self._within(low, high)
        if not ways[0][0]:
            raise SpaceError(f"no path costs from {low:,.12g} to below {high:,.12g}")
        leaf, reached, genes = np.zeros(n, np.intp), np.zeros(n, bool), []
        for part, one, before, after in zip(self._parts, groups, ways, ways[1:], strict=False):
            n_before, n_after, state = len(before) // 2, len(after) // 2, np.arange(len(before))[:, None]
            goes = one.end + n_after * (one.reaches | (state >= n_before))
            on = np.where(one.start == state % n_before, after[goes].astype(np.result_type(before, after)), 0)
            move = drawn(one.rows * on, leaf + n_before * reached, rng)
            genes += part.genes(one.number[move], rng.integers(one.rows[move]))
            leaf, reached = one.end[move], reached | one.reaches[move]
        return self._masks.assemble(genes)
