"""Paths within a cost range of a space too large for halves: dynamic programming over segments, the cost in fine bins.

A segment's cost above its least is cut down to whole bins, so that a path's bins, added up, tell its cost to within one
bin a segment. Completions are counted by bin, exactly; a range's bins are drawn from by those counts, and the few paths
that miss the range are drawn again: exactly uniform.
"""

from bisect import bisect_right
from itertools import accumulate

import numpy as np

from ..errors import SpaceError
from .layer_costs import LayerCosts, segment_tables
from .masks import Masks

BINS = 1 << 14  # between the least and the largest cost
MOST_MISSES = 10_000  # in a row, before a range counts as empty


class PathsByBins:
    """The paths of one space of costs that are sums, in bins of one cost; see `SearchSpace.sample` and `.count`."""

    def __init__(self, masks: Masks, costs: LayerCosts) -> None:
        if costs.join is not np.add:
            raise SpaceError(
                f"the space has {masks.size():,} paths: ranges of a peak are drawn from smaller ones alone"
            )
        self._masks, self._parts = masks, segment_tables(masks, costs)
        least = [int(part.cost.min()) for part in self._parts]
        span = sum(int(part.cost.max()) for part in self._parts) - sum(least)
        self._offset, self._width = sum(least), max(1, -(-span // BINS))
        each = zip(self._parts, least, strict=True)
        self._bins = [(part.cost.astype(np.int64) - low) // self._width for part, low in each]
        self._slack = len(self._parts) * (self._width - 1)  # a path costs at most this more than its bins
        self._ways = self._completions(-(-(masks.size().bit_length() + 1) // 8))

    def _completions(self, n_bytes: int) -> list[np.ndarray]:
        """For each segment, and behind the last, the number of ways to go on from a leaf before it that make so many
        bins: Python's integers (leaves, BINS + 1). Rows are convolved as integers of `n_bytes` a digit."""
        after, found = [1] * int(self._parts[-1].end.max() + 1), []
        for part, bins in zip([*self._parts[::-1], None], [*self._bins[::-1], None], strict=True):
            digits = (one.to_bytes((BINS + 1) * n_bytes, "little") for one in after)
            ways = [[int.from_bytes(d[i : i + n_bytes], "little") for i in range(0, len(d), n_bytes)] for d in digits]
            found.append(np.array(ways, object))
            if part is None or bins is None:
                return found[::-1]
            before = [0] * int(part.start.max() + 1)
            for start, end in np.unique([part.start, part.end], axis=1).T:
                member = (part.start == start) & (part.end == end)
                before[start] += _packed(bins[member], part.count[member], n_bytes) * after[end]
            after = before
        return found

    def _inside(self, low: float, high: float, *, surely: bool) -> tuple[range, list[int]]:
        """The bins that paths of the range can be in, or that no others are in; and the paths up to each of them."""
        low, high = low - self._offset, high - self._offset
        ends = np.arange(BINS + 1) * self._width
        inside = (ends + (0 if surely else self._slack) >= low) & (ends + (self._slack if surely else 0) < high)
        bins = np.flatnonzero(inside)
        span = range(bins[0], bins[-1] + 1) if len(bins) else range(0)
        return span, list(accumulate(self._ways[0][0][span.start : span.stop]))

    def count(self, low: float, high: float) -> int:
        """The paths with low <= cost < high but those of the bins that `low` and `high` cut; exact for whole spaces and
        where a bin is one unit of cost. 0 where none was found."""
        _, until = self._inside(low, high, surely=True)
        if until and until[-1]:
            return int(until[-1])
        return len(self._drawn(1, np.random.default_rng(0), low, high))

    def sample(self, n: int, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
        """`n` paths exactly uniform over low <= cost < high, (n, genes); SpaceError where none is found."""
        found = self._drawn(n, rng, low, high)
        if len(found) < n:
            raise SpaceError(f"no path was found that costs from {low:,.12g} to below {high:,.12g}")
        return self._masks.assemble([np.concatenate(genes) for genes in zip(*found, strict=True)] or self._empty())

    def _empty(self) -> list[np.ndarray]:
        return [rows.genes[:0] for rows in self._masks.rows]

    def _drawn(self, n: int, rng: np.random.Generator, low: float, high: float) -> list[list[np.ndarray]]:
        """The genes of each segment of `n` paths, or of fewer where the range seems to be empty."""
        span, until = self._inside(low, high, surely=False)
        found: list[list[np.ndarray]] = []
        misses = 0
        while until and until[-1] and len(found) < n and misses < MOST_MISSES:
            number = _below(until[-1], rng)
            place = bisect_right(until, number)
            cost, genes = self._numbered(span[place], number - (until[place - 1] if place else 0))
            misses = 0 if low <= cost < high else misses + 1
            found += [genes] * (not misses)
        return found

    def _numbered(self, left: int, number: int) -> tuple[float, list[np.ndarray]]:
        """Cost and genes of the path of that number among those of `left` bins."""
        cost, genes, leaf = 0.0, [], 0
        for part, bins, ways in zip(self._parts, self._bins, self._ways[1:], strict=True):
            fit = np.flatnonzero((part.start == leaf) & (bins <= left))
            until = np.cumsum(part.count[fit].astype(object) * ways[part.end[fit], left - bins[fit]])
            place = int(np.searchsorted(until, number, side="right"))
            number -= until[place - 1] if place else 0
            group = int(fit[place])
            number, member = divmod(number, int(part.count[group]))
            genes += part.genes(fit[place : place + 1], np.array([member]))
            cost, left, leaf = cost + part.cost[group], left - int(bins[group]), int(part.end[group])
        return cost, genes


def _packed(bins: np.ndarray, counts: np.ndarray, n_bytes: int) -> int:
    """Counts by bin as one integer, a bin its digit of `n_bytes`."""
    total = np.zeros(BINS + 1, np.int64)
    np.add.at(total, bins, counts)
    return int.from_bytes(b"".join(int(one).to_bytes(n_bytes, "little") for one in total), "little")


def _below(total: int, rng: np.random.Generator) -> int:
    """A uniform whole number below `total`, however large."""
    bits = total.bit_length()
    while (number := int.from_bytes(rng.bytes(-(-bits // 8)), "little") >> (-bits % 8)) >= total:
        pass
    return number
