"""Paths within a cost range (Section 3.1.2's "m paths for each FLOPs bucket"): exact counts and exactly uniform draws.

Meet in the middle: the first half of the segments on one side, the second on the other. For each choice of the first
side the matching choices of the second, sorted by cost, are an interval, so the paths of a range are numbered 0 ..
count - 1 without a gap; a uniform whole number is a uniform path. Nothing is rounded, nothing is rejected. All of this
holds for costs that are sums as for those that are the largest of their parts.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import SpaceError
from .layer_costs import LayerCosts, SegmentTable, segment_tables
from .masks import Masks

MOST_PAIRS = 20_000_000  # combinations that one side may have
RANGES_KEPT = 16  # prepared ranges: a search goes round its own, five budgets' and four edges', in every generation


class TooManyPairsError(Exception):
    """A side has more combinations than are listed."""


class _Join:
    """Every pair of two sides that agree on the width where they meet, sorted by (key, cost)."""

    def __init__(
        self, left: "SegmentTable | _Join", right: "SegmentTable | _Join", costs: LayerCosts, *, key: str
    ) -> None:
        widths = np.unique(right.start)
        matching = [(np.flatnonzero(left.end == w), np.flatnonzero(right.start == w)) for w in widths]
        pairs = sum(len(a) * len(b) for a, b in matching)
        if pairs > MOST_PAIRS:
            raise TooManyPairsError
        a = np.concatenate([np.repeat(a, len(b)) for a, b in matching])
        b = np.concatenate([np.tile(b, len(a)) for a, b in matching])
        cost = costs.join(left.cost[a], right.cost[b])
        order = np.lexsort((cost, left.start[a] if key == "start" else right.end[b]))
        self._left, self._right, self._a, self._b = left, right, a[order], b[order]
        self.start: np.ndarray = left.start[self._a]
        self.end: np.ndarray = right.end[self._b]
        self.cost: np.ndarray = cost[order]
        self.count: np.ndarray = left.count[self._a] * right.count[self._b]

    def genes(self, pair: np.ndarray, member: np.ndarray) -> list[np.ndarray]:
        a, b = self._a[pair], self._b[pair]
        of_left, of_right = np.divmod(member, self._right.count[b])
        return self._left.genes(a, of_left) + self._right.genes(b, of_right)


def _nothing(n_leaves: int) -> SegmentTable:
    """A segment without genes or cost, so that a side of one segment is a pair as well."""
    leaves = np.arange(n_leaves)
    return SegmentTable(np.empty((n_leaves, 0), np.int8), leaves, leaves, np.zeros(n_leaves))


def _joined(parts: Sequence[SegmentTable], costs: LayerCosts, *, key: str) -> "SegmentTable | _Join":
    joined: SegmentTable | _Join = parts[0]
    for right in parts[1:]:
        joined = _Join(joined, right, costs, key=key)
    return joined


class _Range(NamedTuple):
    """First-side choices that reach the range; `until` counts their paths up, `skipped` those below the range."""

    choice: np.ndarray
    ways: np.ndarray
    skipped: np.ndarray
    until: np.ndarray


class PathsByCost:
    """The paths of one space, fewer than 2**62, in the order of one cost; see `SearchSpace.sample` and `.count`."""

    def __init__(self, masks: Masks, costs: LayerCosts) -> None:
        """TooManyPairsError where a side has more than `MOST_PAIRS` combinations."""
        self._masks, self._layers = masks, costs
        parts = segment_tables(masks, costs)
        middle = (len(parts) + 1) // 2
        self._head = _joined(parts[:middle], costs, key="end")
        rest = parts[middle:] if len(parts) > middle + 1 else [parts[-1], _nothing(masks.family.segments[-1].n_leaves)]
        self._rest = _joined(rest, costs, key="start")
        self._below = np.r_[0, np.cumsum(self._rest.count)]  # paths of the second side before each of its choices
        self._ranges: OrderedDict[tuple[float, float], _Range] = OrderedDict()

    def _meeting(self) -> list[tuple[slice, slice]]:
        """For each width where the sides meet, its choices on the first and on the second side."""
        widths = np.intersect1d(self._head.end, self._rest.start)
        return [
            (
                slice(*np.searchsorted(self._head.end, [w, w + 1])),
                slice(*np.searchsorted(self._rest.start, [w, w + 1])),
            )
            for w in widths
        ]

    def _position(self, limit: float) -> np.ndarray:
        """For each first-side choice, where the second side's choices reach `limit` in all."""
        position = np.zeros(len(self._head.cost), np.intp)
        for head, rest in self._meeting():
            lack = self._layers.lack(limit, self._head.cost[head])
            position[head] = rest.start + np.searchsorted(self._rest.cost[rest], lack)
        return position

    def _prepare(self, low: float, high: float) -> _Range:
        key = (float(low), float(high))
        if key not in self._ranges:
            skipped, end = self._below[self._position(low)], self._below[self._position(high)]
            choice = np.flatnonzero(end > skipped)
            ways = (end - skipped)[choice]
            until = np.cumsum(ways * self._head.count[choice])
            self._ranges[key] = _Range(choice, ways, skipped[choice], until)
            if len(self._ranges) > RANGES_KEPT:
                self._ranges.popitem(last=False)
        self._ranges.move_to_end(key)
        return self._ranges[key]

    def count(self, low: float, high: float) -> int:
        """The exact number of paths with low <= cost < high."""
        until = self._prepare(low, high).until
        return int(until[-1]) if len(until) else 0

    def numbered(self, numbers: np.ndarray, low: float, high: float) -> np.ndarray:
        """The paths of these numbers, 0 .. count - 1, among those with low <= cost < high; each path has one number."""
        choice, ways, skipped, until = self._prepare(low, high)
        index = np.searchsorted(until, numbers, side="right")
        within = numbers - np.r_[0, until][index]
        of_head, of_rest = np.divmod(within, ways[index])
        of_rest = of_rest + skipped[index]
        pair = np.searchsorted(self._below, of_rest, side="right") - 1
        genes = self._head.genes(choice[index], of_head) + self._rest.genes(pair, of_rest - self._below[pair])
        return self._masks.assemble(genes[: len(self._masks.family.segments)])

    def sample(self, n: int, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
        """`n` paths exactly uniform over low <= cost < high, (n, genes); SpaceError where there is none."""
        count = self.count(low, high)
        if not count:
            below, above = self.nearest(low, high)
            known = " and ".join(f"{cost:,.12g}" for cost in (below, above) if cost is not None)
            raise SpaceError(f"no path costs from {low:,.12g} to below {high:,.12g}; the nearest costs are {known}")
        return self.numbered(rng.integers(count, size=n), low, high)

    def nearest(self, low: float, high: float) -> tuple[float | None, float | None]:
        """The largest cost below `low` and the smallest of at least `high`; None where there is none."""
        layers, below, above = self._layers, [], []
        for head, rest in self._meeting():
            ours, theirs = self._head.cost[head], self._rest.cost[rest]
            under = np.searchsorted(theirs, layers.lack(low, ours)) - 1
            over = np.searchsorted(theirs, layers.lack(high, ours))
            there = over < len(theirs)
            below.append(layers.join(ours, theirs[under])[under >= 0].max(initial=-np.inf))
            above.append(layers.join(ours[there], theirs[over[there]]).min(initial=np.inf))
        most, least = float(max(below)), float(min(above))
        return (most if most > -np.inf else None), (least if least < np.inf else None)
