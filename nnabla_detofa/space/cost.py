"""What a path costs (FLOPs(a) of Section 3): sums of table look-ups over the stem, the four stages and the tail."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SpaceError
from . import layers
from .layer_costs import LayerCosts, checked
from .structure import STEM_GENES

if TYPE_CHECKING:
    from .search_space import SearchSpace


class CostModel:
    """The cost of paths of one structure, pruned or not; `cost(paths)` is (n,) float64 and exact.

    A cost is a whole number of its unit, so that sums below 2**53 are exact and equal costs are equal numbers.
    """

    def __init__(self, space: "SearchSpace", costs: LayerCosts) -> None:
        """`costs` for every choice of `space`; ConfigError where a shape or a value does not fit."""
        self.space = space.unpruned()
        self.layers = checked(costs, len(space.structure.widths), len(space.structure.expands))
        self._stem = self.layers.stem.ravel()
        self._stages = tuple(self._table(s, rows) for s, rows in enumerate(self.space.stage_rows))
        self._last_width = self.space.structure.stage_columns[-1][1]

    @classmethod
    def flops(
        cls,
        space: "SearchSpace",
        *,
        image_size: int,
        n_classes: int,
        neck: Sequence[int] = (256, 256, 256),
        head: int = 64,
        stem_pool: bool = True,
    ) -> "CostModel":
        """Multiply-accumulates of convolutions and transposed convolutions of the whole detector; 1 MAC = 1 FLOP here.

        For one image of (3, image_size, image_size). `neck`: widths of the up-convolutions; `head`: width of each of
        the three heads; `stem_pool`: whether the stem ends in a max-pooling. ConfigError where `image_size` is not a
        multiple of 32.
        """
        macs = layers.detector_macs(
            space, image_size=image_size, n_classes=n_classes, neck=neck, head=head, stem_pool=stem_pool
        )
        return cls(space, macs)

    @classmethod
    def parameters(
        cls, space: "SearchSpace", *, n_classes: int, neck: Sequence[int] = (256, 256, 256), head: int = 64
    ) -> "CostModel":
        """Learned values of the whole detector: weights, scale and shift of batch normalisation, biases of the heads.
        `neck` and `head` as in `flops`.
        """
        return cls(space, layers.detector_parameters(space, n_classes=n_classes, neck=neck, head=head))

    def _table(self, stage: int, rows: np.ndarray) -> np.ndarray:
        """Cost by code of a stage with the width before it; nan where no path has the code."""
        structure = self.space.structure
        table = np.full((len(structure.widths), structure.stage_entries(stage)), np.nan)
        table[:, structure.stage_codes(stage, rows)] = self.layers.stage(stage, rows)
        return table.ravel()

    def __call__(self, paths: np.ndarray) -> np.ndarray:
        """Cost of each path, (n,) float64; SpaceError names the first row that is not a path."""
        backbone, tail = self.parts(paths)
        return backbone + tail

    def parts(self, paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cost of the backbone and of what follows it (neck and heads), (n,) float64 each."""
        paths = self.space.require_rows(paths)
        inside = ((paths >= self.space.structure.lower) & (paths <= self.space.structure.upper)).all(axis=1)
        if not inside.all():
            raise _not_a_path(paths, inside)
        codes = self.space.structure.codes(paths).T
        backbone = self._stem[codes[0]]
        for table, code in zip(self._stages, codes[1:], strict=True):
            backbone += table[code]
        if np.isnan(backbone).any():
            raise _not_a_path(paths, ~np.isnan(backbone))
        return backbone, self.layers.tail[paths[:, self._last_width]]

    def require_structure(self, space: "SearchSpace") -> None:
        """SpaceError unless this model was built for a space of the same structure as `space`."""
        ours, given = self.space.structure, space.structure
        if ours != given:
            raise SpaceError(f"the cost model was built for {ours} and cannot tell the cost of {given}")

    # ---- extremes

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
        structure, n_widths = space.structure, len(space.structure.widths)
        best = np.full(n_widths, np.inf)
        path = np.full((n_widths, structure.n_genes), -1, np.int8)
        for row in space.stem_rows:
            value = sign * self.layers.stem[tuple(row)]
            if value < best[row[2]]:
                best[row[2]], path[row[2], :STEM_GENES] = value, row
        for stage, rows in enumerate(space.stage_rows):
            total = best[:, None] + sign * self.layers.stage(stage, rows)  # (width before, row)
            before, best, path = path, np.full(n_widths, np.inf), path.copy()
            for width in np.unique(rows[:, 1]):
                column = np.flatnonzero(rows[:, 1] == width)
                start, index = np.unravel_index(total[:, column].argmin(), (n_widths, len(column)))
                best[width], path[width] = total[start, column[index]], before[start]
                path[width, structure.stage_columns[stage]] = rows[column[index]]
        return path[(best + sign * self.layers.tail).argmin()]


def _not_a_path(paths: np.ndarray, good: np.ndarray) -> SpaceError:
    row = int(np.flatnonzero(~good)[0])
    return SpaceError(f"row {row}, {paths[row].tolist()}, is not a path of this space")
