"""Tokens of a path (Section 3.1.1): three for the stem, then one for each block position."""

from typing import NamedTuple

import numpy as np

from .structure import STEM_GENES, Structure

SKIP = 0  # the token SC of a block that the path leaves out


class TokenLayout(NamedTuple):
    """What a path filter has to know about a row of tokens.

    vocabulary: tokens are in 0 .. vocabulary - 1; layer, block: index of each position, for Eq. 3.
    """

    vocabulary: int
    layer: tuple[int, ...]
    block: tuple[int, ...]


def token_layout(structure: Structure) -> TokenLayout:
    """Layers count through from the stem; block 0 is the stem, 1 to 4 are the stages."""
    block = [0] * 3 + [s for s, blocks in enumerate(structure.layers, start=1) for _ in range(blocks)]
    n_widths, n_expands = len(structure.widths), len(structure.expands)
    return TokenLayout(1 + n_widths * n_expands + n_widths, tuple(range(len(block))), tuple(block))


def tokenize(structure: Structure, paths: np.ndarray) -> np.ndarray:
    """Tokens (n, 3 + blocks) int64 of paths (n, genes).

    0 is SC, then an index for each (W, E), then one for each width of the stem: its first, that or SC for its residual
    block, its second.
    """
    n_expands = len(structure.expands)
    depth, width1, width2 = paths[:, :STEM_GENES].astype(np.int64).T
    stem = 1 + len(structure.widths) * n_expands
    tokens = [stem + width1, np.where(depth == 1, stem + width1, SKIP), stem + width2]
    for columns in structure.stage_columns:
        genes = paths[:, columns].astype(np.int64)
        width, expands = genes[:, 1:2], genes[:, 2:]
        tokens.extend(np.where(expands >= 0, 1 + width * n_expands + expands, SKIP).T)
    return np.stack(tokens, axis=1)
