"""Main effects beside the transformer: a start at ridge regression, and the same scores in NumPy and NNabla."""

import nnabla as nn
import numpy as np

from nnabla_detofa.path_filter import PathFilter, TokenLayout, fit, kendall_tau, ridge_score
from nnabla_detofa.path_filter.network import score_graph

LAYOUT = TokenLayout(vocabulary=3, layer=(0, 1, 2, 3, 4), block=(0, 0, 1, 1, 1))
SMALL = {"dim": 16, "heads": 2, "layers": 1, "hidden": 16}


def measured(n: int, seed: int):
    """Paths whose loss is a sum over their tokens: tokens (n, 5), buckets (n,), losses (n,)."""
    rng = np.random.default_rng(seed)
    effect = np.random.default_rng(99).standard_normal((5, 3))
    tokens = rng.integers(0, 3, (n, 5))
    return tokens, rng.integers(0, 2, n), effect[np.arange(5), tokens].sum(axis=1)


def fresh(**options) -> PathFilter:
    return PathFilter(LAYOUT, n_buckets=2, rng=np.random.default_rng(0), main_effects=True, **SMALL, **options)


def test_a_fit_without_epochs_worth_keeping_ranks_as_ridge_regression():
    tokens, buckets, losses = measured(40, seed=0)
    path_filter = fresh()
    fit(path_filter, tokens, buckets, losses, rng=np.random.default_rng(1), epochs=1, learning_rate=1e-12)
    unseen, _, _ = measured(30, seed=1)
    scores = path_filter.score(unseen, np.zeros(len(unseen), int)).astype(np.float64)
    expected = ridge_score(tokens, buckets, losses, unseen)
    assert kendall_tau(scores, expected) > 0.99
    logits = np.log(scores / (1 - scores))
    assert np.corrcoef(logits, expected)[0, 1] > 0.9999  # nothing but ridge regression, in another unit


def test_few_paths_are_enough_for_what_is_additive():
    tokens, buckets, losses = measured(30, seed=2)
    unseen, where, truth = measured(60, seed=3)
    taus = []
    for main_effects in (True, False):
        path_filter = PathFilter(LAYOUT, n_buckets=2, rng=np.random.default_rng(0), main_effects=main_effects, **SMALL)
        fit(path_filter, tokens, buckets, losses, rng=np.random.default_rng(1), epochs=20)
        scores = path_filter.score(unseen, where)
        taus.append(np.mean([kendall_tau(scores[where == b], -truth[where == b]) for b in range(2)]))
    assert taus[0] > 0.9 > taus[1]


def test_scores_are_the_same_in_numpy_and_nnabla_and_after_loading(tmp_path):
    tokens, buckets, losses = measured(40, seed=4)
    for budget_condition in (True, False):
        path_filter = fresh(budget_condition=budget_condition)
        fit(path_filter, tokens, buckets, losses, rng=np.random.default_rng(1), epochs=3)
        rows = path_filter.rows(tokens, buckets)
        with nn.auto_forward():
            place = nn.Variable.from_numpy_array(rows)
            graph = score_graph(path_filter.variables, path_filter.design, path_filter.positions, place)
        scores = path_filter.score(tokens, buckets)
        np.testing.assert_allclose(scores, graph.d[:, 0], atol=1e-5)
        path_filter.save(tmp_path / "filter.h5")
        np.testing.assert_array_equal(PathFilter.load(tmp_path / "filter.h5").score(tokens, buckets), scores)
