"""Learning rates and path samplers."""

import json

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.space import Budgets, CostModel, SearchSpace
from nnabla_detofa.training.samplers import SAMPLERS, path_sampler
from nnabla_detofa.training.schedule import SCHEDULES, learning_rate

SPACE = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1), depths=(0, 1))
COST = CostModel.flops(SPACE, image_size=64, n_classes=3)
BUDGETS = Budgets.equal_width(COST)


def sampler_of(name, seed=3):
    return path_sampler(name, SPACE, COST, BUDGETS, np.random.default_rng(seed))


def drawn(name, n):
    sampler = sampler_of(name)
    return np.array([sampler.next() for _ in range(n)])


STEPS = {"at": [45, 60], "factor": 0.1}


@pytest.mark.parametrize(
    ("name", "epochs", "options", "rates"),
    [
        ("constant", [0, 69.5], {}, [2, 2]),
        ("step", [0, 44.99, 45, 59.99, 60, 70], STEPS, [2, 2, 0.2, 0.2, 0.02, 0.02]),  # the paper's
        ("cosine", [0, 17.5, 35, 70, 71], {}, [2, 1 + 0.5**0.5, 1, 0, 0]),
        ("cosine", [10, 40, 70], {"ramp": 10}, [2, 1, 0]),
        *((name, [0, 1, 2, 4], {"ramp": 4}, [0, 0.5, 1, 2]) for name in SCHEDULES),
        *((name, [0, 1, 2, 4], {"ramp": 4, "ramp_from": 1.0}, [1, 1.25, 1.5, 2]) for name in SCHEDULES),
        # the rate grows with the batch that it is meant for
        *(
            ("step", [0, 60], {"at": [45], "batch": batch, "per_batch": per_batch}, [rate, rate / 10])
            for batch, per_batch, rate in [(32, 32, 2), (128, 32, 8), (16, 32, 1), (128, None, 2)]
        ),
    ],
)
def test_rates(name, epochs, options, rates):
    rate = learning_rate(name, 2.0, total=70, **{"batch": 32, **options})
    assert [rate(epoch) for epoch in epochs] == pytest.approx(rates, abs=1e-12)


@pytest.mark.parametrize(
    ("make", "given"), [(lambda name: learning_rate(name, 1.0, total=1), "cosin"), (sampler_of, "uniforms")]
)
def test_names_of_none_are_answered_with_the_known_ones(make, given):
    with pytest.raises(ConfigError) as caught:
        make(given)
    known = SCHEDULES if given == "cosin" else SAMPLERS
    assert caught.value.given == given and set(caught.value.allowed.split(", ")) == {*known}


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_restored_sampler_goes_on_with_the_same_paths(name):
    sampler, other = sampler_of(name, 0), sampler_of(name, 1)
    for _ in range(70):
        sampler.next()
    other.restore(json.loads(json.dumps(sampler.state())))  # as a checkpoint keeps it
    for _ in range(140):
        np.testing.assert_array_equal(other.next(), sampler.next())


def test_uniform_paths_are_the_spaces_own_draws():
    paths, rng = drawn("uniform", 130), np.random.default_rng(3)
    assert paths.dtype == np.int8
    np.testing.assert_array_equal(paths, np.concatenate([SPACE.sample(64, rng) for _ in range(3)])[:130])


def test_balanced_paths_train_every_bucket_where_uniform_ones_miss_the_top():
    paths = {name: drawn(name, 2000) for name in ("uniform", "balanced")}
    share = {name: np.bincount(BUDGETS.bucket(COST(some)), minlength=5) / 2000 for name, some in paths.items()}
    assert share["uniform"][4] < 0.01 < 0.15 < share["balanced"].min()
    assert share["balanced"].max() < 0.25
    assert SPACE.contains(paths["balanced"]).all()


def test_fullnet_is_the_largest_path():
    np.testing.assert_array_equal(drawn("fullnet", 2), [SPACE.largest()] * 2)
