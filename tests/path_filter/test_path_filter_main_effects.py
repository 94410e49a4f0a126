"""Main effects beside the transformer: a start at ridge regression, and the same scores in NumPy and NNabla."""

import nnabla as nn
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nnabla_detofa.cli import SHIPPED
from nnabla_detofa.errors import ConfigError, WeightsError
from nnabla_detofa.path_filter import PathFilter, TokenLayout, evaluate, fit, kendall_tau, ridge_score
from nnabla_detofa.path_filter.network import score_graph
from nnabla_detofa.space import Budgets, CostModel, SearchSpace

LAYOUT = TokenLayout(vocabulary=3, layer=(0, 1, 2, 3, 4), block=(0, 0, 1, 1, 1))
SMALL = {"dim": 16, "heads": 2, "layers": 1, "hidden": 16}

SMALLER = {"dim": 8, "heads": 1, "layers": 1, "hidden": 8}


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


def test_the_scores_of_every_bucket_start_around_a_half():
    rng = np.random.default_rng(5)
    buckets = np.repeat([0, 1], 40)
    tokens = np.where(rng.random((80, 5)) < 0.8, 2 * buckets[:, None], 1)  # a bucket's own tokens, and few others
    losses = tokens @ np.arange(1.0, 6) + 0.01 * rng.standard_normal(80)
    path_filter = fresh()
    fit(path_filter, tokens, buckets, losses, rng=rng, epochs=1, learning_rate=1e-12)
    scores = path_filter.score(tokens, buckets, dtype=np.float64)
    logits = np.log(scores / (1 - scores))
    for bucket in range(2):
        assert abs(logits[buckets == bucket].mean()) < 0.2 < logits[buckets == bucket].std()


def test_double_precision_tells_the_best_paths_apart():
    path_filter = fresh()
    path_filter.variables["main"].d[:15, 0] = np.repeat([6.0, 6.0, 6.0, 2.0, 0.1], 3) * np.tile([0, 0.5, 1], 5)
    tokens = np.array([[2, 2, 2, 2, last] for last in range(3)])
    single, double = (path_filter.score(tokens, np.zeros(3, int), dtype=dtype) for dtype in (np.float32, np.float64))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert len(set(single)) == 1
    assert (np.diff(double) > 0).all()
    np.testing.assert_array_equal(double.astype(np.float32), single)


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


# ---- the paper's space and the shipped configuration


@pytest.fixture(scope="module")
def shipped():
    """`path_filter` of the paper's run on VOC."""
    with initialize_config_dir(str(SHIPPED), version_base=None):
        return OmegaConf.to_container(compose("detofa_voc").path_filter)


@pytest.fixture(scope="module")
def papers():
    """Draws paths of the paper's space, n a bucket: tokens, buckets and losses that are a number for each token."""
    space = SearchSpace.ofa_resnet50()
    cost = CostModel.flops(space, image_size=384, n_classes=20)
    budgets, layout = Budgets.equal_width(cost), space.token_layout()

    def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng, truth = np.random.default_rng(seed), np.random.default_rng(99)
        ranges = map(budgets.range, range(len(budgets)))
        paths = np.concatenate([space.sample(n, rng, cost=cost, low=low, high=high) for low, high in ranges])
        tokens, effect = space.tokenize(paths), truth.standard_normal((len(layout.layer), layout.vocabulary))
        return tokens, budgets.bucket(cost(paths)), effect[np.arange(tokens.shape[1]), tokens].sum(axis=1) / 100

    return layout, draw


@pytest.mark.parametrize("seed", [0, 1])
def test_shipped_defaults_rank_unseen_paths_where_losses_are_additive(shipped, papers, seed):
    """All but the sizes of the transformer, which a test has not the minutes for; whole it has tau .97 to 1.00."""
    layout, draw = papers
    path_filter = PathFilter(
        layout, shipped["n_buckets"], rng=np.random.default_rng(seed), **shipped["network"], **SMALLER
    )
    known = draw(shipped["paths_per_bucket"], 2 * seed)
    fit(path_filter, *known, rng=np.random.default_rng(seed), **shipped["fit"])
    tokens, buckets, losses = draw(200, 2 * seed + 1)
    assert evaluate(path_filter.score(tokens, buckets), losses, buckets)["kendall_tau"] >= 0.9


def test_python_has_the_shipped_defaults(shipped):
    design = PathFilter(LAYOUT, rng=np.random.default_rng(0)).design
    assert shipped["network"] == {"budget_condition": True, "block_encoding": True, "main_effects": "auto"}
    assert (design.budget_condition, design.block_encoding, design.main_effects) == (True, True, True)
    given = {name: value for name, value in fit.__kwdefaults__.items() if name in shipped["fit"]}
    assert given == shipped["fit"]
    assert shipped["fit"]["margin"] == 1.0


# ---- auto


@pytest.mark.parametrize("stored", [True, False])
def test_auto_takes_over_what_the_filter_has_that_it_starts_from(tmp_path, stored):
    tokens, buckets, losses = measured(40, seed=0)
    before = PathFilter(LAYOUT, 2, rng=np.random.default_rng(0), main_effects=stored, **SMALL)
    fit(before, tokens, buckets, losses, rng=np.random.default_rng(1), epochs=3)
    before.save(tmp_path / "filter.h5")
    path_filter = PathFilter(LAYOUT, 2, rng=np.random.default_rng(5), **SMALL)
    assert path_filter.design.main_effects
    path_filter.start_from(tmp_path / "filter.h5")
    assert path_filter.design == before.design
    np.testing.assert_array_equal(path_filter.score(tokens, buckets), before.score(tokens, buckets))
    fit(path_filter, tokens, buckets, losses, rng=np.random.default_rng(2), epochs=3)
    path_filter.save(tmp_path / "further.h5")
    assert PathFilter.load(tmp_path / "further.h5").design.main_effects is stored
    other = PathFilter(LAYOUT, 2, rng=np.random.default_rng(0), main_effects=not stored, **SMALL)
    with pytest.raises(WeightsError, match=f"main_effects {stored}, where {not stored} is wanted"):
        other.start_from(tmp_path / "filter.h5")


@pytest.mark.parametrize("value", ["on", 1, None, "AUTO"], ids=repr)
def test_main_effects_that_are_neither(value):
    with pytest.raises(ConfigError, match=f"main_effects is {value!r}; it must be true, false or auto"):
        PathFilter(LAYOUT, rng=np.random.default_rng(0), main_effects=value)
