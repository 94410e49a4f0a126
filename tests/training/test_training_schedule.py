"""Learning rates, path samplers and what a configuration may say of them."""

import json
import re

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.space import Budgets, CostModel, SearchSpace
from nnabla_detofa.training import path_sampler
from nnabla_detofa.training.samplers import SAMPLERS
from nnabla_detofa.training.schedule import learning_rate
from nnabla_detofa.training.settings import keywords, require_count, require_keys, require_name, require_numbers

SPACE = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1), depths=(0, 1))
COST = CostModel.flops(SPACE, image_size=64, n_classes=3)
BUDGETS = Budgets.equal_width(COST)


def sampler_of(name, seed):
    return path_sampler(name, SPACE, COST, BUDGETS, np.random.default_rng(seed))


def rates(name, epochs, **options):
    rate = learning_rate(name, 2.0, total=70, **{"batch": 32, **options})
    return [rate(epoch) for epoch in epochs]


def test_step_is_the_papers():
    at = {"at": [45, 60], "factor": 0.1}
    assert rates("step", [0, 44.99, 45, 59.99, 60, 70], **at) == pytest.approx([2, 2, 0.2, 0.2, 0.02, 0.02])


def test_cosine_goes_from_the_base_rate_to_zero():
    assert rates("cosine", [0, 17.5, 35, 70, 71]) == pytest.approx([2, 1 + 0.5**0.5, 1, 0, 0], abs=1e-12)
    assert rates("cosine", [10, 40, 70], ramp=10) == pytest.approx([2, 1, 0], abs=1e-12)


@pytest.mark.parametrize("name", ["constant", "step", "cosine"])
def test_a_ramp_rises_linearly_to_the_base_rate(name):
    assert rates(name, [0, 1, 2, 4], ramp=4) == pytest.approx([0, 0.5, 1, 2])
    assert rates(name, [0, 1, 2, 4], ramp=4, ramp_from=1.0) == pytest.approx([1, 1.25, 1.5, 2])


@pytest.mark.parametrize(("batch", "per_batch", "rate"), [(32, 32, 2), (128, 32, 8), (16, 32, 1), (128, None, 2)])
def test_the_rate_grows_with_the_batch_it_is_meant_for(batch, per_batch, rate):
    assert rates("step", [0, 60], at=[45], batch=batch, per_batch=per_batch) == pytest.approx([rate, rate / 10])


def test_constant():
    assert rates("constant", [0, 69.5]) == [2, 2]


def test_schedules_that_cannot_be():
    with pytest.raises(ConfigError, match="unknown learning-rate schedule 'cosin'; known: constant, cosine, step .did"):
        learning_rate("cosin", 1.0, total=1, batch=1)
    with pytest.raises(ConfigError, match="hparams.schedule.at is 45; it must be a list of finite numbers"):
        learning_rate("step", 1.0, total=1, batch=1, at=45)
    with pytest.raises(ConfigError, match="hparams.schedule.per_batch is 0; it must be a whole number of at least 1"):
        learning_rate("step", 1.0, total=1, batch=1, per_batch=0)


@pytest.mark.parametrize("value", [0, -0.1, "x", None, float("nan")])
@pytest.mark.parametrize(
    ("key", "allowed"), [("factor", "above 0"), ("ramp", "of at least 0"), ("ramp_from", "of at least 0")]
)
def test_numbers_of_no_schedule(key, allowed, value):
    if value == 0 and "at least" in allowed:
        learning_rate("step", 1.0, total=1, **{key: value})
        return
    said = re.escape(f"hparams.schedule.{key} is {value!r}; it must be a finite number {allowed}")
    with pytest.raises(ConfigError, match=f"^{said}$"):
        learning_rate("step", 1.0, total=1, **{key: value})


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_restored_sampler_goes_on_with_the_same_paths(name):
    sampler = sampler_of(name, 0)
    for _ in range(70):
        sampler.next()
    state = json.loads(json.dumps(sampler.state()))  # as a checkpoint keeps it
    other = sampler_of(name, 1)
    other.restore(state)
    for _ in range(140):
        np.testing.assert_array_equal(other.next(), sampler.next())


def test_uniform_paths_are_the_spaces_own_draws():
    sampler = sampler_of("uniform", 5)
    drawn = np.array([sampler.next() for _ in range(130)])
    assert drawn.dtype == np.int8
    assert SPACE.contains(drawn).all()
    rng = np.random.default_rng(5)
    np.testing.assert_array_equal(drawn, np.concatenate([SPACE.sample(64, rng) for _ in range(3)])[:130])


def test_balanced_paths_train_every_bucket_where_uniform_ones_miss_the_top():
    drawn = {name: np.array([one.next() for _ in range(2000)]) for name, one in _samplers("uniform", "balanced")}
    share = {name: np.bincount(BUDGETS.bucket(COST(paths)), minlength=5) / 2000 for name, paths in drawn.items()}
    assert share["uniform"][4] < 0.01 < 0.15 < share["balanced"].min()
    assert share["balanced"].max() < 0.25
    assert SPACE.contains(drawn["balanced"]).all()


def _samplers(*names):
    return [(name, sampler_of(name, 3)) for name in names]


def test_fullnet_is_the_largest_path():
    sampler = sampler_of("fullnet", 5)
    np.testing.assert_array_equal(sampler.next(), SPACE.largest())
    np.testing.assert_array_equal(sampler.next(), SPACE.largest())


def test_unknown_sampler():
    with pytest.raises(
        ConfigError, match="unknown sampler 'uniforms'; known: balanced, fullnet, genes, uniform .did you mean"
    ):
        sampler_of("uniforms", 0)


def test_keywords_are_those_that_a_configuration_can_set():
    def call(space, cost=1, *, limit, rng, epochs=3): ...

    assert keywords(call) == {"limit", "rng", "epochs"}
    assert keywords(call, "rng") == {"limit", "epochs"}


def test_keys_and_names():
    require_keys("search", {"budgets": 1, "population": 2}, ["budgets", "population"], needed=["budgets"])
    with pytest.raises(ConfigError, match="unknown key in search: 'budget'; known: budgets .did you mean 'budgets'"):
        require_keys("search", {"budget": 1}, ["budgets"])
    with pytest.raises(ConfigError, match="^search lacks budgets, population$"):
        require_keys("search", {}, ["budgets", "population"], needed=["budgets", "population"])
    require_name("metric", "voc", ["voc"])
    with pytest.raises(ConfigError, match="^unknown metric 'vok'; known: voc .did you mean 'voc'"):
        require_name("metric", "vok", ["voc"])


@pytest.mark.parametrize("value", [1, 2.0, "3", True, None])
def test_counts(value):
    assert require_count("folds", 2, least=2) == 2
    with pytest.raises(ConfigError, match=f"^folds is {value!r}; it must be a whole number of at least 2$"):
        require_count("folds", value, least=2)


@pytest.mark.parametrize("value", [1, "ab", ["a", 1], [1.0, float("nan")], [float("inf"), 0], [1, 2, 3], None])
def test_numbers(value):
    assert require_numbers("weights", [1, 0.5], n=2) == [1.0, 0.5]
    with pytest.raises(ConfigError, match=r"^weights is .*; it must be a list of 2 finite numbers$"):
        require_numbers("weights", value, n=2)
