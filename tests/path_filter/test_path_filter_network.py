"""The network beside NNabla's functions, its slopes, its encodings and what it refuses."""

import numpy as np
import pytest
from path_filter_oracle import Oracle, adam_steps

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.path_filter import PathFilter, TokenLayout, transformer
from nnabla_detofa.path_filter.adam import Adam
from nnabla_detofa.path_filter.encoding import position_vectors, positional_encoding, table_rows
from nnabla_detofa.path_filter.objectives import Binary, Objective, Ranking

LAYOUT = TokenLayout(vocabulary=7, layer=[0, 1, 2, 3, 4], block=[0, 1, 1, 2, 2])
# six ordered sizes at position 2, whose token 0 is none; four at position 3, which are not enough
SIZES_OF_2 = (None, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0)
NUMBERS = LAYOUT._replace(values=((None,) * 7,) * 2 + (SIZES_OF_2, (1.0, 2.0, 3.0, 4.0, None, None, None), (None,) * 7))
SMALL = {"dim": 16, "heads": 2, "layers": 2, "hidden": 24, "main_effects": False}  # which start at zero


def fresh(seed=0, layout=LAYOUT, **options):
    return PathFilter(layout, rng=np.random.default_rng(seed), **{**SMALL, **options})


def draws(n, seed=0, n_buckets=5):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 7, (n, 5)), rng.integers(0, n_buckets, n)


def shaken(path_filter, seed=1):
    """The filter with biases and main effects that are not zero."""
    rng = np.random.default_rng(seed)
    path_filter.weights = {name: x + 0.1 * rng.standard_normal(x.shape) for name, x in path_filter.weights.items()}
    return path_filter


def lesson(path_filter, n, aim: Objective):
    """The rows of `draws(n)` and targets for them."""
    tokens, buckets = draws(n)
    truth = aim.truth(buckets, np.random.default_rng(3).random(n))
    return path_filter.rows(tokens, buckets), aim.targets(buckets, truth)


def slopes_of(path_filter, rows, aim, targets, weights=None):
    slopes = transformer.Slopes(path_filter.design, path_filter.fixed)
    return slopes(weights or path_filter.parameters, rows, lambda scores: aim.loss(scores, targets))


@pytest.mark.parametrize("switches", [{}, {"budget_condition": False}, {"main_effects": True}])
@pytest.mark.parametrize("sizes", [{}, {"dim": 128, "heads": 4, "layers": 3}, {"heads": 1, "layers": 1, "hidden": 4}])
def test_numpy_scores_equal_nnabla_forward(switches, sizes):
    path_filter = shaken(fresh(**switches, **sizes))
    scores = path_filter.score(*draws(70))
    assert (scores.dtype, scores.shape) == (np.float32, (70,))
    assert scores.std() > 1e-3
    rows, targets = lesson(path_filter, 70, Ranking(1.0))
    np.testing.assert_allclose(scores, Oracle(path_filter, rows, Ranking(1.0), targets).forward(), atol=1e-5)


@pytest.mark.parametrize("aim", [Ranking(0.6), Binary(0.3)])
@pytest.mark.parametrize("switches", [{}, {"budget_condition": False}, {"main_effects": True}])
@pytest.mark.parametrize("sizes", [{}, {"dim": 128, "heads": 4, "layers": 3}, {"heads": 1, "layers": 1, "hidden": 4}])
def test_slopes_equal_nnabla_backward(switches, sizes, aim):
    path_filter = shaken(fresh(**switches, **sizes))
    rows, targets = lesson(path_filter, 70, aim)
    loss, slopes = slopes_of(path_filter, rows, aim, targets)
    oracle = Oracle(path_filter, rows, aim, targets)
    expected = oracle.slopes()
    assert loss == pytest.approx(float(oracle.loss.d), rel=1e-5)
    assert list(slopes) == list(expected)
    largest = max(np.abs(value).max() for value in expected.values())
    for name, value in expected.items():
        assert np.abs(value).max() > 0
        # of the largest: small ones are what sums of large ones leave, in single precision on either side
        np.testing.assert_allclose(slopes[name], value, atol=1e-5 * largest, rtol=0, err_msg=name)


@pytest.mark.parametrize("layout", [LAYOUT, NUMBERS])
@pytest.mark.parametrize("aim", [Ranking(0.6), Binary(0.3)])
def test_slopes_are_differences_of_the_loss(aim, layout):
    """In double precision, for each weight along a direction drawn at random."""
    path_filter, rng = shaken(fresh(main_effects=True, dim=8, hidden=6, layout=layout)), np.random.default_rng(0)
    path_filter.score(*draws(40))  # whose arrays of single precision are not used again
    double = {name: getattr(path_filter.fixed, name).astype(np.float64) for name in ("positions", "powers")}
    path_filter.fixed = path_filter.fixed._replace(**double)
    weights = {name: value.astype(np.float64) for name, value in path_filter.weights.items()}
    given = lesson(path_filter, 40, aim)
    _, slopes = slopes_of(path_filter, given[0], aim, given[1], weights)
    for name, value in weights.items():
        direction = rng.standard_normal(value.shape)

        def loss(step, name=name, direction=direction):
            moved = weights | {name: weights[name] + step * direction}
            return slopes_of(path_filter, given[0], aim, given[1], moved)[0]

        difference = (loss(3e-6) - loss(-3e-6)) / 6e-6
        assert np.vdot(slopes[name], direction) == pytest.approx(difference, rel=1e-7, abs=1e-10), name


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_equal_those_of_nnablas_adam(weight_decay):
    rng, ours, adam = np.random.default_rng(0), fresh().weights, Adam(1e-2, weight_decay)
    slopes = [{name: rng.standard_normal(value.shape) for name, value in ours.items()} for _ in range(3)]
    expected = adam_steps(ours, slopes, 1e-2, weight_decay)
    for one in slopes:
        adam.step(ours, one)
    for name, value in ours.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6, err_msg=name)


def test_attention_whose_exponentials_overflow():
    path_filter, aim = shaken(fresh()), Ranking(1.0)
    path_filter.weights = path_filter.weights | {"layer1/key/W": 200 * path_filter.weights["layer1/key/W"]}
    rows, targets = lesson(path_filter, 70, aim)
    np.testing.assert_allclose(
        path_filter.score(*draws(70)), Oracle(path_filter, rows, aim, targets).forward(), atol=1e-4
    )
    assert all(np.isfinite(value).all() for value in slopes_of(path_filter, rows, aim, targets)[1].values())


def test_slopes_do_not_depend_on_the_order_of_the_paths():
    path_filter, aim = shaken(fresh(main_effects=True)), Ranking(0.6)
    rows, targets = lesson(path_filter, 70, aim)
    order = np.random.default_rng(0).permutation(70)
    _, slopes = slopes_of(path_filter, rows, aim, targets)
    _, again = slopes_of(path_filter, rows[order], aim, targets[np.ix_(order, order)])
    for name, value in slopes.items():
        np.testing.assert_allclose(again[name], value, atol=1e-6, err_msg=name)


def test_a_path_scores_the_same_in_any_company():
    path_filter, (tokens, buckets) = fresh(), draws(100)
    alone = np.concatenate([path_filter.score(tokens[i : i + 1], buckets[i : i + 1]) for i in range(100)])
    np.testing.assert_allclose(alone, path_filter.score(tokens, buckets), atol=1e-6)
    assert path_filter.score(tokens[:0], buckets[:0]).shape == (0,)


@pytest.mark.parametrize("n", [1, 31, 33, 100])
def test_scores_do_not_depend_on_the_number_of_threads(monkeypatch, n):
    path_filter, scores = fresh(dim=128), []
    for threads in (1, 2, 3):
        monkeypatch.setattr(transformer, "THREADS", threads)
        scores.append(path_filter.score(*draws(n)))
    assert np.array_equal(scores[0], scores[1])
    assert np.array_equal(scores[0], scores[2])


def test_slopes_do_not_depend_on_the_number_of_threads(monkeypatch):
    path_filter, aim, found = shaken(fresh(dim=128, main_effects=True)), Ranking(1.0), []
    rows, targets = lesson(path_filter, 130, aim)
    for threads in (1, 2, 3, 3):
        monkeypatch.setattr(transformer, "THREADS", threads)
        found.append(slopes_of(path_filter, rows, aim, targets))
    for loss, slopes in found[1:]:
        assert loss == found[0][0]
        assert all(np.array_equal(value, found[0][1][name]) for name, value in slopes.items())


def test_numbers_are_embedded_by_value_where_there_are_more_than_five():
    """A filter by value is a filter per level whose embeddings at that position are w · v + w₂ · v²."""
    by_value = shaken(fresh(layout=NUMBERS))
    per_level = fresh(layout=TokenLayout(14, *LAYOUT[1:3]))  # tokens from 7 on are those of position 2
    weights = by_value.weights
    w, square = weights.pop("value")
    levels = np.array(SIZES_OF_2[1:])
    v = ((levels - levels.mean()) / levels.std())[:, None]
    weights["token"] = np.concatenate([weights["token"], weights["token"][:1], w * v + square * v**2])
    per_level.weights = weights
    tokens, buckets = draws(70)
    expected = per_level.score(tokens + np.array([0, 0, 7, 0, 0]), buckets)
    np.testing.assert_allclose(by_value.score(tokens, buckets), expected, atol=1e-6)
    without = NUMBERS._replace(values=(*NUMBERS.values[:2], (None,) * 7, *NUMBERS.values[3:]))
    assert fresh(layout=without).weights.keys() == fresh().weights.keys()


def test_a_filter_by_value_is_the_same_in_any_unit():
    thousandfold = tuple(tuple(v and 1000 * v + 7 for v in row) for row in NUMBERS.values)
    first, second = (shaken(fresh(layout=one)) for one in (NUMBERS, NUMBERS._replace(values=thousandfold)))
    np.testing.assert_allclose(first.score(*draws(70)), second.score(*draws(70)), atol=1e-6)


def test_two_filters_are_apart():
    first, second = fresh(), fresh()
    kept = first.weights
    second.weights = {name: x + 1 for name, x in kept.items()}
    assert all(np.array_equal(first.weights[name], kept[name]) for name in kept)


def test_equal_seeds_give_equal_weights_and_other_seeds_others():
    first, again, other = (fresh(seed).weights for seed in (3, 3, 4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["token"], other["token"])


@pytest.mark.parametrize("main_effects", [True, False])
def test_initial_weights(main_effects):
    """After Glorot, but for embeddings and for what starts at zero."""
    weights = fresh(main_effects=main_effects, dim=64, hidden=128).weights
    zero = {name for name, value in weights.items() if not value.any()}
    expected = {name for name in weights if name.endswith(("/b", "attention/W", "forward/W"))}
    assert zero == expected | ({"main", "head/score/W"} if main_effects else set())
    assert {name for name in weights if "key" in name} == {"layer0/key/W", "layer1/key/W"}
    assert set(weights) - set(fresh(main_effects=main_effects, budget_condition=False).weights) == {"budget"}
    for name in ("token", "budget"):
        assert weights[name].std() == pytest.approx(0.3, rel=0.1)
    for name, bound in (("layer0/query/W", (6 / 128) ** 0.5), ("layer1/hidden/W", (6 / 192) ** 0.5)):
        assert 0.99 * bound < np.abs(weights[name]).max() <= bound


def test_switches_of_table_2():
    tokens, low, high = draws(10)[0], np.zeros(10, int), np.full(10, 4)
    with_budget, without, plain = fresh(), fresh(budget_condition=False), fresh(block_encoding=False)
    assert not np.allclose(with_budget.score(tokens, low), with_budget.score(tokens, high))
    assert np.array_equal(without.score(tokens, low), without.score(tokens, high))
    assert not np.allclose(plain.score(tokens, low), with_budget.score(tokens, low))


def test_positions_matter():
    first, second = fresh().score(np.array([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1]]), np.array([0, 0]))
    assert abs(first - second) > 1e-4


def test_positional_encoding_is_equation_3():
    encoding = positional_encoding(np.array([0, 1, 6]), 8)
    for row, layer in enumerate([0, 1, 6]):
        for dim in range(8):
            angle = layer / 10000 ** (2 * (dim // 2) / 6)
            assert encoding[row, dim] == pytest.approx([np.sin, np.cos][dim % 2](angle), abs=1e-6)
    assert np.isfinite(positional_encoding(np.array([0, 0]), 128)).all()
    assert positional_encoding(np.array([0, 1, 2]), 5).shape == (3, 5)


def test_position_vectors_add_the_block():
    layer, both = (position_vectors(LAYOUT, 8, block_encoding=block) for block in (False, True))
    np.testing.assert_allclose(both - layer, positional_encoding(np.array(LAYOUT.block), 8), atol=1e-6)


def test_table_rows_are_distinct_for_each_position_token_and_budget():
    rows = table_rows(LAYOUT, np.array([[0, 0, 0, 0, 0], [6, 6, 6, 6, 6]]), np.array([0, 4]))
    assert rows.tolist() == [[35, 0, 7, 14, 21, 28], [39, 6, 13, 20, 27, 34]]
    assert table_rows(LAYOUT, np.array([[0, 1, 2, 3, 4]]), None).tolist() == [[0, 8, 16, 24, 32]]


LAYOUTS = {
    "vocabulary": (0, [0], [0]),
    "layer": (2, [0, -1], [0, 0]),
    "block": (2, np.array([0, 1]), np.array([0.5, 0])),
}
CANNOT_BE = [({"layout": TokenLayout(*one)}, f"token_layout.{part}") for part, one in LAYOUTS.items()]
CANNOT_BE += [({"layout": TokenLayout(2, *one)}, "token_layout") for one in (([0, 1], [0]), ([], []))]
CANNOT_BE += [
    ({"layout": LAYOUT._replace(values=values)}, "token_layout.values")
    for values in (SIZES_OF_2, (SIZES_OF_2,) * 4, (("1",) * 6 + ("x",),) * 5, ((np.inf,) * 7,) * 5, 3)
]
SIZES = ({"n_buckets": 0}, {"layers": 1.5}, {"block_encoding": 1}, {"dim": 10, "heads": 4})
CANNOT_BE += [(one, f"path_filter.network.{next(iter(one))}") for one in SIZES]


@pytest.mark.parametrize(("options", "key"), CANNOT_BE)
def test_networks_that_cannot_be(options, key):
    with pytest.raises(ConfigError) as caught:
        fresh(**options)
    assert caught.value.key == key


ZEROS = np.zeros((3, 5), int)
NO_PATHS = [(ZEROS[:, :4], ZEROS[:, 0], r"\(3, 4\)"), (ZEROS[0], ZEROS[0], r"\(5,\)"), (ZEROS, ZEROS[:2, 0], r"\(2,\)")]
NO_PATHS += [(ZEROS + 0.0, ZEROS[:, 0], "float64"), (ZEROS, ZEROS[:, 0] + 5, "buckets .* 0 … 4")]
NO_PATHS += [(ZEROS + token, ZEROS[:, 0], "tokens .* 0 … 6") for token in (-1, 7)]


@pytest.mark.parametrize(("tokens", "buckets", "said"), NO_PATHS)
def test_paths_that_the_filter_refuses(tokens, buckets, said):
    with pytest.raises(ConfigError, match=said):
        fresh().score(tokens, buckets)
