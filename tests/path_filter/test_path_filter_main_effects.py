"""Main effects beside the transformer: a start at ridge regression, the shipped configuration, and "auto"."""

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from nnabla_detofa.errors import ConfigError, WeightsError
from nnabla_detofa.launch.composition import SHIPPED
from nnabla_detofa.options import declared
from nnabla_detofa.path_filter import PathFilter, TokenLayout, evaluate, fit, kendall_tau, ridge_score
from nnabla_detofa.space import Budgets, CostModel, SearchSpace

LAYOUT = TokenLayout(vocabulary=3, layer=(0, 1, 2, 3, 4), block=(0, 0, 1, 1, 1))
SMALL = {"dim": 16, "heads": 2, "layers": 1, "hidden": 16}


def measured(n: int, seed: int):
    """Paths whose loss is a sum over their tokens: tokens (n, 5), buckets (n,), losses (n,)."""
    rng = np.random.default_rng(seed)
    effect = np.random.default_rng(99).standard_normal((5, 3))
    tokens = rng.integers(0, 3, (n, 5))
    return tokens, rng.integers(0, 2, n), effect[np.arange(5), tokens].sum(axis=1)


def fresh(main_effects=True, seed=0) -> PathFilter:
    return PathFilter(LAYOUT, n_buckets=2, rng=np.random.default_rng(seed), main_effects=main_effects, **SMALL)


def logits(path_filter, tokens, buckets):
    scores = path_filter.score(tokens, buckets, dtype=np.float64)
    return np.log(scores / (1 - scores))


def test_a_fit_without_epochs_worth_keeping_ranks_as_ridge_regression():
    tokens, buckets, losses = measured(40, seed=0)
    path_filter = fresh()
    fit(path_filter, tokens, buckets, losses, rng=np.random.default_rng(1), epochs=1, learning_rate=1e-12)
    unseen, _, _ = measured(30, seed=1)
    ours, expected = logits(path_filter, unseen, np.zeros(30, int)), ridge_score(tokens, buckets, losses, unseen)
    assert kendall_tau(ours, expected) > 0.99
    assert np.corrcoef(ours, expected)[0, 1] > 0.9999  # nothing but ridge regression, in another unit


def test_the_scores_of_every_bucket_start_around_a_half():
    rng = np.random.default_rng(5)
    buckets = np.repeat([0, 1], 40)
    tokens = np.where(rng.random((80, 5)) < 0.8, 2 * buckets[:, None], 1)  # a bucket's own tokens, and few others
    losses = tokens @ np.arange(1.0, 6) + 0.01 * rng.standard_normal(80)
    path_filter = fresh()
    fit(path_filter, tokens, buckets, losses, rng=rng, epochs=1, learning_rate=1e-12)
    for bucket in range(2):
        own = logits(path_filter, tokens, buckets)[buckets == bucket]
        assert abs(own.mean()) < 0.2 < own.std()


def test_double_precision_tells_the_best_paths_apart():
    path_filter = fresh()
    path_filter.parameters["main"][:15, 0] = np.repeat([6.0, 6.0, 6.0, 2.0, 0.1], 3) * np.tile([0, 0.5, 1], 5)
    tokens = np.array([[2, 2, 2, 2, last] for last in range(3)])
    single, double = (path_filter.score(tokens, np.zeros(3, int), dtype=dtype) for dtype in (np.float32, np.float64))
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert len(set(single)) == 1
    assert (np.diff(double) > 0).all()
    np.testing.assert_array_equal(double.astype(np.float32), single)


def test_few_paths_are_enough_for_what_is_additive():
    unseen, where, truth = measured(60, seed=3)
    taus = []
    for main_effects in (True, False):
        path_filter = fresh(main_effects)
        fit(path_filter, *measured(30, seed=2), rng=np.random.default_rng(1), epochs=20)
        taus.append(evaluate(path_filter.score(unseen, where), truth, where)["kendall_tau"])
    assert taus[0] > 0.9 > taus[1]


# ---- the paper's space and the shipped configuration


@pytest.fixture(scope="module")
def shipped():
    """`path_filter` of the paper's run on VOC."""
    with initialize_config_dir(str(SHIPPED), version_base=None):
        return OmegaConf.to_container(compose("detofa_voc").path_filter)


@pytest.mark.parametrize("seed", [0, 1])
def test_shipped_defaults_rank_unseen_paths_where_losses_are_additive(shipped, seed):
    """All but the sizes of the transformer, which a test has not the minutes for; whole it has tau .97 to 1.00."""
    space = SearchSpace.ofa_resnet50()
    cost = CostModel.flops(space, image_size=384, n_classes=20)
    budgets, layout = Budgets.equal_width(cost), space.token_layout()
    effect = np.random.default_rng(99).standard_normal((len(layout.layer), layout.vocabulary)) / 100

    def draw(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        paths = np.concatenate(budgets.sample(space, cost, n, rng))
        tokens = space.tokenize(paths)
        return tokens, budgets.bucket(cost(paths)), effect[np.arange(tokens.shape[1]), tokens].sum(axis=1)

    rng, sizes = np.random.default_rng(seed), {"dim": 8, "heads": 1, "layers": 1, "hidden": 8}
    path_filter = PathFilter(layout, shipped["n_buckets"], rng=rng, **shipped["network"], **sizes)
    fit(path_filter, *draw(shipped["paths_per_bucket"], rng), rng=rng, **shipped["fit"])
    tokens, buckets, losses = draw(200, rng)
    assert evaluate(path_filter.score(tokens, buckets), losses, buckets)["kendall_tau"] >= 0.9


def test_python_has_the_shipped_defaults(shipped):
    defaults = dict(declared(PathFilter, "rng")()) | dict(declared(fit, "rng", "progress", "agree")())
    given = shipped["network"] | shipped["fit"]
    assert {name: defaults[name] for name in given} == given
    assert fresh("auto").design.main_effects is True


# ---- auto


@pytest.mark.parametrize("stored", [True, False])
def test_auto_takes_over_what_the_filter_has_that_it_starts_from(tmp_path, stored):
    data, file = measured(40, seed=0), tmp_path / "filter.h5"
    before, path_filter = fresh(stored), fresh("auto", seed=5)
    fit(before, *data, rng=np.random.default_rng(1), epochs=3)
    before.save(file)
    path_filter.start_from(file)
    assert path_filter.design == before.design
    np.testing.assert_array_equal(path_filter.score(*data[:2]), before.score(*data[:2]))
    fit(path_filter, *data, rng=np.random.default_rng(2), epochs=3)
    path_filter.save(file)
    assert PathFilter.load(file).design.main_effects is stored
    with pytest.raises(WeightsError, match=f"main_effects {stored}, where {not stored} is wanted"):
        fresh(not stored).start_from(file)


@pytest.mark.parametrize("value", ["on", 1, None, "AUTO"], ids=repr)
def test_main_effects_that_are_neither(value):
    with pytest.raises(ConfigError) as caught:
        fresh(value)
    assert caught.value.key == "path_filter.network.main_effects"
    assert caught.value.allowed == "true, false or auto"
