"""The searches on a table of every chain: equal networks count once, and whoever meets the best is counted right."""

import itertools

import numpy as np
import pytest

from experiments import search_on_nas_bench_macro as macro
from nnabla_detofa.space import Budgets

CHAINS = np.array(list(itertools.product(range(3), repeat=8)), np.int8)


def figures(chains):
    """FLOPs and accuracy, equal for equal networks; accuracy adds a worth of each layer and a little noise."""
    paths, rng = macro.canonical(chains), np.random.default_rng(0)
    worth, noise = rng.random((8, 3)), rng.normal(0, 0.1, 3**8)
    numbers = paths.astype(int) @ 3 ** np.arange(8)
    return 1e6 * (10 + (paths * np.arange(1, 9)).sum(axis=1)), worth[np.arange(8), paths].sum(axis=1) + noise[numbers]


@pytest.fixture(scope="module")
def space():
    return macro.Macro(CHAINS, *figures(CHAINS))


def test_skips_that_may_stand_anywhere_in_a_stage_stand_last(space):
    chains = np.array([[0, 1, 0, 0, 2, 0, 0, 1], [0, 1, 0, 2, 0, 0, 1, 0], [1, 0, 0, 0, 2, 0, 1, 0]])
    first, second, other = macro.canonical(chains).tolist()
    assert first == second == [0, 1, 0, 2, 0, 0, 1, 0] and other == [1, 0, 0, 2, 0, 0, 1, 0]
    assert len(space.paths) == 3969
    np.testing.assert_array_equal(macro.canonical(space.paths), space.paths)


def test_the_order_of_the_tables_rows_does_not_matter(space):
    order = np.random.default_rng(1).permutation(len(CHAINS))
    shuffled = macro.Macro(CHAINS[order], *(column[order] for column in figures(CHAINS)))
    np.testing.assert_array_equal(shuffled(CHAINS), space(CHAINS))
    np.testing.assert_array_equal(shuffled.accuracy(CHAINS), space.accuracy(CHAINS))


@pytest.mark.parametrize("change", ["missing", "unequal"])
def test_a_table_that_contradicts_itself_is_refused(change):
    flops, accuracy = figures(CHAINS)
    accuracy[1] += 0.1  # 00000001, the same network as 00000010
    rows = slice(1, None) if change == "missing" else slice(None)
    with pytest.raises(SystemExit, match="each chain once"):
        macro.Macro(CHAINS[rows], flops[rows], accuracy[rows])


def test_distinct_networks_are_counted_until_the_best_is_met(space):
    low, high = space.range(space)
    inside = space.inside(low, high)
    inside = inside[np.argsort(space.accuracy(inside))]
    twice = iter([inside[-9:-3], inside[-6:]])  # three of them for the second time
    assert macro.evaluations(lambda *_: twice, space, low, high, 0) == 9
    assert np.isnan(macro.evaluations(lambda *_: iter([inside[:5]]), space, low, high, 0))


def test_every_way_meets_the_best_of_a_smooth_table(space):
    low, high = space.range(space)
    budgets, n = Budgets([low, high]), len(space.inside(low, high + 1))
    for search in (macro.random_search, macro.regularised_evolution(20)):
        assert 1 <= macro.evaluations(search, space, low, high + 1, 0) <= n
    for limits in ([high], [(low + high) / 2, high]):
        assert 1 <= macro.evaluations_of_evolve(space, budgets, limits, 0, 20) <= n
    lines = macro.table(space, budgets, [high], [20], 2)
    assert [line.count("|") for line in lines] == [7] * 4 and lines[2].split(" | ")[1] == "3969"
    counts = ([8, 12], [8, 12, np.nan], [8, np.nan], [np.nan])
    assert [macro.cell(one) for one in counts] == ["10 ± 25", "10 ± 25, 1 never", "8, 1 never", "never"]
