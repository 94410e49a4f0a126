"""What a path costs (FLOPs(a) of Section 3): table look-ups over the stem, the four stages and the tail, joined."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SpaceError, unknown
from .layer_costs import LayerCosts, checked
from .layers import BackboneLayers, DetectorLayers, Layer, macs, parameters, peak_memory, total
from .structure import STEM_GENES

if TYPE_CHECKING:
    from .search_space import SearchSpace

# unit, what consecutive layers cost together, and how parts are joined
COMPUTED: dict[str, tuple[str, Callable[[Sequence[Layer]], float], np.ufunc]] = {
    "flops": ("MACs", total(macs), np.add),
    "parameters": ("parameters", total(parameters), np.add),
    "memory": ("bytes", peak_memory, np.maximum),
}


class CostModel:
    """The cost of paths of one structure, pruned or not; `cost(paths)` is (n,) float64 and exact.

    A cost is a whole number of its unit, so that sums below 2**53 are exact and equal costs are equal numbers. It is
    the sum of its layers' costs, or the largest of them; everything else here treats both alike.
    """

    def __init__(self, space: "SearchSpace", costs: LayerCosts, *, name: str = "cost", unit: str = "") -> None:
        """`costs` for every choice of `space`; ConfigError where a shape or a value does not fit."""
        self.space, self.name, self.unit = space.unpruned(), name, unit
        self.layers = checked(costs, len(space.structure.widths), len(space.structure.expands))
        self._stem = self.layers.stem.ravel()
        self._stages = tuple(self._table(s, rows) for s, rows in enumerate(self.space.stage_rows))
        self._last_width = self.space.structure.stage_columns[-1][1]

    @classmethod
    def of(cls, layers: BackboneLayers, name: str) -> "CostModel":
        """The cost of that name ("flops", "parameters", "memory") of a network of these layers."""
        if name not in COMPUTED:
            raise unknown("computed cost", name, COMPUTED)
        unit, of, join = COMPUTED[name]
        return cls(layers.space, layers.costs(of, join=join), name=name, unit=unit)

    @classmethod
    def flops(cls, space: "SearchSpace", **detector: Any) -> "CostModel":
        """Multiply-accumulates of convolutions and transposed convolutions of the whole detector; 1 MAC = 1 FLOP here.

        For one image; `detector` holds the keywords of `DetectorLayers`, image_size and n_classes at least.
        """
        return cls.of(DetectorLayers(space, **detector), "flops")

    @classmethod
    def parameters(cls, space: "SearchSpace", *, image_size: int = 32, **detector: Any) -> "CostModel":
        """Learned values of the whole detector: weights, scale and shift of batch normalisation, biases of the heads.
        `detector` as in `flops`; the size of the image does not matter.
        """
        return cls.of(DetectorLayers(space, image_size=image_size, **detector), "parameters")

    @classmethod
    def memory(cls, space: "SearchSpace", **detector: Any) -> "CostModel":
        """Peak memory of the maps of one image, see `layers.peak_memory`: the largest of its layers', not their sum.

        Exact: wherever one layer ends and the next begins, one map alone is alive. `detector` as in `flops`.
        """
        return cls.of(DetectorLayers(space, **detector), "memory")

    @classmethod
    def latency(cls, layers: BackboneLayers, nanoseconds: Mapping[Layer, int]) -> "CostModel":
        """The sum of its layers' times, in nanoseconds: those of each of `layers.distinct()`."""
        return cls(layers.space, layers.costs(total(nanoseconds.__getitem__)), name="latency", unit="ns")

    def _table(self, stage: int, rows: np.ndarray) -> np.ndarray:
        """Cost by code of a stage with the width before it; nan where no path has the code."""
        structure = self.space.structure
        table = np.full((len(structure.widths), structure.stage_entries(stage)), np.nan)
        table[:, structure.stage_codes(stage, rows)] = self.layers.stage(stage, rows)
        return table.ravel()

    def __call__(self, paths: np.ndarray) -> np.ndarray:
        """Cost of each path, (n,) float64; SpaceError names the first row that is not a path."""
        backbone, tail = self.parts(paths)
        return self.layers.join(backbone, tail, out=backbone)

    def parts(self, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cost of the backbone and of what follows it (neck and heads), (n,) float64 each."""
        paths = self.space.require_rows(paths)
        inside = ((paths >= self.space.structure.lower) & (paths <= self.space.structure.upper)).all(axis=1)
        if not inside.all():
            raise _not_a_path(paths, inside)
        codes = self.space.structure.codes(paths).T
        backbone = self._stem[codes[0]]
        for table, code in zip(self._stages, codes[1:], strict=True):
            self.layers.join(backbone, table[code], out=backbone)
        if np.isnan(backbone).any():
            raise _not_a_path(paths, ~np.isnan(backbone))
        return backbone, self.layers.tail[paths[:, self._last_width]]

    def require_structure(self, space: "SearchSpace") -> None:
        """SpaceError unless this model was built for a space of the same structure as `space`."""
        ours, given = self.space.structure, space.structure
        if ours != given:
            raise SpaceError(f"the cost model was built for {ours} and cannot tell the cost of {given}")

    # ---- extremes

    def whole(self) -> "CostModel":
        """The same cost over OFA's space where this one's is CompOFA*'s; see `Structure.whole`."""
        structure = self.space.structure.whole()
        if structure == self.space.structure:
            return self
        return CostModel(type(self.space)(structure), self.layers, name=self.name, unit=self.unit)

    def range(self, space: "SearchSpace") -> tuple[float, float]:
        """The smallest and the largest cost of a path of `space`, exactly."""
        return float(self(self.argmin(space)[None])[0]), float(self(self.argmax(space)[None])[0])

    def argmin(self, space: "SearchSpace") -> np.ndarray:
        """A cheapest path of `space`, (genes,) int8."""
        return self._extreme(space, 1.0)

    def argmax(self, space: "SearchSpace") -> np.ndarray:
        """A most expensive path of `space`, (genes,) int8."""
        return self._extreme(space, -1.0)

    def _extreme(self, space: "SearchSpace", sign: float) -> np.ndarray:
        """Dynamic programming over the stages: the best path up to each stage for each width it may end with."""
        self.require_structure(space)
        structure, n_widths, join = space.structure, len(space.structure.widths), self.layers.join
        best = np.full(n_widths, np.nan)  # nan: no path ends with this width
        path = np.full((n_widths, structure.n_genes), -1, np.int8)
        for row in space.stem_rows:
            value = self.layers.stem[tuple(row)]
            if not sign * value >= sign * best[row[2]]:
                best[row[2]], path[row[2], :STEM_GENES] = value, row
        for stage, rows in enumerate(space.stage_rows):
            together = join(best[:, None], self.layers.stage(stage, rows))  # (width before, row)
            before, best, path = path, np.full(n_widths, np.nan), path.copy()
            for width in np.unique(rows[:, 1]):
                column = np.flatnonzero(rows[:, 1] == width)
                choice = np.nanargmin(sign * together[:, column])
                start, index = np.unravel_index(choice, (n_widths, len(column)))
                best[width], path[width] = together[start, column[index]], before[start]
                path[width, structure.stage_columns[stage]] = rows[column[index]]
        return path[np.nanargmin(sign * join(best, self.layers.tail))]


def _not_a_path(paths: np.ndarray, good: np.ndarray) -> SpaceError:
    row = int(np.flatnonzero(~good)[0])
    return SpaceError(f"row {row}, {paths[row].tolist()}, is not a path of this space")
