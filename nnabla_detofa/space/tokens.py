"""Tokens of a path (Section 3.1.1): each segment's own, for ResNet50 three of the stem, then one for each block."""

from typing import NamedTuple

import numpy as np

from .family import SKIP, Family


class TokenLayout(NamedTuple):
    """The positions of a row of tokens, as a path filter sees them.

    vocabulary: tokens are in 0 .. vocabulary - 1; layer, block: index of each position, for Eq. 3.
    values: for each position the number behind every token, None where a token is no number; () where none is.
    """

    vocabulary: int
    layer: tuple[int, ...]
    block: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...] = ()


def tokenize(family: Family, paths: np.ndarray) -> np.ndarray:
    """Tokens (n, positions) int64 of paths (n, genes)."""
    found = []
    for segment, one in enumerate(family.segments):
        own, block = family.tokens(segment)
        context = one.context(paths[:, family.own_columns[segment]])
        found.append(own[context])
        if one.block_genes:
            choice = one.choice(paths[:, family.block_columns[segment]])
            found.append(np.where(choice >= 0, block[context[:, None], choice], SKIP))
    return np.concatenate(found, axis=1).astype(np.int64)


def token_layout(family: Family) -> TokenLayout:
    """Layers count through from the first token; the block is the segment."""
    tokens = [family.tokens(segment) for segment in range(len(family.segments))]
    blocks = [one.n_blocks if one.block_genes else 0 for one in family.segments]
    widths = [own.shape[1] + n for (own, _), n in zip(tokens, blocks, strict=True)]
    block = [segment for segment, width in enumerate(widths) for _ in range(width)]
    largest = max(table.max(initial=SKIP) for both in tokens for table in both)
    return TokenLayout(int(largest) + 1, tuple(range(len(block))), tuple(block), family.token_values())
