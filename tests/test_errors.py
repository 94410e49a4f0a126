"""Numbers that options may be: NumPy's are as good as Python's, and a message never contradicts what it shows."""

import json
from fractions import Fraction

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, is_number, is_whole, require_ratio, require_whole
from nnabla_detofa.options import declared
from nnabla_detofa.path_filter import PathFilter, TokenLayout, fit
from nnabla_detofa.pruning import path_thresholds, prune_operations
from nnabla_detofa.search import evolve
from nnabla_detofa.space import Budgets, CostModel, SearchSpace
from nnabla_detofa.supernet import NETWORKS

TINY = {"base_depths": (1, 1, 1, 1), "depths": (0, 1)}
SPACE = SearchSpace.ofa_resnet50(**TINY)
COST = CostModel.flops(SPACE, image_size=32, n_classes=2)
BUDGETS = Budgets.equal_width(COST, n=2)


@pytest.mark.parametrize("value", [3, np.int64(3), np.int8(3), np.uint32(3)], ids=repr)
def test_whole_numbers_are_those_of_python_and_of_numpy(value):
    assert is_whole(value) and is_number(value)
    whole = require_whole("n", value, least=3, most=3)
    assert (whole, type(whole)) == (3, int)


@pytest.mark.parametrize("value", [True, np.bool_(True), 3.0, np.float64(3), "3", None, np.array(3), [3]], ids=repr)
def test_what_is_no_whole_number(value):
    assert not is_whole(value)
    with pytest.raises(ConfigError, match="^n is .*; it must be a whole number of at least 1$"):
        require_whole("n", value)


@pytest.mark.parametrize(("value", "message"), [(2, "n is 2"), (np.int64(6), "n is 6")])
def test_whole_numbers_outside_their_range(value, message):
    with pytest.raises(ConfigError, match=f"^{message}; it must be a whole number from 3 to 5$"):
        require_whole("n", value, least=3, most=5)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), np.float16(0.5), Fraction(1, 2)], ids=repr)
def test_numbers_are_those_of_python_and_of_numpy(value):
    assert is_number(value)
    assert require_ratio("share", value) == 0.5


@pytest.mark.parametrize("value", [True, np.bool_(True), np.nan, np.float32(np.inf), 10**400, "1", None], ids=repr)
def test_what_is_no_finite_number(value):
    assert not is_number(value)


def score(paths):
    return np.random.default_rng(0).random(len(paths))


CALLS = {
    "path filter": lambda whole, _: PathFilter(
        TokenLayout(whole(3), [0, 1], [0, 0]),
        whole(5),
        rng=np.random.default_rng(0),
        **{name: whole(2) for name in ("dim", "heads", "layers", "hidden")},
    ),
    "fit": lambda whole, number: declared(fit, "rng", "progress", "agree")(
        **{name: whole(3) for name in ("epochs", "batch", "patience")},
        **{name: number(0.5) for name in ("learning_rate", "margin", "weight_decay", "valid_ratio", "binary_ratio")},
    ),
    "space": lambda whole, number: SearchSpace.ofa_resnet50(
        base_depths=[whole(1)] * 4,
        depths=[whole(0), whole(1)],
        widths=[number(0.5), number(1)],
        expands=[number(0.25)],
        width_scale=number(0.5),
        channel_divisor=whole(4),
    ),
    "cost": lambda whole, _: CostModel.flops(
        SPACE, image_size=whole(32), n_classes=whole(2), neck=[whole(8)], head=whole(8)
    ),
    "buckets": lambda whole, _: Budgets.equal_width(COST, n=whole(2)),
    "operations": lambda whole, number: prune_operations(
        SPACE, score, COST, BUDGETS, operation_ratio=number(0.25), paths_per_operation=whole(2),
        rng=np.random.default_rng(0),
    ),
    "paths": lambda whole, number: path_thresholds(
        SPACE, score, COST, BUDGETS, paths_per_bucket=whole(4), rng=np.random.default_rng(0)
    ).at(number(0.25)),
    "search": lambda whole, number: evolve(
        SPACE, score, COST, [BUDGETS.edges[-1]], budgets=BUDGETS, generations=whole(1), population=whole(4),
        parent_ratio=number(0.5), mutation_probability=number(0.25), rng=np.random.default_rng(0),
    ),
    "detector": lambda whole, _: NETWORKS["ofa_resnet50_centernet"].SearchNet(
        whole(2), neck=[whole(8)], head=whole(8), space=TINY, seed=whole(0)
    ),
    "classifier": lambda whole, number: NETWORKS["ofa_resnet50_classifier"].SearchNet(
        whole(2), drop_rate=number(0.25), space=TINY
    ),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("whole", "number"), [(int, float), (np.int64, np.float64), (np.int16, np.float32)])
def test_every_part_takes_numpys_numbers(call, whole, number):
    call(whole, number)


def test_a_filter_and_a_space_of_numpys_numbers_can_be_written(tmp_path):
    whole, number = np.int64, np.float32
    CALLS["path filter"](whole, number).save(tmp_path / "filter.h5")
    assert PathFilter.load(tmp_path / "filter.h5").design == CALLS["path filter"](int, float).design
    space = CALLS["space"](whole, number)
    assert SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space == CALLS["space"](int, float)
