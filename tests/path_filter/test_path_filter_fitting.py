"""Eq. 4 and 5, the split, and what a fit keeps."""

import nnabla as nn
import numpy as np
import pytest
from nnabla.ext_utils import get_extension_context

from nnabla_detofa.errors import ConfigError, NumericError
from nnabla_detofa.path_filter import PathFilter, TokenLayout, fit, kendall_tau
from nnabla_detofa.path_filter.fitting import split
from nnabla_detofa.path_filter.objectives import pair_loss, pair_weights

LAYOUT = TokenLayout(vocabulary=4, layer=[0, 1, 2, 3], block=[0, 0, 1, 1])
SMALL = {"dim": 16, "heads": 2, "layers": 1, "hidden": 16}


def small_filter(seed=0, **options):
    return PathFilter(LAYOUT, 3, rng=np.random.default_rng(seed), **{**SMALL, "main_effects": False, **options})


def measured(n=120, seed=0):
    """Paths whose loss falls with every token, and with the bucket so strongly that it hides the tokens."""
    rng = np.random.default_rng(seed)
    tokens, buckets = rng.integers(0, 4, (n, 4)), rng.integers(0, 3, n)
    return tokens, buckets, 10.0 - tokens @ [0.4, 0.3, 0.2, 0.1] - 5.0 * buckets


def test_pairs_are_those_of_one_bucket_with_the_lower_loss_on_the_left():
    buckets, losses = np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 2.0, 0.5, 0.1])
    weights = pair_weights(buckets, losses)
    assert set(zip(*np.nonzero(weights), strict=True)) == {(0, 1), (0, 2), (4, 3)}
    assert weights.sum() == pytest.approx(1)
    assert not pair_weights(np.array([0, 1]), np.array([1.0, 2.0])).any()


def test_pair_loss_is_the_mean_squared_hinge():
    buckets, losses = np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 3.0, 0.5, 0.1])
    scores = np.array([0.9, 0.5, 0.6, 0.2, 0.3], np.float32)
    pairs = [(0, 1), (0, 2), (1, 2), (4, 3)]
    for margin in (1.0, 0.3):
        expected = np.mean([max(0, margin - (scores[a] - scores[b])) ** 2 for a, b in pairs])
        assert pair_loss(scores, pair_weights(buckets, losses), margin) == pytest.approx(expected, rel=1e-6)


def test_half_a_margin_is_least_where_scores_are_spread_evenly():
    losses, buckets = np.arange(40.0), np.zeros(40, int)
    weights, even = pair_weights(buckets, losses), 1 - (np.arange(40) + 0.5) / 40
    rng = np.random.default_rng(0)
    others = [np.clip(even + step * rng.standard_normal(40), 0, 1) for step in (0.01, 0.03, 0.1)]
    assert all(pair_loss(even, weights, 0.5) < pair_loss(other, weights, 0.5) for other in others)
    ends = np.clip(0.5 + 2 * (even - 0.5), 0, 1)  # the paper's margin of 1 wants the outer quarters at the ends
    assert pair_loss(ends, weights, 1.0) < pair_loss(even, weights, 1.0)


def test_split_is_stratified_and_complete():
    buckets = np.repeat([0, 1, 2, 3], [50, 10, 5, 1])
    train, valid = split(buckets, 0.2, np.random.default_rng(0))
    assert sorted([*train, *valid]) == list(range(66))
    assert np.bincount(buckets[valid], minlength=4).tolist() == [10, 2, 1, 0]


def test_fit_ranks_paths_it_has_not_seen():
    tokens, buckets, losses = measured()
    path_filter = small_filter()
    report = fit(path_filter, tokens, buckets, losses, rng=np.random.default_rng(1), epochs=40, learning_rate=1e-2)
    assert report.metrics["kendall_tau"] > 0.8
    assert report.metrics["precision"] > 0.5
    assert report.valid_loss[report.best_epoch] == report.valid_loss.min()
    assert len(report.train_loss) == len(report.valid_loss) == 40
    assert len(report.train) + len(report.valid) == 120
    fresh = measured(seed=9)
    scores = path_filter.score(*fresh[:2])
    assert all(kendall_tau(scores[fresh[1] == b], -fresh[2][fresh[1] == b]) > 0.7 for b in range(3))


def test_fit_keeps_the_weights_of_its_best_epoch():
    tokens, buckets, losses = measured(60)
    path_filter = small_filter()
    report = fit(path_filter, tokens, buckets, losses, rng=np.random.default_rng(1), epochs=15, learning_rate=0.1)
    valid = report.valid
    scores, weights = path_filter.score(tokens[valid], buckets[valid]), pair_weights(buckets[valid], losses[valid])
    assert pair_loss(scores, weights, 1.0) == pytest.approx(report.valid_loss[report.best_epoch], abs=1e-6)


def test_two_fits_of_one_seed_are_equal_and_leave_no_global_parameter():
    before = dict(nn.get_parameters(grad_only=False))
    runs = []
    for _ in range(2):
        path_filter = small_filter()
        report = fit(path_filter, *measured(), rng=np.random.default_rng(1), epochs=3, batch=32)
        runs.append((report, path_filter.weights))
    (first, weights), (second, again) = runs
    assert np.array_equal(first.train_loss, second.train_loss)
    assert all(np.array_equal(weights[name], again[name]) for name in weights)
    assert dict(nn.get_parameters(grad_only=False)) == before


@pytest.mark.parametrize("main_effects", [False, True])
@pytest.mark.parametrize("objective", ["ranking", "binary"])
def test_a_fit_is_the_same_whatever_precision_networks_are_trained_in(main_effects, objective):
    weights = []
    for type_config in ("float", "half"):
        with nn.context_scope(get_extension_context("cpu", type_config=type_config)):
            path_filter = small_filter(main_effects=main_effects)
            options = {"epochs": 3, "batch": 32, "weight_decay": 1e-4, "objective": objective}
            fit(path_filter, *measured(), rng=np.random.default_rng(1), **options)
        weights.append(path_filter.weights)
    for name, value in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], value, err_msg=name)


def test_fit_goes_on_from_the_weights_it_finds():
    path_filter, data = small_filter(), measured()
    options = {"epochs": 20, "learning_rate": 1e-2}
    first = fit(path_filter, *data, rng=np.random.default_rng(1), **options)
    second = fit(path_filter, *data, rng=np.random.default_rng(1), epochs=1, learning_rate=1e-4)
    assert second.train_loss[0] < first.train_loss[0]


def test_the_loss_across_buckets_learns_the_bucket_instead():
    tokens, buckets, losses = measured()
    options = {"epochs": 15, "learning_rate": 1e-2}
    bounded, free = small_filter(), small_filter()
    fit(bounded, tokens, buckets, losses, rng=np.random.default_rng(1), **options)
    fit(free, tokens, buckets, losses, rng=np.random.default_rng(1), bounded=False, **options)
    one_path = np.tile(tokens[:1], (3, 1))
    assert np.ptp(free.score(one_path, np.arange(3))) > 0.5 > np.ptp(bounded.score(one_path, np.arange(3)))


def test_patience_stops_and_progress_counts():
    seen = []
    report = fit(
        small_filter(),
        *measured(60),
        rng=np.random.default_rng(1),
        epochs=200,
        learning_rate=0.05,
        patience=3,
        progress=seen.append,
    )
    assert len(seen) == len(report.valid_loss) == report.best_epoch + 4 < 200
    assert seen == list(range(len(seen)))


def test_processes_that_fit_side_by_side_stop_together():
    """One whose own patience is not at its end stops where it is told to, and one whose is goes on."""

    def epochs(agree, patience):
        options = {"epochs": 30, "learning_rate": 0.05, "patience": patience, "agree": agree}
        return len(fit(small_filter(), *measured(60), rng=np.random.default_rng(1), **options).valid_loss)

    wishes = []
    alone = epochs(lambda wish: wishes.append(wish) or wish, 3)
    assert alone < 30
    assert wishes == [False] * (alone - 1) + [True]
    decided = iter(wishes)
    assert epochs(lambda _: next(decided), 29) == alone
    assert epochs(lambda _: False, 3) == 30


def test_a_held_out_part_without_pairs_is_judged_on_the_training_part():
    tokens, _, losses = measured(6)
    report = fit(small_filter(), tokens, np.zeros(6, int), losses, rng=np.random.default_rng(0), epochs=2)
    assert len(report.valid) == 1
    assert np.isnan(report.metrics["kendall_tau"])
    assert np.isfinite(report.valid_loss).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"losses": np.zeros(59)}, r"losses have shape \(59,\); 60 paths need \(60,\) finite numbers"),
        ({"losses": np.full(60, np.nan)}, "finite numbers"),
        (
            {"losses": np.zeros(60)},
            r"none of 48 paths to fit to differs from the others of its bucket; Ranking\(margin=1.0\) needs that",
        ),
        ({"epochs": 0}, "epochs is 0; it must be a whole number of at least 1"),
        ({"batch": 1}, "batch is 1; it must be a whole number of at least 2"),
        ({"patience": 0.5}, "patience is 0.5"),
        ({"margin": -1}, "margin is -1; it must be a number above 0"),
        ({"learning_rate": 0}, "learning_rate is 0; it must be a number above 0"),
        ({"valid_ratio": 1.0}, r"valid_ratio is 1.0; it must be a number in \[0, 1\)"),
    ],
)
def test_fits_that_cannot_be(change, message):
    tokens, buckets, losses = measured(60)
    data = {"tokens": tokens, "buckets": buckets, "losses": losses} | change
    with pytest.raises(ConfigError, match=message):
        fit(small_filter(), rng=np.random.default_rng(0), **data)


def test_a_loss_that_is_not_finite_leaves_the_filter_as_it_was_best():
    path_filter = small_filter()
    before = path_filter.weights
    with np.errstate(all="ignore"), pytest.raises(NumericError, match="not finite in epoch 0; lower learning_rate"):
        fit(path_filter, *measured(), rng=np.random.default_rng(0), epochs=3, learning_rate=1e38)
    assert all(np.array_equal(path_filter.weights[name], before[name]) for name in before)
