"""The searches on a table of every chain: equal networks count once, and whoever meets the best is counted right."""

import csv
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


def space(chains=CHAINS):
    return macro.Macro(chains, *figures(chains))


def test_skips_that_may_stand_anywhere_in_a_stage_stand_last():
    chains = np.array([[0, 1, 0, 0, 2, 0, 0, 1], [0, 1, 0, 2, 0, 0, 1, 0], [1, 0, 0, 0, 2, 0, 1, 0]])
    first, second, other = macro.canonical(chains).tolist()
    assert first == second == [0, 1, 0, 2, 0, 0, 1, 0]
    assert other == [1, 0, 0, 2, 0, 0, 1, 0]
    paths = space().paths
    assert len(paths) == 3969
    np.testing.assert_array_equal(macro.canonical(paths), paths)


def test_the_order_of_the_tables_rows_does_not_matter(tmp_path):
    order = np.random.default_rng(1).permutation(len(CHAINS))
    flops, accuracy = figures(CHAINS)
    with (tmp_path / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "flops", "mean_acc"])
        writer.writerows(["".join(map(str, CHAINS[i])), repr(flops[i]), repr(accuracy[i])] for i in order)
    read, made = macro.Macro.read(tmp_path / "table.csv"), space()
    np.testing.assert_array_equal(read(CHAINS), made(CHAINS))
    np.testing.assert_array_equal(read.accuracy(CHAINS), made.accuracy(CHAINS))


@pytest.mark.parametrize("change", ["missing", "unequal"])
def test_a_table_that_contradicts_itself_is_refused(change):
    chains, (flops, accuracy) = CHAINS, figures(CHAINS)
    if change == "missing":
        chains, flops, accuracy = chains[1:], flops[1:], accuracy[1:]
    else:
        accuracy[1] += 0.1  # 00000001, the same network as 00000010
    with pytest.raises(SystemExit, match="each chain once, and equal networks with equal figures"):
        macro.Macro(chains, flops, accuracy)


def test_distinct_networks_are_counted_until_the_best_is_met():
    one = space()
    low, high = one.range(one)
    inside = one.inside(low, high)
    inside = inside[np.argsort(one.accuracy(inside))]

    def climbing(*_):
        yield inside[-9:-3]
        yield inside[-6:]  # three of them for the second time

    assert macro.evaluations(climbing, one, low, high, 0) == 9
    assert np.isnan(macro.evaluations(lambda *_: iter([inside[:5]]), one, low, high, 0))


def test_every_way_meets_the_best_of_a_smooth_table():
    one = space()
    low, high = one.range(one)
    budgets, n = Budgets([low, high]), len(one.inside(low, high + 1))
    for search in (macro.random_search, macro.regularised_evolution(20)):
        assert 1 <= macro.evaluations(search, one, low, high + 1, 0) <= n
    alone = macro.evaluations_of_evolve(one, budgets, [high], 0, 20)
    together = macro.evaluations_of_evolve(one, budgets, [(low + high) / 2, high], 0, 20)
    assert 1 <= alone <= n and 1 <= together <= n
    lines = macro.table(one, budgets, [high], [20], 2)
    assert [line.count("|") for line in lines] == [7, 7, 7, 7]
    assert lines[2].split(" | ")[1] == "3969"


def test_a_cell_says_mean_interval_and_who_never_met_the_best():
    assert macro.cell([8, 12]) == "10 ± 4"
    assert macro.cell([8, 12, np.nan]) == "10 ± 4, 1 never"
    assert macro.cell([8, np.nan]) == "8, 1 never"
    assert macro.cell([np.nan]) == "never"
