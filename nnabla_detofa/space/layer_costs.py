"""The tables a cost model sums up, one entry for each layer and choice (Section 3.1.1)."""

from typing import NamedTuple

import numpy as np

from ..errors import ConfigError


class LayerCosts(NamedTuple):
    """The cost of each layer by choice index, in whole numbers of one unit (MACs, weights, bytes, nanoseconds).

    stem (2, W, W): residual block off or on, first width, second width.
    first: for each stage (W before, W, E), its first block with the projection shortcut.
    other: for each stage (W, E), each further block.
    tail (W,): all that follows the last stage, by its width.
    """

    stem: np.ndarray
    first: tuple[np.ndarray, ...]
    other: tuple[np.ndarray, ...]
    tail: np.ndarray

    def stage(self, stage: int, rows: np.ndarray) -> np.ndarray:
        """Cost of each row of a stage's genes after each width before it, (W, m)."""
        width, expands = rows[:, 1], rows[:, 2:]
        further = np.where(expands[:, 1:] >= 0, self.other[stage][width[:, None], expands[:, 1:]], 0).sum(axis=1)
        return self.first[stage][:, width, expands[:, 0]] + further


def checked(costs: LayerCosts, n_widths: int, n_expands: int) -> LayerCosts:
    """`costs` as float64 arrays; ConfigError where a shape or a value does not fit."""
    shapes = LayerCosts(
        (2, n_widths, n_widths), ((n_widths, n_widths, n_expands),) * 4, ((n_widths, n_expands),) * 4, (n_widths,)
    )

    def table_of(name: str, table: object, shape: tuple[int, ...]) -> np.ndarray:
        array = np.asarray(table, np.float64)
        if array.shape != shape:
            raise ConfigError(f"the cost table {name} has shape {array.shape}; it must have {shape}")
        if not (np.isfinite(array) & (array == np.floor(array)) & (array >= 0) & (array < 2.0**48)).all():
            raise ConfigError(f"the cost table {name} must hold whole numbers from 0 to 2**48; choose a smaller unit")
        return array

    def each(name: str) -> tuple[np.ndarray, ...]:
        given = getattr(costs, name)
        if len(given) != 4:
            raise ConfigError(f"the cost table {name} has {len(given)} stages; it must have 4")
        return tuple(table_of(name, table, shape) for table, shape in zip(given, getattr(shapes, name), strict=True))

    return LayerCosts(
        table_of("stem", costs.stem, shapes.stem),
        each("first"),
        each("other"),
        table_of("tail", costs.tail, shapes.tail),
    )
