"""The network, its NumPy twin, its encodings and what it refuses."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.path_filter import PathFilter, TokenLayout, scoring
from nnabla_detofa.path_filter.encoding import position_vectors, positional_encoding, table_rows
from nnabla_detofa.path_filter.network import score_graph

LAYOUT = TokenLayout(vocabulary=7, layer=[0, 1, 2, 3, 4], block=[0, 1, 1, 2, 2])
SMALL = {"dim": 16, "heads": 2, "layers": 2, "hidden": 24, "main_effects": False}  # which start at zero


def draws(n, seed=0, n_buckets=5):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 7, (n, 5)), rng.integers(0, n_buckets, n)


def shaken(path_filter, seed=1):
    """The filter with biases that are not zero."""
    rng = np.random.default_rng(seed)
    path_filter.weights = {name: x + 0.1 * rng.standard_normal(x.shape) for name, x in path_filter.weights.items()}
    return path_filter


@pytest.mark.parametrize("budget_condition", [True, False])
@pytest.mark.parametrize("sizes", [SMALL, {}, {"dim": 8, "heads": 1, "layers": 1, "hidden": 4}])
def test_numpy_scores_equal_nnabla_forward(budget_condition, sizes):
    path_filter = shaken(PathFilter(LAYOUT, rng=np.random.default_rng(0), budget_condition=budget_condition, **sizes))
    tokens, buckets = draws(70)
    rows = nn.Variable.from_numpy_array(path_filter.rows(tokens, buckets))
    graph = score_graph(path_filter.variables, path_filter.design, path_filter.positions, rows)
    graph.forward()
    scores = path_filter.score(tokens, buckets)
    assert scores.dtype == np.float32
    assert scores.shape == (70,)
    assert scores.std() > 1e-3
    np.testing.assert_allclose(scores, graph.d[:, 0], atol=1e-5)


def test_a_path_scores_the_same_in_any_company():
    path_filter = PathFilter(LAYOUT, rng=np.random.default_rng(0), **SMALL)
    tokens, buckets = draws(100)
    alone = np.concatenate([path_filter.score(tokens[i : i + 1], buckets[i : i + 1]) for i in range(100)])
    np.testing.assert_allclose(alone, path_filter.score(tokens, buckets), atol=1e-6)
    assert path_filter.score(tokens[:0], buckets[:0]).shape == (0,)


def test_every_parameter_has_a_gradient():
    path_filter = shaken(PathFilter(LAYOUT, rng=np.random.default_rng(0), **SMALL))
    rows = nn.Variable.from_numpy_array(path_filter.rows(*draws(30)))
    graph = score_graph(path_filter.variables, path_filter.design, path_filter.positions, rows)
    for variable in path_filter.variables.values():
        variable.grad.zero()
    graph.forward()
    graph.backward(np.random.default_rng(2).standard_normal(graph.shape))
    assert all(np.abs(variable.g).max() > 0 for variable in path_filter.variables.values())


def test_global_parameters_stay_empty_and_two_filters_are_apart():
    before = dict(nn.get_parameters(grad_only=False))
    first = PathFilter(LAYOUT, rng=np.random.default_rng(0), **SMALL)
    second = PathFilter(LAYOUT, rng=np.random.default_rng(0), **SMALL)
    assert dict(nn.get_parameters(grad_only=False)) == before
    kept = first.weights
    second.weights = {name: x + 1 for name, x in kept.items()}
    assert all(np.array_equal(first.weights[name], kept[name]) for name in kept)


def test_equal_seeds_give_equal_weights_and_other_seeds_others():
    make = lambda seed: PathFilter(LAYOUT, rng=np.random.default_rng(seed), **SMALL).weights  # noqa: E731
    first, again, other = make(3), make(3), make(4)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["token"], other["token"])


def test_switches_of_table_2():
    tokens, _ = draws(10)
    low, high = np.zeros(10, int), np.full(10, 4)
    with_budget = PathFilter(LAYOUT, rng=np.random.default_rng(0), **SMALL)
    without = PathFilter(LAYOUT, rng=np.random.default_rng(0), budget_condition=False, **SMALL)
    assert not np.allclose(with_budget.score(tokens, low), with_budget.score(tokens, high))
    assert np.array_equal(without.score(tokens, low), without.score(tokens, high))
    plain = PathFilter(LAYOUT, rng=np.random.default_rng(0), block_encoding=False, **SMALL)
    assert not np.allclose(plain.score(tokens, low), with_budget.score(tokens, low))


def test_positions_matter():
    path_filter = PathFilter(LAYOUT, rng=np.random.default_rng(0), **SMALL)
    tokens = np.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]])
    first, second = path_filter.score(tokens, np.array([0, 0]))
    assert abs(first - second) > 1e-4


def test_positional_encoding_is_equation_3():
    encoding = positional_encoding(np.array([0, 1, 6]), 8)
    for row, layer in enumerate([0, 1, 6]):
        for dim in range(8):
            angle = layer / 10000 ** (2 * (dim // 2) / 6)
            assert encoding[row, dim] == pytest.approx([np.sin, np.cos][dim % 2](angle), abs=1e-6)


def test_positional_encoding_of_one_layer_and_of_odd_width():
    assert np.isfinite(positional_encoding(np.array([0, 0]), 128)).all()
    assert positional_encoding(np.array([0, 1, 2]), 5).shape == (3, 5)


def test_position_vectors_add_the_block():
    layer = position_vectors(LAYOUT, 8, block_encoding=False)
    both = position_vectors(LAYOUT, 8, block_encoding=True)
    np.testing.assert_allclose(both - layer, positional_encoding(np.array(LAYOUT.block), 8), atol=1e-6)


def test_table_rows_are_distinct_for_each_position_token_and_budget():
    rows = table_rows(LAYOUT, np.array([[0, 0, 0, 0, 0], [6, 6, 6, 6, 6]]), np.array([0, 4]))
    assert rows.tolist() == [[35, 0, 7, 14, 21, 28], [39, 6, 13, 20, 27, 34]]
    assert table_rows(LAYOUT, np.array([[0, 1, 2, 3, 4]]), None).tolist() == [[0, 8, 16, 24, 32]]


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (TokenLayout(0, [0], [0]), "vocabulary is 0; it must be a whole number of at least 1"),
        (TokenLayout(2, [0, 1], [0]), "2 layers and 1 blocks; every token needs one of each, 10000 at most"),
        (TokenLayout(2, [], []), "0 layers and 0 blocks"),
        (TokenLayout(2, [0, -1], [0, 0]), r"layer is \[0, -1\]; it must hold whole numbers from 0 up"),
        (TokenLayout(2, [0, 1], [0.5, 0]), r"block is \[0.5, 0.0\]"),
    ],
)
def test_layouts_that_no_filter_can_have(layout, message):
    with pytest.raises(ConfigError, match=message):
        PathFilter(layout, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_buckets": 0}, "n_buckets is 0; it must be a whole number from 1 to 1000"),
        ({"layers": 1.5}, "layers is 1.5"),
        ({"dim": 10, "heads": 4}, "dim 10 is not a multiple of the 4 heads"),
    ],
)
def test_sizes_that_no_filter_can_have(options, message):
    with pytest.raises(ConfigError, match=message):
        PathFilter(LAYOUT, rng=np.random.default_rng(0), **options)


@pytest.mark.parametrize(
    ("tokens", "buckets", "message"),
    [
        (np.zeros((3, 4), int), np.zeros(3, int), r"tokens have shape \(3, 4\); this path filter takes \(n, 5\)"),
        (np.zeros(5, int), np.zeros(1, int), r"tokens have shape \(5,\)"),
        (np.zeros((3, 5), int), np.zeros(2, int), r"buckets have shape \(2,\); 3 paths need \(3,\)"),
        (np.zeros((3, 5)), np.zeros(3, int), "tokens are float64; they must be whole numbers"),
        (np.full((3, 5), -1), np.zeros(3, int), "tokens lie in -1 … -1; this path filter takes 0 … 6"),
        (np.full((3, 5), 7), np.zeros(3, int), "tokens lie in 7 … 7"),
        (np.zeros((3, 5), int), np.full(3, 5), "buckets lie in 5 … 5; this path filter takes 0 … 4"),
    ],
)
def test_paths_that_the_filter_refuses(tokens, buckets, message):
    with pytest.raises(ConfigError, match=message):
        PathFilter(LAYOUT, rng=np.random.default_rng(0), **SMALL).score(tokens, buckets)


@pytest.mark.parametrize("n", [1, 31, 33, 100])
def test_scores_do_not_depend_on_the_number_of_threads(monkeypatch, n):
    layout = TokenLayout(vocabulary=6, layer=list(range(5)), block=[0, 0, 1, 1, 1])
    path_filter = PathFilter(layout, n_buckets=3, rng=np.random.default_rng(0))
    rng = np.random.default_rng(1)
    tokens, buckets = rng.integers(6, size=(n, 5)), rng.integers(3, size=n)
    scores = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(scoring, "THREADS", threads)
        scores.append(path_filter.score(tokens, buckets))
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(scores[0], scores[2])
