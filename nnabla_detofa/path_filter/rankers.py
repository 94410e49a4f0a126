"""Rankers in the place of the path filter's transformer: yardsticks that a whole run can go by (an addition)."""

import numpy as np

from ..space import TokenLayout
from .fitting import start_main_effects
from .model import PathFilter

TRANSFORMER, RIDGE, FLOPS = "transformer", "ridge", "flops"
RANKERS = {TRANSFORMER: "path filter", RIDGE: "ridge regression", FLOPS: "FLOPs"}  # as `cross_validate` calls them


def ridge_filter(
    layout: TokenLayout,
    n_buckets: int,
    tokens: np.ndarray,
    buckets: np.ndarray,
    losses: np.ndarray,
    basis: np.ndarray | None = None,
) -> PathFilter:
    """Ridge regression of the losses (n,) on tokens (n, L) as a path filter: main effects, and a transformer of the
    smallest size that adds nothing to them. Logits of paths of a bucket have mean 0 and differ by 1 on average."""
    rng = np.random.default_rng(0)
    alone = PathFilter(layout, n_buckets, rng=rng, main_effects=True, dim=1, heads=1, layers=1, hidden=1)
    start_main_effects(alone, alone.parameters["main"].copy(), tokens, np.asarray(buckets), losses, basis)
    return alone


def place_in_bucket(costs: np.ndarray, edges: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """Scores (n,) by cost alone: from 0 at the lower to 1 at the upper of a bucket's edges, (b + 1,)."""
    return (costs - edges[buckets]) / np.diff(edges)[buckets]
