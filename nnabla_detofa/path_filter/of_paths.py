"""Scores of paths by a path filter, and what such scores are of (Section 3.1)."""

from typing import Any

import numpy as np

from ..space import Budgets, CostModel, Score, SearchSpace
from .averaging import AveragedFilter
from .model import PathFilter


def score_of_paths(
    path_filter: PathFilter | AveragedFilter, space: SearchSpace, cost: CostModel, budgets: Budgets
) -> Score:
    """The filter's score of paths (n, genes) in the buckets that they cost, (n,), higher is better inside a bucket.

    In double precision, which tells the best paths apart.
    """
    return lambda paths: path_filter.score(space.tokenize(paths), budgets.bucket(cost(paths)), dtype=np.float64)


def scored_space(space: SearchSpace, cost: str) -> dict[str, Any]:
    """Description of what scores are of: the choices that paths are made of, and the cost that divides the buckets."""
    return {**space.family.to_dict(), "cost": cost}
