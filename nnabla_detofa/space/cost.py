"""The cost of a path (FLOPs(a) of Section 3): table look-ups over the segments and the tail, joined."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import SpaceError, unknown
from .family import Family
from .layer_costs import LayerCosts, checked
from .layers import UNIT, Layer, Side, macs, parameters, peak_memory, total
from .network_layers import DetectorLayers, NetworkLayers
from .search_space import SearchSpace

# unit, what consecutive layers cost together, and how parts are joined
COMPUTED: dict[str, tuple[str, Callable[[Sequence[Layer]], float], np.ufunc]] = {
    "flops": ("MACs", total(macs), np.add),
    "parameters": ("parameters", total(parameters), np.add),
    "memory": ("bytes", peak_memory, np.maximum),
}


class CostModel:
    """The cost of paths of one family, pruned or not; `cost(paths)` is (n,) float64 and exact.

    A cost is a whole number of its unit, so that sums below 2**53 are exact and equal costs are equal numbers. It is
    the sum of its layers' costs, or the largest of them; everything else here treats both alike.
    """

    def __init__(self, space: SearchSpace, costs: LayerCosts, *, name: str = "cost", unit: str = "") -> None:
        """`costs` for every choice of `space`; ConfigError where one is no whole number."""
        self.space, self.name, self.unit = space.unpruned(), name, unit
        self.layers = checked(costs)
        self._tables, self._leaves = zip(*map(self._table, range(len(space.family.segments))), strict=True)

    @classmethod
    def of(cls, layers: NetworkLayers, name: str) -> "CostModel":
        """The cost of that name ("flops", "parameters", "memory") of a network of these layers."""
        if name not in COMPUTED:
            raise unknown("computed cost", name, COMPUTED)
        unit, of, join = COMPUTED[name]
        return cls(layers.space, layers.costs(of, join=join), name=name, unit=unit)

    @classmethod
    def flops(cls, space: SearchSpace, **detector: Any) -> "CostModel":
        """Multiply-accumulates of convolutions and transposed convolutions of the whole detector; 1 MAC = 1 FLOP here.

        For one image; `detector` holds the keywords of `DetectorLayers`, image_size and n_classes at least.
        """
        return cls.of(DetectorLayers(space, **detector), "flops")

    @classmethod
    def parameters(cls, space: SearchSpace, *, image_size: Side = UNIT, **detector: Any) -> "CostModel":
        """Learned values of the whole detector: weights, scale and shift of batch normalisation, biases of the heads.
        `detector` as in `flops`; the size of the image does not matter.
        """
        return cls.of(DetectorLayers(space, image_size=image_size, **detector), "parameters")

    @classmethod
    def memory(cls, space: SearchSpace, **detector: Any) -> "CostModel":
        """Peak memory of the maps of one image, see `layers.peak_memory`: the largest of its layers', not their sum.

        Exact: wherever one layer ends and the next begins, one map alone is alive. `detector` as in `flops`.
        """
        return cls.of(DetectorLayers(space, **detector), "memory")

    @classmethod
    def latency(cls, layers: NetworkLayers, nanoseconds: Mapping[Layer, int]) -> "CostModel":
        """The sum of its layers' times, in nanoseconds: those of each of `layers.distinct()`."""
        return cls(layers.space, layers.costs(total(nanoseconds.__getitem__)), name="latency", unit="ns")

    def _table(self, segment: int) -> tuple[np.ndarray, np.ndarray]:
        """By code of a segment: its cost after each leaf before it, flat, nan where no path has the code; and where the
        costs after its own leaf begin in the next segment's table."""
        family, masks = self.space.family, self.space.masks
        rows, codes, entries = masks.rows[segment], masks.row_codes(segment), (*family.entries, 1)
        costs = self.layers.rows(segment, rows)
        table, leaves = np.full((len(costs), entries[segment]), np.nan), np.zeros(entries[segment], np.intp)
        table[:, codes] = costs
        leaves[codes] = family.segments[segment].leaves[rows.context].astype(np.intp) * entries[segment + 1]
        return table.ravel(), leaves

    def __call__(self, paths: np.ndarray) -> np.ndarray:
        """Cost of each path, (n,) float64; SpaceError names the first row that is not a path."""
        backbone, tail = self.parts(paths)
        return self.layers.join(backbone, tail, out=backbone)

    def parts(self, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cost of the backbone and of what follows it (neck and heads), (n,) float64 each."""
        paths = self.space.require_rows(paths)
        family = self.space.family
        if not ((paths >= family.lower).all() and (paths <= family.upper).all()):
            raise _not_a_path(paths, ((paths >= family.lower) & (paths <= family.upper)).all(axis=1))
        codes = family.codes(paths).T
        backbone, before = self._tables[0][codes[0]], self._leaves[0][codes[0]]
        for table, leaves, code in zip(self._tables[1:], self._leaves[1:], codes[1:], strict=True):
            self.layers.join(backbone, table[code + before], out=backbone)
            before = leaves[code]
        if np.isnan(backbone).any():
            raise _not_a_path(paths, ~np.isnan(backbone))
        return backbone, self.layers.tail[before]

    def require_family(self, family: Family) -> None:
        """SpaceError unless this model was built for a space of `family`."""
        ours = self.space.family
        if ours != family:
            raise SpaceError(f"the cost model was built for {ours} and cannot tell the cost of {family}")

    # ---- extremes

    def whole(self) -> "CostModel":
        """The same cost over OFA's space where this one's is CompOFA*'s; see `Family.whole`."""
        family = self.space.family.whole()
        if family == self.space.family:
            return self
        return CostModel(type(self.space)(family), self.layers, name=self.name, unit=self.unit)

    def range(self, space: SearchSpace) -> tuple[float, float]:
        """The smallest and the largest cost of a path of `space`, exactly."""
        return float(self(self.argmin(space)[None])[0]), float(self(self.argmax(space)[None])[0])

    def argmin(self, space: SearchSpace) -> np.ndarray:
        """A cheapest path of `space`, (genes,) int8."""
        return self._extreme(space, 1.0)

    def argmax(self, space: SearchSpace) -> np.ndarray:
        """A most expensive path of `space`, (genes,) int8."""
        return self._extreme(space, -1.0)

    def _extreme(self, space: SearchSpace, sign: float) -> np.ndarray:
        """Dynamic programming over the segments: the best path up to each for each leaf it may end with."""
        self.require_family(space.family)
        join, best = self.layers.join, np.zeros(1)
        path = np.full((1, space.family.n_genes), -1, np.int8)
        for segment, (one, rows) in enumerate(zip(space.family.segments, space.masks.rows, strict=True)):
            together = join(best[:, None], self.layers.rows(segment, rows))  # (leaf before, row)
            before, best = path, np.full(one.n_leaves, np.nan)  # nan: no path ends with this leaf
            path = np.full((one.n_leaves, before.shape[1]), -1, np.int8)
            leaves = one.leaves[rows.context]
            for leaf in np.unique(leaves):
                column = np.flatnonzero(leaves == leaf)
                choice = np.nanargmin(sign * together[:, column])
                start, index = np.unravel_index(choice, (len(before), len(column)))
                best[leaf], path[leaf] = together[start, column[index]], before[start]
                path[leaf, space.family.columns[segment]] = rows.genes[column[index]]
        return path[np.nanargmin(sign * join(best, self.layers.tail))]


def _not_a_path(paths: np.ndarray, good: np.ndarray) -> SpaceError:
    row = int(np.flatnonzero(~good)[0])
    return SpaceError(f"row {row}, {paths[row].tolist()}, is not a path of this space")
