"""Layer and block positional encodings (section 3.1.1, Eq. 3), and a path as a row of indices into one input table.

Every (position, token) pair has one input vector, and so has every budget. The table of them all is a few hundred rows,
whatever the number of paths: the filter looks its input up, and its first layer projects the table and not the paths.
"""

from typing import Annotated, Any, NamedTuple

import numpy as np

from ..errors import ConfigError
from ..options import Listed, Options, Whole
from ..space import TokenLayout

Positions = Annotated[tuple[int, ...], Listed(Whole(least=0, most=10**6))]
LEVELS = 5  # of numbers at most that have an embedding each, as in the paper; more are embedded by value


class _Layout(Options):
    vocabulary: Annotated[int, Whole()]
    layer: Positions
    block: Positions
    values: Any


class Embedded(NamedTuple):
    """The part of the input table that embeddings do not learn: the positions' own vectors (L, dim), and the numbers.

    at: the positions that are embedded by value, (G,). known: which of their tokens are numbers, (G, vocabulary) bool.
    powers: v and v², v the number standardised over its position's levels, (G, vocabulary, 2); 0 where it is none.
    """

    positions: np.ndarray
    at: np.ndarray
    known: np.ndarray
    powers: np.ndarray


def checked_layout(layout: TokenLayout) -> TokenLayout:
    """`layout` with tuples for lists and arrays; ConfigError where its parts do not fit together."""
    checked = _Layout.of("token_layout", {name: np.asarray(part).tolist() for name, part in layout._asdict().items()})
    if not 0 < len(checked.layer) == len(checked.block):
        given = f"{len(checked.layer)} layers and {len(checked.block)} blocks"
        raise ConfigError(key="token_layout", given=given, allowed="one of each for every token")
    values = tuple(tuple(None if v is None else float(v) for v in row) for row in _checked_values(checked))
    return TokenLayout(checked.vocabulary, checked.layer, checked.block, values)


def _checked_values(layout: _Layout) -> Any:
    given, shape = layout.values, (len(layout.layer), layout.vocabulary)
    try:
        if (len(given) and np.array(given, np.float64).shape != shape) or np.isinf(np.array(given, np.float64)).any():
            raise ValueError
    except (TypeError, ValueError):
        allowed = f"{shape[0]} rows of {shape[1]} finite numbers or null, or none"
        raise ConfigError(key="token_layout.values", given=given, allowed=allowed) from None
    return [[None if v is None or np.isnan(v) else v for v in row] for row in given]


def by_value(layout: TokenLayout) -> tuple[np.ndarray, np.ndarray]:
    """Positions of more than LEVELS different numbers, (G,), and the numbers of their tokens, (G, vocabulary), nan
    where a token is none."""
    values = np.array(layout.values, np.float64).reshape(-1, layout.vocabulary)
    at = np.array([i for i, row in enumerate(values) if len(np.unique(row[~np.isnan(row)])) > LEVELS], int)
    return at, values[at]


def embedded(layout: TokenLayout, dim: int, *, block_encoding: bool) -> Embedded:
    """The fixed part of the input table."""
    at, numbers = by_value(layout)
    known = ~np.isnan(numbers)
    for row in numbers:
        levels = np.unique(row[~np.isnan(row)])
        row -= levels.mean()
        row /= levels.std()
    v = np.where(known, numbers, 0)
    powers = np.stack([v, v**2], axis=2).astype(np.float32)
    return Embedded(position_vectors(layout, dim, block_encoding=block_encoding), at, known, powers)


def input_rows(token: np.ndarray, value: np.ndarray | None, fixed: Embedded) -> np.ndarray:
    """The input table's rows of tokens, (L · vocabulary, dim): position + token or, by `value` (G · 2, dim), position +
    w · v + w₂ · v²."""
    table = fixed.positions[:, None] + token
    if value is not None:
        own = fixed.powers @ value.reshape(len(fixed.at), 2, -1)
        table[fixed.at] = np.where(fixed.known[..., None], fixed.positions[fixed.at][:, None] + own, table[fixed.at])
    return table.reshape(-1, fixed.positions.shape[1])


def input_slopes(table: np.ndarray, fixed: Embedded) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of `token` (vocabulary, dim) and `value` (G · 2, dim) from those of the rows, (L · vocabulary, dim)."""
    slopes = table.reshape(len(fixed.positions), -1, fixed.positions.shape[1])
    own = fixed.powers.swapaxes(1, 2) @ slopes[fixed.at]
    if len(fixed.at):
        slopes = slopes.copy()
        slopes[fixed.at] *= ~fixed.known[..., None]
    return slopes.sum(axis=0), own.reshape(-1, table.shape[1])


def positional_encoding(index: np.ndarray, dim: int) -> np.ndarray:
    """Eq. 3 of the indices, (n,) to (n, dim) float32: P(l, 2i) = sin(l / 10000^(2i / max_l)), cos for odd dimensions.

    The paper prints the fraction as (l / 10000) 2^(i / max_l); this is the standard form, which it must mean.
    """
    index = np.asarray(index, dtype=np.float64)
    exponent = np.arange(0, dim, 2) / max(index.max(), 1.0)
    angle = index[:, None] * np.exp(-np.log(10000.0) * exponent)  # the exponential may underflow, a power overflows
    encoding = np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(len(index), -1)
    return encoding[:, :dim].astype(np.float32)


def position_vectors(layout: TokenLayout, dim: int, *, block_encoding: bool) -> np.ndarray:
    """Vectors that are added to the tokens of each position, (L, dim): the layer's encoding plus the block's."""
    vectors = positional_encoding(np.asarray(layout.layer), dim)
    if block_encoding:
        vectors = vectors + positional_encoding(np.asarray(layout.block), dim)
    return vectors


def table_rows(layout: TokenLayout, tokens: np.ndarray, buckets: np.ndarray | None) -> np.ndarray:
    """Rows of the input table that make up each path, (n, L) or, with `buckets`, (n, 1 + L), the budget in front.

    Row p · vocabulary + t is token t at position p; behind those come the budgets.
    """
    rows = np.arange(len(layout.layer)) * layout.vocabulary + tokens
    if buckets is None:
        return rows
    return np.concatenate([(len(layout.layer) * layout.vocabulary + buckets)[:, None], rows], axis=1)
