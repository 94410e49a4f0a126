"""Two things a filter can be fitted to: a ranking, which serves any ratio, and one ratio's weak paths (GreedyNASv2)."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.path_filter import PathFilter, TokenLayout, evaluate, fit, require_fit_options
from nnabla_detofa.path_filter.metrics import weakest
from nnabla_detofa.path_filter.objectives import OBJECTIVES, Binary, Ranking

LAYOUT = TokenLayout(vocabulary=4, layer=[0, 1, 2, 3], block=[0, 0, 1, 1])
SMALL = {"dim": 16, "heads": 2, "layers": 1, "hidden": 16}
LOSSES = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 10.0, 30.0, 20.0])
BUCKETS = np.array([0, 0, 0, 0, 0, 1, 1, 1])


def small_filter(**options):
    return PathFilter(LAYOUT, 3, rng=np.random.default_rng(0), **{**SMALL, "main_effects": False, **options})


def measured(n, seed):
    """Paths whose loss falls with every token and, much more, with the bucket."""
    rng = np.random.default_rng(seed)
    tokens, buckets = rng.integers(0, 4, (n, 4)), rng.integers(0, 3, n)
    return tokens, buckets, 10.0 - tokens @ [0.4, 0.3, 0.2, 0.1] - 5.0 * buckets


def test_the_weakest_of_each_bucket_are_those_of_table_2():
    assert Binary(0.4).truth(BUCKETS, LOSSES).tolist() == [1, 0, 1, 0, 0, 0, 1, 0]
    assert Binary(0.4).truth(np.zeros(8, int), LOSSES).tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert weakest(LOSSES, 0.01).sum() == 1
    weak = Binary(0.25).truth(BUCKETS, LOSSES)
    figures = evaluate(-weak, LOSSES, BUCKETS, 0.25)
    assert figures["precision"] == figures["recall"] == figures["accuracy"] == 1


@pytest.mark.parametrize("aim", [Ranking(0.5), Ranking(1.0), Binary(0.25), Binary(0.6)])
def test_the_graph_is_the_loss_in_numpy_and_its_slope(aim):
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, len(LOSSES)).astype(np.float32)
    targets = aim.targets(BUCKETS, aim.truth(BUCKETS, LOSSES))
    given = nn.Variable.from_numpy_array(scores[:, None], need_grad=True)
    given.grad.zero()
    graph = aim.graph(given, nn.Variable.from_numpy_array(targets))
    graph.forward()
    graph.backward()
    assert graph.d == pytest.approx(aim.loss(scores, targets), rel=1e-5)
    for i in range(len(scores)):
        up, down = scores.astype(np.float64), scores.astype(np.float64)
        up[i], down[i] = up[i] + 1e-5, down[i] - 1e-5
        slope = (aim.loss(up, targets) - aim.loss(down, targets)) / 2e-5
        assert given.g[i, 0] == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_cross_entropy_is_least_at_the_truth_and_finite_at_the_ends():
    targets = Binary(0.4).targets(BUCKETS, Binary(0.4).truth(BUCKETS, LOSSES))
    right = targets[:, 0]
    assert Binary(0.4).loss(right, targets) < 1e-9
    assert 20 < Binary(0.4).loss(1 - right, targets) < np.inf
    assert Binary(0.4).loss(np.full(8, 0.5, np.float32), targets) == pytest.approx(np.log(2))


@pytest.mark.parametrize("main_effects", [False, True])
def test_a_binary_filter_finds_the_share_it_was_fitted_to(main_effects):
    path_filter = small_filter(main_effects=main_effects)
    options = {"objective": "binary", "binary_ratio": 0.25, "epochs": 60, "learning_rate": 1e-2}
    report = fit(path_filter, *measured(240, 0), rng=np.random.default_rng(1), **options)
    assert report.valid_loss[report.best_epoch] == report.valid_loss.min()
    tokens, buckets, losses = measured(120, 9)
    scores = path_filter.score(tokens, buckets)
    assert evaluate(scores, losses, buckets, 0.25)["precision"] > 0.75
    assert 0.1 < (scores < 0.5).mean() < 0.4  # the score is the probability that the path is not weak


def test_another_ratio_is_served_by_a_ranking_and_not_by_a_binary_filter():
    tokens, buckets, losses = measured(150, 9)
    figures = {}
    for objective in OBJECTIVES:
        path_filter = small_filter()
        options = {"objective": objective, "binary_ratio": 0.7, "epochs": 40, "learning_rate": 1e-2}
        fit(path_filter, *measured(240, 0), rng=np.random.default_rng(1), **options)
        figures[objective] = evaluate(path_filter.score(tokens, buckets), losses, buckets, 0.25)
    assert figures["ranking"]["precision"] > figures["binary"]["precision"]
    assert figures["ranking"]["kendall_tau"] > figures["binary"]["kendall_tau"]


def test_paths_that_are_all_weak_or_all_good_cannot_be_told_apart():
    tokens, _, _ = measured(8, 0)
    with pytest.raises(ConfigError, match=r"none of 8 paths to fit to differs .*; Binary\(ratio=0.25\) needs that"):
        fit(
            small_filter(),
            tokens,
            np.zeros(8, int),
            np.ones(8),
            rng=np.random.default_rng(0),
            objective="binary",
            valid_ratio=0,
        )


@pytest.mark.parametrize(
    ("option", "allowed"),
    [
        ({"objective": "auc"}, "objective is 'auc'; it must be one of ranking, binary"),
        ({"binary_ratio": 0}, r"binary_ratio is 0; it must be a number in \(0, 1\)"),
        ({"binary_ratio": "a"}, r"binary_ratio is 'a'; it must be a number in \(0, 1\)"),
        ({"weight_decay": -1}, "weight_decay is -1; it must be a number of at least 0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf; it must be a number above 0"),
        ({"bounded": 1}, "bounded is 1; it must be true or false"),
        ({"patience": 0}, "patience is 0; it must be a whole number of at least 1, or null"),
        ({"epochs": True}, "epochs is True; it must be a whole number of at least 1"),
    ],
)
def test_options_that_cannot_be(option, allowed):
    require_fit_options(epochs=3, patience=None)
    with pytest.raises(ConfigError, match=f"^path filter: {allowed}$"):
        require_fit_options(**option)
    with pytest.raises(ConfigError, match=allowed):
        fit(small_filter(), *measured(30, 0), rng=np.random.default_rng(0), **option)
