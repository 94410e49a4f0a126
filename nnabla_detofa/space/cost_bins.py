"""Paths within a cost range of a space too large for halves: dynamic programming over segments, the cost in fine bins.

A segment's cost above its least is cut down to whole bins, so that a path's bins, added up, tell its cost to within one
bin a segment. Completions are counted by bin, exactly; a range's bins are drawn from by those counts, and the few paths
that miss the range are drawn again: exactly uniform.
"""

from typing import NamedTuple

import numpy as np

from ..errors import SpaceError
from .exact_draws import LARGE, as_ways, drawn
from .layer_costs import LayerCosts, SegmentTable, segment_tables
from .masks import Masks

BINS = 1 << 12  # between the least and the largest cost
MOST_MISSES = 10_000  # in a row, before a range counts as empty
AT_ONCE = 1 << 16  # draws
MOST_WAYS = 1 << 24  # numbers in a table of theirs: fewer draws at once where it would be larger


class _Moves(NamedTuple):
    """The groups of a segment's table gathered by (start, end, bins), in that order.

    rows, skipped: number of rows of genes, and of all before them. until: for each group of the table its rows and
    those of all before it.
    """

    start: np.ndarray
    end: np.ndarray
    bins: np.ndarray
    rows: np.ndarray
    skipped: np.ndarray
    until: np.ndarray

    @classmethod
    def of(cls, part: SegmentTable, bins: np.ndarray) -> "_Moves":
        keys = np.stack([part.start, part.end, bins])
        first = np.flatnonzero(np.r_[True, (np.diff(keys) != 0).any(axis=0)])
        rows = np.add.reduceat(part.count, first)
        start, end, its_bins = keys[:, first]
        return cls(start, end, its_bins, rows, np.cumsum(rows) - rows, np.cumsum(part.count))


class PathsByBins:
    """The paths of one space of costs that are sums, in bins of one cost; see `SearchSpace.sample` and `.count`."""

    def __init__(self, masks: Masks, costs: LayerCosts) -> None:
        self._masks, self._parts = masks, segment_tables(masks, costs)
        least = [int(part.cost.min()) for part in self._parts]
        span = sum(int(part.cost.max()) for part in self._parts) - sum(least)
        self._offset, self._width = sum(least), max(1, -(-span // BINS))
        each = zip(self._parts, least, strict=True)
        self._moves = [_Moves.of(one, (one.cost.astype(np.int64) - low) // self._width) for one, low in each]
        self._at_once = max(1, min(AT_ONCE, MOST_WAYS // max(len(one.rows) for one in self._moves)))
        self._slack = len(self._parts) * (self._width - 1)  # a path costs at most this more than its bins
        self._ways = self._completions(-(-(masks.size().bit_length() + 1) // 8))

    def _completions(self, n_bytes: int) -> list[np.ndarray]:
        """For each segment, and behind the last, the number of ways to go on from a leaf before it that make so many
        bins: (leaves, BINS + 1). Rows are convolved as integers of `n_bytes` a digit."""
        after, found = [1] * int(self._parts[-1].end.max() + 1), []
        for moves in (*self._moves[::-1], None):
            digits = (one.to_bytes((BINS + 1) * n_bytes, "little") for one in after)
            ways = [[int.from_bytes(d[i : i + n_bytes], "little") for i in range(0, len(d), n_bytes)] for d in digits]
            found.append(as_ways(np.array(ways, object)))
            if moves is None:
                break
            before = [0] * int(moves.start.max() + 1)
            for start, end in np.unique([moves.start, moves.end], axis=1).T:
                member = (moves.start == start) & (moves.end == end)
                before[start] += _packed(moves.bins[member], moves.rows[member], n_bytes) * after[end]
            after = before
        return found[::-1]

    def _inside(self, low: float, high: float, *, surely: bool) -> np.ndarray:
        """The bins that paths of the range can be in, or that no others are in; those that hold a path."""
        low, high = low - self._offset, high - self._offset
        ends = np.arange(BINS + 1) * self._width
        inside = (ends + (0 if surely else self._slack) >= low) & (ends + (self._slack if surely else 0) < high)
        return np.flatnonzero(inside & (self._ways[0][0] > 0).astype(bool))

    def count(self, low: float, high: float) -> int:
        """The paths with low <= cost < high but those of the bins that `low` and `high` cut; exact for whole spaces and
        where a bin is one unit of cost. 0 where none was found."""
        bins = self._inside(low, high, surely=True)
        return sum(self._ways[0][0][bins].tolist()) or len(self._drawn(1, np.random.default_rng(0), low, high)[0])

    def sample(self, n: int, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
        """`n` paths exactly uniform over low <= cost < high, (n, genes); SpaceError where none is found."""
        found = self._drawn(n, rng, low, high)
        if len(found[0]) < n:
            raise SpaceError(f"no path was found that costs from {low:,.12g} to below {high:,.12g}")
        return self._masks.assemble(found)

    def _drawn(self, n: int, rng: np.random.Generator, low: float, high: float) -> list[np.ndarray]:
        """The genes of each segment of `n` paths, or of fewer where the range seems to be empty."""
        bins, found, misses = self._inside(low, high, surely=False), [], 0
        missing = n
        while len(bins) and missing and misses < MOST_MISSES:
            cost, genes = self._in_bins(bins, min(self._at_once, missing + missing // 8 + 16), rng)
            hit = np.flatnonzero((low <= cost) & (cost < high))[:missing]
            found.append([one[hit] for one in genes])
            missing -= len(hit)
            misses = 0 if len(hit) else misses + len(cost)
        nothing = [rows.genes[:0] for rows in self._masks.rows]
        return [np.concatenate(genes) for genes in zip(nothing, *found, strict=True)]

    def _in_bins(self, bins: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, list[np.ndarray]]:
        """Cost (n,), and genes of each segment, of paths exactly uniform over some bins."""
        ways, start = self._ways[0][:1, bins], np.zeros(n, np.intp)
        total = sum(ways[0].tolist())
        left, leaf = bins[drawn(ways.astype(object) if total >= LARGE else ways, start, rng)], start
        cost, genes = np.zeros(n), []
        for part, moves, before, after in zip(self._parts, self._moves, self._ways, self._ways[1:], strict=False):
            states, state = np.unique(leaf * (BINS + 1) + left, return_inverse=True)
            its_leaf, its_left = divmod(states[:, None], BINS + 1)
            fits = (moves.start == its_leaf) & (moves.bins <= its_left)
            on = after[moves.end, its_left - np.where(fits, moves.bins, 0)].astype(np.result_type(before, after))
            move = drawn(np.where(fits, moves.rows * on, 0), state, rng)
            row = moves.skipped[move] + rng.integers(moves.rows[move])
            group = np.searchsorted(moves.until, row, side="right")
            genes += part.genes(group, row - (moves.until[group] - part.count[group]))
            cost += part.cost[group]
            left, leaf = left - moves.bins[move], moves.end[move]
        return cost, genes


def _packed(bins: np.ndarray, counts: np.ndarray, n_bytes: int) -> int:
    """Counts by bin as one integer, a bin its digit of `n_bytes`."""
    total = np.zeros(BINS + 1, np.int64)
    np.add.at(total, bins, counts)
    return int.from_bytes(b"".join(int(one).to_bytes(n_bytes, "little") for one in total), "little")
