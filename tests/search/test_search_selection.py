"""The best of at most a budget: every bucket's winner is measured once, and figures alone decide between buckets."""

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, SpaceError
from nnabla_detofa.pruning import fixed_random_score
from nnabla_detofa.search import best_measured, contested, evolve
from nnabla_detofa.space import Budgets, CostModel, SearchSpace
from nnabla_detofa.space.cost_sampler import PathsByCost

SPACE = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1), depths=(0, 1), expands=(0.2, 0.35), elastic_stem=False)
COST = CostModel.flops(SPACE, image_size=64, n_classes=3)
BUDGETS = Budgets.equal_width(COST, n=4)
COSTS = np.unique(COST(SPACE.enumerate()))


def table(seed):
    """A number for every path, so random that nothing of one path can be told from another: an oracle."""
    return fixed_random_score(SPACE, np.random.default_rng([7, seed]))


def searched(score, limits, *, seed=0, budgets=BUDGETS, **options):
    options = {"generations": 3, "population": 10} | options
    limits = contested(SPACE, COST, limits, budgets)
    return evolve(SPACE, score, COST, limits, budgets=budgets, rng=np.random.default_rng(seed), **options)


def some_limits(seed):
    """Unordered, some of one bucket, one an edge, one twice, and the cheapest and the dearest path's own costs."""
    inside = np.random.default_rng(seed).uniform(COSTS[0], COSTS[-1], 6)
    return [float(limit) for limit in (*inside, BUDGETS.edges[2], inside[0], COSTS[-1], COSTS[0])]


@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_all_winners_up_to_the_limit(seed):
    figure, limits = table(seed), some_limits(seed)
    found = searched(table(100 + seed), limits, seed=seed)
    best = best_measured(found, limits, figure)
    costs, figures = np.array([one.cost for one in found]), figure(np.array([one.path for one in found]))
    assert [one.limit for one in best] == limits
    for one in best:
        assert COST(one.winner.path[None])[0] == one.winner.cost <= one.limit
        assert one.figure == figure(one.winner.path[None])[0] == figures[costs <= one.limit].max()
    ascending = sorted(best, key=lambda one: one.limit)
    assert (np.diff([one.figure for one in ascending]) >= 0).all()
    for one in best:
        for other in best:
            no_worse = other.winner.cost <= one.winner.cost and other.figure >= one.figure
            assert not no_worse or (other.winner.cost, other.figure) == (one.winner.cost, one.figure)


def test_a_better_path_of_a_cheaper_bucket_is_found_under_every_budget_above_it():
    """As where more layers were trained too little: the largest budget's answer is the cheapest bucket's winner."""
    limits = BUDGETS.edges[1:].tolist()
    found = searched(table(0), limits)
    best = best_measured(found, limits, lambda paths: -COST(paths))
    assert {one.winner.bucket for one in best} == {0}
    dearest = best_measured(found, limits, COST)
    assert [one.winner.bucket for one in dearest] == [0, 1, 2, 3]


def test_every_bucket_up_to_the_highest_limit_sends_its_best_path():
    (limit,) = limits = [float((BUDGETS.edges[3] + BUDGETS.edges[4]) / 2)]
    worth, seen = np.random.default_rng(1).standard_normal(SPACE.family.n_genes), []

    def score(paths):  # which evolution can climb
        return paths @ worth

    found = searched(score, limits, generations=200, population=100)
    best_measured(found, limits, lambda paths: seen.append(paths) or np.zeros(len(paths)))
    everything = SPACE.enumerate()
    costs, scores = COST(everything), score(everything)
    parts = [*(BUDGETS.range(bucket) for bucket in range(3)), (BUDGETS.edges[3], np.nextafter(limit, np.inf))]
    inside = [(costs >= low) & (costs < high) for low, high in parts]
    assert np.sort(score(seen[0])) == pytest.approx(sorted(scores[part].max() for part in inside))


def test_winners_are_measured_once():
    limits, calls = some_limits(0), []
    found = searched(table(2), limits)
    best_measured(found, limits, lambda paths: calls.append(paths) or np.zeros(len(paths)))
    (paths,) = calls
    assert len(np.unique(paths, axis=0)) == len(paths) < len(found)
    assert len(found) == len(contested(SPACE, COST, limits, BUDGETS)) == 9 + 2  # two edges are no limits


def test_the_ranges_of_a_search_are_prepared_once(monkeypatch):
    """It goes round them in every generation: with one too many for those that are kept, none would be."""
    budgets = Budgets.equal_width(COST, n=5)
    limits = ((budgets.edges[:-1] + budgets.edges[1:]) / 2).tolist()
    assert len(contested(SPACE, COST, limits, budgets)) == 5 + 4
    searched(table(4), limits, budgets=budgets)
    prepared, position = [], PathsByCost._position
    monkeypatch.setattr(PathsByCost, "_position", lambda *limit: prepared.append(limit) or position(*limit))
    searched(table(4), limits, budgets=budgets)
    assert prepared == []


@pytest.mark.parametrize("seed", range(4))
def test_scores_of_different_buckets_are_never_compared(seed):
    """Whatever is added to the scores of a bucket, the answers are the same."""
    limits, offsets = some_limits(seed), np.array([3.0, -50.0, 1000.0, 7.0])

    def score(paths):
        return np.floor(2**20 * table(seed)(paths))  # whole numbers, which an offset does not round

    def shifted(paths):
        return score(paths) + offsets[BUDGETS.bucket(COST(paths))]

    plain, other = (best_measured(searched(one, limits), limits, table(50)) for one in (score, shifted))
    for one, another in zip(plain, other, strict=True):
        assert np.array_equal(one.winner.path, another.winner.path)
        assert (one.limit, one.figure) == (another.limit, another.figure)
        assert another.winner.score == one.winner.score + offsets[one.winner.bucket]


def test_of_equal_figures_the_cheapest():
    limits = BUDGETS.edges[1:].tolist()
    best = best_measured(searched(table(3), limits), limits, lambda paths: np.full(len(paths), 0.5))
    assert len({one.winner.cost for one in best}) == 1


def test_undefined_figures_are_the_worst_and_where_all_are_the_budgets_own_bucket_decides():
    limits = BUDGETS.edges[1:].tolist()
    found = searched(table(4), limits)
    best = best_measured(found, limits, lambda paths: np.full(len(paths), np.nan))
    assert [one.winner.bucket for one in best] == [0, 1, 2, 3]
    assert np.isnan([one.figure for one in best]).all()

    def partly(paths):  # of the second bucket alone, and as bad as can be
        return np.where(BUDGETS.bucket(COST(paths)) == 1, -np.finfo(float).max, np.nan)

    assert [one.winner.bucket for one in best_measured(found, limits, partly)] == [0, 1, 1, 1]


def test_a_limit_between_an_edge_and_the_first_path_above_it_falls_back_to_the_bucket_below():
    gap = int(np.diff(COSTS).argmax())
    low, high = COSTS[gap], COSTS[gap + 1]
    limits = [float((low + high) / 2), float(low)]
    budgets = Budgets([COSTS[0], (3 * low + high) / 4, COSTS[-1]])
    found = searched(table(5), limits, budgets=budgets)
    assert [one.bucket for one in found] == [0, 0, 0]
    best = best_measured(found, limits, table(6))
    assert np.array_equal(best[0].winner.path, best[1].winner.path) and best[0].figure == best[1].figure


def test_a_bucket_that_pruning_left_empty_is_passed_over():
    within = np.interp([0.3, 0.6], [0, 1], COSTS[20:22])  # a gap that has a bucket to itself
    budgets = Budgets([COSTS[0], COSTS[5], *within, COSTS[-1]])
    assert budgets.reachable(SPACE, COST) == [0, 1, 3]
    limits = [float(COSTS[-1])]
    assert [one.bucket for one in searched(table(7), limits, budgets=budgets)] == [3, 0, 1, 1]


def test_limits_that_nothing_keeps_and_figures_that_are_none():
    with pytest.raises(SpaceError, match=f"at most 5; the cheapest path of this space costs {COSTS[0]:,.12g}"):
        searched(table(0), [COSTS[-1], 5])
    with pytest.raises(ConfigError, match="limits is empty"):
        searched(table(0), [])
    limits = [float(COSTS[-1])]
    with pytest.raises(ConfigError, match=r"figure gave shape \(4, 1\) for 4 paths; it must give \(4,\)"):
        best_measured(searched(table(0), limits), limits, lambda paths: np.zeros((len(paths), 1)))
