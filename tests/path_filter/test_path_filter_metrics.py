"""Table 2's figures, Kendall's tau and the baselines, against slow and obvious ones."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.path_filter import evaluate, kendall_tau, ridge_score
from nnabla_detofa.path_filter.baselines import leave_one_out_errors


def slow_tau(x, y):
    pairs = list(itertools.combinations(range(len(x)), 2))
    signs = [(np.sign(x[a] - x[b]), np.sign(y[a] - y[b])) for a, b in pairs]
    untied = np.sqrt(sum(s != 0 for s, _ in signs) * sum(t != 0 for _, t in signs))
    return sum(s * t for s, t in signs) / untied if untied else 0.0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=20))
@settings(max_examples=50, deadline=None)
def test_tau_equals_the_count_over_pairs(points):
    x, y = np.array(points, float).T
    assert kendall_tau(x, y) == pytest.approx(slow_tau(x, y), abs=1e-12)


def test_a_perfect_and_a_reversed_ranking():
    losses, buckets = np.arange(40.0), np.repeat([0, 1], 20)
    figures = {"accuracy": 1, "precision": 1, "recall": 1, "recall_over_all": 0.25, "kendall_tau": 1}
    assert evaluate(-losses, losses, buckets) == pytest.approx(figures)
    reverse = evaluate(losses, losses, buckets)
    assert (reverse["precision"], reverse["accuracy"], reverse["kendall_tau"]) == (0.0, 0.5, pytest.approx(-1.0))


def test_figures_by_hand():
    losses = np.array([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    scores = np.array([0.1, 0.9, 0.2, 0.8, 0.7, 0.6, 0.5, 0.4])  # weakest two: losses 8 and 6; truly 8 and 7
    figures = evaluate(scores, losses, np.zeros(8, int))
    assert figures["precision"] == figures["recall"] == 0.5
    assert (figures["accuracy"], figures["recall_over_all"]) == (0.75, 0.125)


def test_buckets_are_judged_apart_and_averaged():
    losses = np.array([1.0, 2.0, 3.0, 4.0, 10.0, 20.0, 30.0, 40.0])
    scores = np.array([4.0, 3.0, 2.0, 1.0, 1.0, 2.0, 3.0, 4.0])
    figures = evaluate(scores, losses, np.repeat([0, 3], 4))
    assert (figures["precision"], figures["kendall_tau"]) == (0.5, pytest.approx(0.0))


def test_ties_at_the_border_are_all_truly_weak():
    losses = np.array([5.0, 5.0, 1.0, 1.0])
    for scores in ([0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 2.0, 3.0]):
        figures = evaluate(np.array(scores), losses, np.zeros(4, int))
        assert (figures["precision"], figures["recall"]) == (1.0, 0.5)


def test_buckets_that_say_nothing_are_left_out():
    losses, scores = np.array([1.0, 2.0, 7.0, 3.0, 3.0]), np.array([2.0, 1.0, 5.0, 1.0, 2.0])
    assert evaluate(scores, losses, np.array([0, 0, 1, 2, 2]))["kendall_tau"] == pytest.approx(1.0)
    assert all(np.isnan(x) for x in evaluate(scores[:1], losses[:1], np.array([0])).values())
    assert all(np.isnan(x) for x in evaluate(np.empty(0), np.empty(0), np.empty(0, int)).values())


def test_arrays_of_other_lengths():
    with pytest.raises(ConfigError, match=r"\(3,\).*\(2,\)"):
        evaluate(np.zeros(3), np.zeros(2), np.zeros(3, int))


def test_ridge_finds_an_additive_loss_and_ignores_the_bucket():
    rng = np.random.default_rng(0)
    tokens, buckets = rng.integers(0, 3, (200, 6)), rng.integers(0, 2, 200)
    worth = rng.standard_normal((6, 3))
    losses = worth[np.arange(6), tokens].sum(axis=1) + 100.0 * buckets
    scores = ridge_score(tokens[:150], buckets[:150], losses[:150], tokens[150:])
    assert evaluate(scores, losses[150:], buckets[150:])["kendall_tau"] > 0.95


def test_leave_one_out_errors_are_those_of_leaving_one_out():
    rng = np.random.default_rng(0)
    x, y, buckets = rng.integers(0, 2, (14, 6)).astype(float), rng.standard_normal(14), np.arange(14) % 3
    left, size, _ = np.linalg.svd(centred(x, buckets), full_matrices=False)
    penalties = np.array([0.1, 3.0])
    found = leave_one_out_errors(left, size, centred(y, buckets), buckets, penalties)
    for penalty, errors in zip(penalties, found, strict=True):
        for i, error in enumerate(errors):
            rest = np.arange(14) != i
            features, target = (centred(v[rest], buckets[rest]) for v in (x, y))
            weights = np.linalg.solve(features.T @ features + penalty * np.eye(6), features.T @ target)
            own = rest & (buckets == buckets[i])
            assert error == pytest.approx(y[i] - y[own].mean() - (x[i] - x[own].mean(axis=0)) @ weights)


def centred(values, buckets):
    return values - np.stack([values[buckets == bucket].mean(axis=0) for bucket in buckets])


def test_few_noisy_paths_of_many_choices_are_not_fitted_through_every_point():
    """As many paths as free choices: a penalty too small would rank by the noise alone."""
    rng = np.random.default_rng(1)
    effect = rng.standard_normal((20, 6))
    tokens, buckets = rng.integers(0, 6, (300, 20)), np.arange(300) % 5
    truth = effect[np.arange(20), tokens].sum(axis=1)
    noisy = truth[:100] + truth.std() * rng.standard_normal(100)
    scores = ridge_score(tokens[:100], buckets[:100], noisy, tokens[100:])
    assert kendall_tau(scores, -truth[100:]) > 0.35  # .19 where the buckets' means are taken for known


def test_ridge_of_noise_shrinks_and_of_one_path_is_flat():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 3, (300, 6))
    noise = ridge_score(tokens, np.zeros(300, int), rng.standard_normal(300), tokens)
    assert noise.std() < 0.1
    assert not ridge_score(tokens[:1], np.zeros(1, int), np.ones(1), tokens).any()
