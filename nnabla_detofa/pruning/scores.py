"""Scores of operations (Section 3.2): put each into the same random paths, average the paths' scores and costs."""

from typing import NamedTuple

import numpy as np

from ..space import Budgets, CostModel, Operations, Score, SearchSpace, draw_keys, insert, path_scores


class ScoredOperations(NamedTuple):
    """The view that a strategy has, one entry an operation: its indices, mean FLOPs, mean score (nan where none was
    asked for), and bucket, one of `n_buckets` of equal width over the operations' own mean costs. `cost` are those,
    (n,), None where they are FLOPs."""

    operation: Operations
    flops: np.ndarray
    cost: np.ndarray | None
    score: np.ndarray
    bucket: np.ndarray
    n_buckets: int


def score_operations(
    space: SearchSpace,
    score: Score | None,
    cost: CostModel,
    *,
    flops: CostModel | None = None,
    n_buckets: int,
    paths_per_operation: int,
    rng: np.random.Generator,
) -> ScoredOperations:
    """Mean score, FLOPs and cost of every operation of `space`, over one set of uniform paths for all of them.

    `flops` where `cost` is another.
    """
    operations, masks = space.operations(), space.masks
    paths, keys = space.sample(paths_per_operation, rng), draw_keys(masks, paths_per_operation, rng)
    models = [cost] if flops is None else [cost, flops]
    costs, scores = np.empty((len(models), len(operations.block))), np.full(len(operations.block), np.nan)
    together = np.stack([operations.segment, operations.context])
    for group in np.unique(together, axis=1).T:  # operations of one group make many equal paths: score those once
        members = np.flatnonzero((together == group[:, None]).all(axis=0))
        each = [Operations(*(column[i] for column in operations)) for i in members]
        inserted = np.concatenate([insert(masks, paths, keys, one) for one in each])
        distinct, where = np.unique(inserted, axis=0, return_inverse=True)
        for mean, model in zip(costs, models, strict=True):
            mean[members] = model(distinct)[where].reshape(len(members), -1).mean(axis=1)
        if score is not None:
            scores[members] = path_scores(score, distinct)[where].reshape(len(members), -1).mean(axis=1)
    buckets = _own_buckets(costs[0], n_buckets)
    return ScoredOperations(operations, costs[-1], None if flops is None else costs[0], scores, buckets, n_buckets)


def _own_buckets(costs: np.ndarray, n: int) -> np.ndarray:
    low, high = costs.min(), costs.max()
    return Budgets(np.linspace(low, high, n + 1)).bucket(costs) if high > low else np.zeros(len(costs), np.int64)
