"""The basis in which main effects are sought where few paths are measured (an addition; not in the paper).

A token of a block is a width and an expand at once, so ridge regression on tokens has a number to find for each
pair in each block. Most of the truth is simpler: a width does what it does whatever the expand, and two neighbouring
widths do alike. A basis that holds genes, by level and as numbers, beside single tokens lets the
penalty prefer that.
"""

import numpy as np

from ..space import SearchSpace
from .baselines import one_hot

NUMBER, LEVEL, TOKEN = 1.0, 0.5, 0.25  # the smaller, the more a part has to win to be believed


def gene_basis(space: SearchSpace, paths: np.ndarray) -> np.ndarray:
    """Columns (L · vocabulary, F): the numbers of the genes, their levels, and single tokens, with these weights.

    What a gene adds is told as a sum over tokens by least squares on the paths that are given; for a family whose genes
    are read off single tokens, all ours, it is exact.

    Parameters:
        space: whose tokens they are, and whose genes are numbers whose order means something.
        paths: (n, genes), which show every token.
    """
    tokens, vocabulary = space.tokenize(paths), space.token_layout().vocabulary
    numbers = np.asarray(paths, np.float64)
    numbers = numbers[:, numbers.std(axis=0) > 0]
    levels = [column[:, None] == np.unique(column) for column in numbers.T]
    numbers = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    wanted = np.concatenate([NUMBER * numbers, *(LEVEL * level for level in levels)], axis=1)
    told = np.linalg.lstsq(one_hot(tokens, vocabulary), wanted, rcond=None)[0]
    return np.concatenate([told, TOKEN * np.eye(len(told))], axis=1)
