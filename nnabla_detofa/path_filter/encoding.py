"""Layer and block positional encodings (section 3.1.1, Eq. 3), and a path as a row of indices into one input table.

Every (position, token) pair has one input vector, and so has every budget. The table of them all is a few hundred rows,
whatever the number of paths: the filter looks its input up, and its first layer projects the table and not the paths.
"""

from typing import Annotated

import numpy as np

from ..errors import ConfigError
from ..options import Listed, Options, Whole
from ..space import TokenLayout

Positions = Annotated[tuple[int, ...], Listed(Whole(least=0, most=10**6))]


class _Layout(Options):
    vocabulary: Annotated[int, Whole()]
    layer: Positions
    block: Positions


def checked_layout(layout: TokenLayout) -> TokenLayout:
    """`layout` with tuples for lists and arrays; ConfigError where its parts do not fit together."""
    checked = _Layout.of("token_layout", {name: np.asarray(part).tolist() for name, part in layout._asdict().items()})
    if not 0 < len(checked.layer) == len(checked.block):
        given = f"{len(checked.layer)} layers and {len(checked.block)} blocks"
        raise ConfigError(key="token_layout", given=given, allowed="one of each for every token")
    return TokenLayout(checked.vocabulary, checked.layer, checked.block)


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
