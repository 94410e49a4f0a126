"""Rankers that can stand in the path filter's place, and a start from costs."""

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.path_filter import (
    PathFilter,
    PathFilterOptions,
    TokenLayout,
    fit,
    kendall_tau,
    place_in_bucket,
    ridge_filter,
    ridge_score,
    start_from_costs,
)

LAYOUT = TokenLayout(vocabulary=4, layer=[0, 0, 1, 1, 2, 2], block=[0, 0, 0, 0, 1, 1])
SIZES = {"dim": 8, "heads": 2, "layers": 1, "hidden": 8}
GIVEN = {"paths_per_bucket": 4, "n_buckets": 2, "bn_images": 1, "validation_images": 1, "evaluation_bn_images": 1}
GIVEN |= {"network": {}, "fit": {}, "folds": 2, "second_measurement": False, "pretrained": None}


def paths(n, seed=0):
    """Random paths whose loss is what their tokens add, so much less than what they cost, and noise."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(4, size=(n, 6))
    parts = np.random.default_rng(9).random((6, 4))
    costs = parts[np.arange(6), tokens].sum(axis=1)
    return tokens, np.arange(n) % 2, costs, 0.3 * rng.normal(size=n) - costs


def test_ridge_regression_as_a_filter_orders_as_the_yardstick_and_is_saved_like_one(tmp_path):
    tokens, buckets, _, losses = paths(60)
    unseen, others, *_ = paths(200, seed=1)
    alone = ridge_filter(LAYOUT, 2, tokens, buckets, losses)
    scores = alone.score(unseen, others, dtype=np.float64)
    expected = ridge_score(tokens, buckets, losses, unseen)
    for bucket in (0, 1):
        assert kendall_tau(scores[others == bucket], expected[others == bucket]) > 0.999
    assert scores.min() > 0 and scores.max() < 1
    fitted_to = alone.score(tokens, buckets, dtype=np.float64)
    logits = np.log(fitted_to) - np.log1p(-fitted_to)
    for bucket in (0, 1):
        assert logits[buckets == bucket].mean() == pytest.approx(0, abs=1e-5)
    alone.save(tmp_path / "ridge.h5")
    assert np.array_equal(PathFilter.load(tmp_path / "ridge.h5").score(tokens, buckets), alone.score(tokens, buckets))


def test_the_place_of_a_cost_in_its_bucket():
    edges, costs = np.array([1.0, 2.0, 4.0]), np.array([1.0, 1.5, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(place_in_bucket(costs, edges, np.array([0, 0, 1, 1, 1])), [0, 0.5, 0, 0.5, 1])


def tau_of_unseen(sign, prior):
    """In-bucket tau on unseen paths of a filter fitted to few of them, where cost says the loss, or its opposite."""
    tokens, buckets, _, losses = paths(24, seed=2)
    unseen, others, costs, _ = paths(400, seed=3)
    path_filter = PathFilter(LAYOUT, 2, rng=np.random.default_rng(0), main_effects=True, **SIZES)
    if prior:
        start_from_costs(path_filter, unseen, others, sign * costs)
    fit(path_filter, tokens, buckets, losses, rng=np.random.default_rng(1), epochs=5)
    return kendall_tau(path_filter.score(unseen, others)[others == 0], costs[others == 0])


def test_a_start_from_costs_helps_where_they_say_something_and_does_no_harm_where_not():
    alone = tau_of_unseen(1, prior=False)
    assert tau_of_unseen(1, prior=True) > alone + 0.05
    assert tau_of_unseen(-1, prior=True) == pytest.approx(alone, abs=0.02)  # its share of the losses is none


def test_a_start_from_costs_is_of_main_effects():
    tokens, buckets, costs, _ = paths(20)
    bare = PathFilter(LAYOUT, 2, rng=np.random.default_rng(0), main_effects=False, **SIZES)
    with pytest.raises(ConfigError, match="main_effects=true"):
        start_from_costs(bare, tokens, buckets, costs)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"ranker": "ridge", "filters": 2}, "filters"),
        ({"ranker": "flops", "pretrained": "file.h5"}, "pretrained"),
        ({"ranker": "flops", "prior": "cost"}, "prior"),
        ({"prior": "cost", "pretrained": "file.h5"}, "prior"),
        ({"ranker": "forest"}, "ranker"),
        ({"prior": "costs"}, "prior"),
        ({"filters": 0}, "filters"),
    ],
)
def test_options_that_exclude_each_other_or_do_not_exist(options, key):
    assert PathFilterOptions.of("path_filter", GIVEN).filters == 1
    with pytest.raises(ConfigError) as caught:
        PathFilterOptions.of("path_filter", {**GIVEN, **options})
    assert caught.value.key == f"path_filter.{key}"
