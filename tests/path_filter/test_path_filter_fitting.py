"""Eq. 4 and 5 and GreedyNASv2's question, the split, what a fit keeps, and cross-validation."""

import nnabla as nn
import numpy as np
import pytest
from path_filter_oracle import loss_graph

from nnabla_detofa.errors import ConfigError, NumericError
from nnabla_detofa.options import declared
from nnabla_detofa.path_filter import (
    AveragedFilter,
    PathFilter,
    TokenLayout,
    cross_validate,
    evaluate,
    fit,
    kendall_tau,
    transformer,
)
from nnabla_detofa.path_filter.cross_validation import _folds
from nnabla_detofa.path_filter.fitting import _best_scale, split
from nnabla_detofa.path_filter.metrics import METRICS, weakest
from nnabla_detofa.path_filter.objectives import OBJECTIVES, Binary, Ranking, any_pairs, pair_weights

LAYOUT = TokenLayout(vocabulary=4, layer=[0, 1, 2, 3], block=[0, 0, 1, 1])
SMALL = {"dim": 16, "heads": 2, "layers": 1, "hidden": 16}
LOSSES = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 10.0, 30.0, 20.0])
BUCKETS = np.array([0, 0, 0, 0, 0, 1, 1, 1])


def small_filter(**options):
    return PathFilter(LAYOUT, 3, rng=np.random.default_rng(0), **{**SMALL, "main_effects": False, **options})


def measured(n=120, seed=0):
    """Paths whose loss falls with every token, and with the bucket so strongly that it hides the tokens."""
    rng = np.random.default_rng(seed)
    tokens, buckets = rng.integers(0, 4, (n, 4)), rng.integers(0, 3, n)
    return tokens, buckets, 10.0 - tokens @ [0.4, 0.3, 0.2, 0.1] - 5.0 * buckets


def fitted(data=None, seed=1, path_filter=None, **options):
    """A small filter after a fit, and the report."""
    path_filter = path_filter or small_filter()
    data = measured() if data is None else data
    return path_filter, fit(path_filter, *data, rng=np.random.default_rng(seed), **options)


# ---- objectives


def test_pairs_are_those_of_one_bucket_with_the_lower_loss_on_the_left():
    buckets, losses = np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 2.0, 0.5, 0.1])
    weights = pair_weights(buckets, losses)
    assert set(zip(*np.nonzero(weights), strict=True)) == {(0, 1), (0, 2), (4, 3)}
    assert weights.sum() == pytest.approx(1)
    assert any_pairs(buckets, losses)
    for groups, truth in (([0, 1], [1.0, 2.0]), ([0, 0, 1], [1.0, 1.0, 2.0]), ([], [])):
        assert not pair_weights(np.array(groups), np.array(truth)).any()
        assert not any_pairs(np.array(groups), np.array(truth))


@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_the_ranking_loss_is_the_mean_squared_hinge(margin):
    buckets, losses = np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 3.0, 0.5, 0.1])
    scores = np.array([0.9, 0.5, 0.6, 0.2, 0.3], np.float32)
    pairs = [(0, 1), (0, 2), (1, 2), (4, 3)]
    expected = np.mean([max(0, margin - (scores[a] - scores[b])) ** 2 for a, b in pairs])
    assert Ranking(margin).loss(scores, pair_weights(buckets, losses))[0] == pytest.approx(expected, rel=1e-6)


def test_half_a_margin_is_least_where_scores_are_spread_evenly():
    weights, even = pair_weights(np.zeros(40, int), np.arange(40.0)), 1 - (np.arange(40) + 0.5) / 40
    half, whole, rng = Ranking(0.5), Ranking(1.0), np.random.default_rng(0)
    others = [np.clip(even + step * rng.standard_normal(40), 0, 1) for step in (0.01, 0.03, 0.1)]
    assert all(half.loss(even, weights)[0] < half.loss(other, weights)[0] for other in others)
    ends = np.clip(0.5 + 2 * (even - 0.5), 0, 1)  # the paper's margin of 1 wants the outer quarters at the ends
    assert whole.loss(ends, weights)[0] < whole.loss(even, weights)[0]


def test_the_weakest_of_each_bucket_are_those_of_table_2():
    assert Binary(0.4).truth(BUCKETS, LOSSES).tolist() == [1, 0, 1, 0, 0, 0, 1, 0]
    assert Binary(0.4).truth(np.zeros(8, int), LOSSES).tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert weakest(LOSSES, 0.01).sum() == 1
    figures = evaluate(-Binary(0.25).truth(BUCKETS, LOSSES), LOSSES, BUCKETS)
    assert figures["precision"] == figures["recall"] == figures["accuracy"] == 1


@pytest.mark.parametrize("aim", [Ranking(0.5), Ranking(1.0), Binary(0.25), Binary(0.6)])
def test_losses_and_slopes_are_those_of_nnablas_functions(aim):
    scores = np.random.default_rng(0).uniform(0.05, 0.95, len(LOSSES))
    targets = aim.targets(BUCKETS, aim.truth(BUCKETS, LOSSES))
    given = nn.Variable.from_numpy_array(scores[:, None], need_grad=True)
    given.grad.zero()
    graph = loss_graph(aim, given, targets)
    graph.forward()
    graph.backward()
    loss, slopes = aim.loss(scores, targets)
    assert loss == pytest.approx(float(graph.d), rel=1e-5)
    np.testing.assert_allclose(slopes, given.g[:, 0], rtol=1e-5, atol=1e-6)
    differences = [
        (aim.loss(scores + h, targets)[0] - aim.loss(scores - h, targets)[0]) / 2e-6 for h in 1e-6 * np.eye(8)
    ]
    np.testing.assert_allclose(slopes, differences, rtol=1e-5, atol=1e-6)


def test_cross_entropy_is_least_at_the_truth_and_finite_at_the_ends():
    targets = Binary(0.4).targets(BUCKETS, Binary(0.4).truth(BUCKETS, LOSSES))
    assert Binary(0.4).loss(targets, targets)[0] < 1e-9
    worst, slopes = Binary(0.4).loss(1 - targets, targets)
    assert 20 < worst < np.inf
    assert np.isfinite(slopes).all()
    assert Binary(0.4).loss(np.full(8, 0.5, np.float32), targets)[0] == pytest.approx(np.log(2))


@pytest.mark.parametrize("main_effects", [False, True])
def test_a_binary_filter_finds_the_share_it_was_fitted_to(main_effects):
    options = {"objective": "binary", "binary_ratio": 0.25, "epochs": 60, "learning_rate": 1e-2}
    path_filter, report = fitted(measured(240), path_filter=small_filter(main_effects=main_effects), **options)
    assert report.valid_loss[report.best_epoch] == report.valid_loss.min()
    tokens, buckets, losses = measured(120, 9)
    scores = path_filter.score(tokens, buckets)
    assert evaluate(scores, losses, buckets)["precision"] > 0.75
    assert 0.1 < (scores < 0.5).mean() < 0.4  # the score is the probability that the path is not weak


def test_another_ratio_is_served_by_a_ranking_and_not_by_a_binary_filter():
    tokens, buckets, losses = measured(150, 9)
    options = {"binary_ratio": 0.7, "epochs": 40, "learning_rate": 1e-2}
    filters = (fitted(measured(240), objective=objective, **options)[0] for objective in OBJECTIVES)
    ranking, binary = (evaluate(one.score(tokens, buckets), losses, buckets) for one in filters)
    assert ranking["precision"] > binary["precision"]
    assert ranking["kendall_tau"] > binary["kendall_tau"]


# ---- fits


def test_split_is_stratified_and_complete():
    buckets = np.repeat([0, 1, 2, 3], [50, 10, 5, 1])
    train, valid = split(buckets, 0.2, np.random.default_rng(0))
    assert sorted([*train, *valid]) == list(range(66))
    assert np.bincount(buckets[valid], minlength=4).tolist() == [10, 2, 1, 0]


def test_fit_ranks_paths_it_has_not_seen():
    path_filter, report = fitted(epochs=40, learning_rate=1e-2)
    assert report.metrics["kendall_tau"] > 0.8
    assert report.metrics["precision"] > 0.5
    assert report.valid_loss[report.best_epoch] == report.valid_loss.min()
    assert len(report.train_loss) == len(report.valid_loss) == 40
    assert len(report.train) + len(report.valid) == 120
    tokens, buckets, losses = measured(seed=9)
    scores = path_filter.score(tokens, buckets)
    assert all(kendall_tau(scores[buckets == b], -losses[buckets == b]) > 0.7 for b in range(3))


def test_fit_keeps_the_weights_of_its_best_epoch():
    tokens, buckets, losses = data = measured(60)
    path_filter, report = fitted(data, epochs=15, learning_rate=0.1)
    scores, valid = path_filter.score(tokens, buckets), report.valid
    loss, _ = Ranking(1.0).loss(scores[valid], pair_weights(buckets[valid], losses[valid]))
    assert loss == pytest.approx(report.valid_loss[report.best_epoch], abs=1e-6)


def test_two_fits_of_one_seed_are_equal_on_any_number_of_threads(monkeypatch):
    (first, report), *others = (
        (monkeypatch.setattr(transformer, "THREADS", threads), fitted(epochs=3, batch=70))[1] for threads in (1, 1, 3)
    )
    for path_filter, again in others:
        assert np.array_equal(report.train_loss, again.train_loss)
        assert all(np.array_equal(first.weights[name], value) for name, value in path_filter.weights.items())


def test_weights_decay():
    sums = []
    for weight_decay in (0.0, 0.1):
        path_filter, report = fitted(epochs=20, weight_decay=weight_decay)
        assert report.best_epoch > 0
        sums.append(np.abs(path_filter.weights["head/hidden/W"]).sum())
    assert sums[0] > 1.05 * sums[1]


def test_the_loss_across_buckets_learns_the_bucket_instead():
    bounded, free = (fitted(epochs=15, learning_rate=1e-2, bounded=bounded)[0] for bounded in (True, False))
    one_path = np.tile(measured()[0][:1], (3, 1))
    assert np.ptp(free.score(one_path, np.arange(3))) > 0.5 > np.ptp(bounded.score(one_path, np.arange(3)))


def test_patience_stops_and_progress_counts():
    seen = []
    _, report = fitted(measured(60), epochs=200, learning_rate=0.05, patience=3, progress=seen.append)
    assert len(seen) == len(report.valid_loss) == report.best_epoch + 4 < 200
    assert seen == list(range(len(seen)))


def test_processes_that_fit_side_by_side_stop_together():
    """One whose own patience is not at its end stops where it is told to, and one whose is goes on."""

    def epochs(agree, patience):
        options = {"epochs": 30, "learning_rate": 0.05, "patience": patience, "agree": agree}
        return len(fitted(measured(60), **options)[1].valid_loss)

    wishes = []
    alone = epochs(lambda wish: wishes.append(wish) or wish, 3)
    assert alone < 30
    assert wishes == [False] * (alone - 1) + [True]
    decided = iter(wishes)
    assert epochs(lambda _: next(decided), 29) == alone
    assert epochs(lambda _: False, 3) == 30


def test_a_held_out_part_without_pairs_is_judged_on_the_training_part():
    tokens, _, losses = measured(6)
    _, report = fitted((tokens, np.zeros(6, int), losses), seed=0, epochs=2)
    assert len(report.valid) == 1 and np.isnan(report.metrics["kendall_tau"])
    assert np.isfinite(report.valid_loss).all()


def test_a_loss_that_is_not_finite_leaves_the_filter_as_it_was_best(monkeypatch):
    """And is the one thing said: what overflows on the way to it is no warning, on whichever thread."""
    monkeypatch.setattr(transformer, "THREADS", 2)
    path_filter = small_filter()
    before = path_filter.weights
    with pytest.raises(NumericError, match="epoch 0"):
        fitted(measured(300), path_filter=path_filter, epochs=3, learning_rate=1e38)
    assert all(np.array_equal(path_filter.weights[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("losses", "options", "said"),
    [
        (np.zeros(59), {}, r"\(59,\)"),
        (np.full(60, np.nan), {}, "finite"),
        (np.zeros(60), {}, r"48 paths .* Ranking\(margin=1.0\)"),
        (np.ones(60), {"objective": "binary", "valid_ratio": 0}, r"60 paths .* Binary\(ratio=0.25\)"),
    ],
)
def test_losses_that_nothing_can_be_fitted_to(losses, options, said):
    with pytest.raises(ConfigError, match=said):
        fitted((*measured(60)[:2], losses), **options)


NONE_OF = {"epochs": (0, True), "batch": (1,), "patience": (0, 0.5), "objective": ("auc",), "margin": (0, -1)}
NONE_OF |= {"learning_rate": (0, float("inf")), "weight_decay": (-1,), "valid_ratio": (1.0, -0.1), "bounded": (1,)}
NONE_OF |= {"binary_ratio": (0, 1, "a")}


@pytest.mark.parametrize(("option", "values"), NONE_OF.items())
def test_options_that_cannot_be(option, values):
    for value in values:
        for call in (declared(fit, "rng", "progress", "agree").of, lambda _, given: fitted(**given)):
            with pytest.raises(ConfigError) as caught:
                call("path_filter.fit", {option: value})
            assert (caught.value.key, caught.value.given) == (f"path_filter.fit.{option}", value)


# ---- cross-validation


def one_filter():
    return AveragedFilter([small_filter()])


def validated(folds):
    """Of four paths a bucket, which is what the settings allow at least."""
    rng = np.random.default_rng(0)
    tokens, buckets = rng.integers(4, size=(8, 4)), np.arange(8) % 2
    losses, costs = np.random.default_rng(1).random(8), rng.random(8)
    return cross_validate(one_filter, tokens, buckets, losses, costs=costs, folds=folds, rng=rng, epochs=1)


def test_fewer_paths_a_bucket_than_folds_leave_fewer_folds_and_nothing_to_rank():
    found = validated(folds=5)
    assert set(found["same_images"]) == {"path filter", "FLOPs", "ridge regression"}
    for row in (found["filter"], *found["same_images"].values()):
        assert row == dict.fromkeys(METRICS)  # undefined, which is not a tau of 0


def test_a_figure_is_the_mean_of_the_folds_that_define_it():
    """Of four paths a bucket in three folds, two are in the first, and one each in the others, which say nothing."""
    row = validated(folds=3)["filter"]
    assert row["precision"] in (0, 0.5, 1) and row["kendall_tau"] in (-1, 0, 1)


def test_held_out_paths_are_judged_by_both_measurements():
    """FLOPs rank the first measurement backwards, and the one on other images, which counts, as it is."""
    tokens, buckets, losses = measured(60)
    options = {"costs": losses, "again": -losses, "folds": 3, "rng": np.random.default_rng(0), "epochs": 15}
    found = cross_validate(one_filter, tokens, buckets, losses, learning_rate=1e-2, **options)
    assert found["filter"] == found["other_images"]["path filter"]
    assert found["same_images"]["FLOPs"]["kendall_tau"] == pytest.approx(-1)
    assert found["other_images"]["FLOPs"]["kendall_tau"] == pytest.approx(1)
    assert found["same_images"]["path filter"]["kendall_tau"] > 0.5 > -0.5 > found["filter"]["kendall_tau"]


# ---- what a fit sees, and what it keeps of it


def test_batches_are_drawn_anew_in_every_epoch(monkeypatch):
    seen, targets = [], Ranking.targets

    def noted(self, groups, truth):
        seen.append(truth.tobytes())
        return targets(self, groups, truth)

    monkeypatch.setattr(Ranking, "targets", noted)
    fitted(epochs=3, batch=48)
    _, *batches = seen  # the first are those held out
    assert len(batches) == len(set(batches)) == 6


def test_what_is_learned_of_main_effects_is_kept():
    options = ({"epochs": 1, "learning_rate": 1e-12}, {"epochs": 20, "learning_rate": 1e-2})
    start, path_filter = (fitted(path_filter=small_filter(main_effects=True), **one)[0] for one in options)
    assert np.abs(path_filter.parameters["main"] - start.parameters["main"])[:16].max() > 1e-3


def test_the_best_scale_is_the_one_that_is_judged_best():
    main = np.ones((3, 1))
    assert _best_scale(main, lambda: abs(main[0, 0] - 1.9)) == 2 and (main == 2).all()


def test_folds_are_drawn():
    first, again, other = (_folds(np.repeat([0, 1], 20), 5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_held_out_path_is_judged_by_what_has_not_seen_it():
    """Losses that nothing tells: who had seen them would know them by heart."""
    rng, layout = np.random.default_rng(0), TokenLayout(4, [*range(40)], [0] * 40)
    tokens, buckets, losses = rng.integers(0, 4, (60, 40)), np.arange(60) % 2, rng.random(60)

    def new() -> AveragedFilter:
        return AveragedFilter([PathFilter(layout, 2, rng=np.random.default_rng(0), main_effects=True, **SMALL)])

    judged = cross_validate(new, tokens, buckets, losses, costs=losses, folds=3, rng=rng, epochs=1)["same_images"]
    assert max(abs(judged[name]["kendall_tau"]) for name in ("path filter", "ridge regression")) < 0.4
