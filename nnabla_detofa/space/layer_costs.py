"""The tables a cost model sums up, one entry for each layer and choice (Section 3.1.1)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError


class LayerCosts(NamedTuple):
    """The cost of each layer by choice index, in whole numbers of one unit (MACs, weights, bytes, nanoseconds).

    stem (2, W, W): residual block off or on, first width, second width.
    first: for each stage (W before, W, E), its first block with the projection shortcut.
    other: for each stage (W, E), each further block.
    tail (W,): all that follows the last stage, by its width.
    join: makes the cost of two parts that of both: np.add, or np.maximum where the layers take turns, as in memory.
    """

    stem: np.ndarray
    first: tuple[np.ndarray, ...]
    other: tuple[np.ndarray, ...]
    tail: np.ndarray
    join: np.ufunc = np.add

    def stage(self, stage: int, rows: np.ndarray) -> np.ndarray:
        """Cost of each row of a stage's genes after each width before it, (W, m)."""
        width, expands = rows[:, 1], rows[:, 2:]
        further = np.where(expands[:, 1:] >= 0, self.other[stage][width[:, None], expands[:, 1:]], 0)
        return self.join(self.first[stage][:, width, expands[:, 0]], self.join.reduce(further, axis=1, initial=0))

    def lack(self, limit: float, cost: np.ndarray) -> np.ndarray:
        """What another part has to cost at least, so that it and one of `cost` together reach `limit`; as `cost`."""
        return limit - cost if self.join is np.add else np.where(cost < limit, limit, -np.inf)


def checked(costs: LayerCosts, n_widths: int, n_expands: int) -> LayerCosts:
    """`costs` as float64 arrays; ConfigError where a shape or a value does not fit."""
    if costs.join not in (np.add, np.maximum):
        raise ConfigError(f"the cost tables are joined by {costs.join!r}; known: np.add, np.maximum")
    return LayerCosts(
        stem=_table("stem", costs.stem, (2, n_widths, n_widths)),
        first=_tables("first", costs.first, (n_widths, n_widths, n_expands)),
        other=_tables("other", costs.other, (n_widths, n_expands)),
        tail=_table("tail", costs.tail, (n_widths,)),
        join=costs.join,
    )


def _tables(name: str, given: Sequence[np.ndarray], shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    if len(given) != 4:
        raise ConfigError(f"the cost tables {name} are {len(given)}; there must be one for each of the 4 stages")
    return tuple(_table(f"{name}[{stage}]", table, shape) for stage, table in enumerate(given))


def _table(name: str, given: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    table = np.asarray(given, np.float64)
    if table.shape != shape:
        raise ConfigError(f"the cost table {name} has shape {table.shape}; it must have {shape}")
    if not ((table == np.floor(table)) & (table >= 0) & (table < 2.0**48)).all():  # nan and inf fail too
        raise ConfigError(f"the cost table {name} must hold whole numbers from 0 to below 2**48; choose another unit")
    return table
