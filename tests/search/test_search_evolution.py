"""The search finds planted optima within its limits, ends, repeats itself, and scores nothing twice."""

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, NumericError, SpaceError
from nnabla_detofa.search import evolve
from nnabla_detofa.search.offspring import Offspring
from nnabla_detofa.space import Budgets, CostModel, SearchSpace

SMALL = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1), depths=(0, 1), expands=(0.2, 0.35), elastic_stem=False)
LARGE = SearchSpace.ofa_resnet50()


def flops(space):
    return CostModel.flops(space, image_size=64, n_classes=3)


def planted(space, seed=0):
    """A score that adds a worth for each gene, so that no path is best everywhere."""
    paths = space.sample(1, np.random.default_rng(0))
    worth = np.random.default_rng(seed).standard_normal((paths.shape[1], 4))
    return lambda paths: worth[np.arange(paths.shape[1]), paths].sum(axis=1)


def search(space, score, limits, *, n_buckets=3, seed=0, **options):
    cost = flops(space)
    budgets = Budgets.equal_width(cost, n=n_buckets)
    limits = budgets.edges[1:] if limits is None else limits
    options = {"generations": 30, "population": 40} | options
    return evolve(space, score, cost, limits, budgets=budgets, rng=np.random.default_rng(seed), **options)


def smaller(space, seed=1):
    """The space without a third of its operations."""
    keep = np.random.default_rng(seed).random(space.n_operations) > 0.33
    return space.restrict(keep)


@pytest.mark.parametrize("space", [SMALL, smaller(SMALL)], ids=["full", "pruned"])
@pytest.mark.parametrize("seed", [0, 1])
def test_finds_the_planted_optimum_of_every_budget(space, seed):
    cost, score = flops(space), planted(space, seed)
    budgets = Budgets.equal_width(cost, n=3)
    limits = np.sort(np.concatenate([budgets.edges[1:], (budgets.edges[:-1] + budgets.edges[1:]) / 2]))
    everything = space.enumerate()
    costs, scores = cost(everything), score(everything)
    for found in search(space, score, limits, seed=seed, generations=100, population=100):
        low, high = budgets.edges[found.bucket : found.bucket + 2]
        inside = (costs >= low) & (costs <= found.limit) & ((costs < high) | (found.bucket == 2))
        assert found.score == pytest.approx(scores[inside].max())
        assert space.contains(found.path[None])[0]
        assert found.cost == cost(found.path[None])[0] <= found.limit
        assert low <= found.cost


def test_two_searches_of_one_seed_are_equal_and_results_keep_the_order_of_the_limits():
    first, second = (search(LARGE, planted(LARGE), None, n_buckets=5, seed=3) for _ in range(2))
    for one, again in zip(first, second, strict=True):
        assert np.array_equal(one.path, again.path)
        assert np.array_equal(one.history, again.history)
    assert [found.bucket for found in first] == [0, 1, 2, 3, 4]


def test_the_best_score_never_falls_and_is_better_than_random():
    score, cost = planted(LARGE), flops(LARGE)
    for found in search(LARGE, score, None, n_buckets=5):
        assert (np.diff(found.history) >= 0).all()
        assert len(found.history) == 31
        assert found.history[-1] == found.score == pytest.approx(score(found.path[None])[0])
        low, high = Budgets.equal_width(cost, n=5).range(found.bucket)
        random = LARGE.sample(found.evaluations, np.random.default_rng(0), cost=cost, low=low, high=high)
        assert found.score > score(random).max()


def test_no_path_is_scored_twice_and_a_generation_asks_once():
    calls = []

    def counting(paths):
        calls.append(paths.copy())
        return planted(SMALL)(paths)

    found = search(SMALL, counting, None)
    asked = np.concatenate(calls)
    assert len(np.unique(asked, axis=0)) == len(asked) == sum(each.evaluations for each in found)
    assert len(calls) <= 31


def test_a_budget_that_holds_one_path_ends():
    cost = flops(SMALL)
    cheapest, _ = cost.range(SMALL)
    (found,) = search(SMALL, planted(SMALL), [cheapest])
    assert (found.cost, found.evaluations) == (cheapest, 1)


def test_limits_of_one_bucket_do_not_take_paths_from_each_other():
    limit = flops(SMALL).range(SMALL)[1]
    first, second = search(SMALL, planted(SMALL), [limit, limit], generations=100, population=100)
    assert first.score == pytest.approx(second.score)


def test_a_limit_on_an_edge_belongs_to_the_bucket_below():
    edge = Budgets.equal_width(flops(SMALL), n=3).edges[1]
    (found,) = search(SMALL, planted(SMALL), [edge])
    assert found.bucket == 0


def test_progress_counts_the_generations():
    seen = []
    search(SMALL, planted(SMALL), None, generations=4, progress=seen.append)
    assert seen == [0, 1, 2, 3]
    assert all(len(found.history) == 1 for found in search(SMALL, planted(SMALL), None, generations=0))


def test_a_limit_below_the_cheapest_path_names_its_cost():
    cheapest, _ = flops(SMALL).range(SMALL)
    with pytest.raises(SpaceError, match=f"at most 5; the cheapest path of this space costs {cheapest:,.12g}"):
        search(SMALL, planted(SMALL), [cheapest, 5])
    with pytest.raises(SpaceError, match="no path costs at most nan"):
        search(SMALL, planted(SMALL), [float("nan")])


def test_a_part_of_a_bucket_without_paths_falls_back_to_the_bucket_below():
    cost, score = flops(SMALL), planted(SMALL)
    costs = np.unique(cost(SMALL.enumerate()))
    budgets = Budgets([costs[0], costs[10] + 1, costs[10] + 2, costs[-1]])
    limits = [costs[10] + 3, costs[10], costs[10] + 1.5]
    options = {"generations": 100, "population": 100}
    found = evolve(SMALL, score, cost, limits, budgets=budgets, rng=np.random.default_rng(0), **options)
    everything = SMALL.enumerate()
    best = score(everything[cost(everything) <= costs[10]]).max()
    assert [(one.limit, one.bucket) for one in found] == [(limit, 0) for limit in limits]
    assert all(one.score == pytest.approx(best) for one in found)


def test_limits_that_allow_the_same_paths_share_one_search():
    """A limit below the first path of its bucket, and the edge itself."""
    cost, seen = flops(SMALL), []
    costs = np.unique(cost(SMALL.enumerate()))
    budgets = Budgets([costs[0], costs[10] + 1, costs[-1]])
    limits = [costs[10] + 2, costs[10] + 1, costs[10] + 2]

    def score(paths):
        seen.append(len(paths))
        return planted(SMALL)(paths)

    first, second, third = evolve(SMALL, score, cost, limits, budgets=budgets, rng=np.random.default_rng(0))
    assert first.evaluations == second.evaluations == third.evaluations == sum(seen)
    assert np.array_equal(first.path, second.path) and np.array_equal(first.history, second.history)


def test_buckets_that_do_not_hold_the_cheapest_path_name_the_nearest_costs():
    cost = flops(SMALL)
    costs = np.unique(cost(SMALL.enumerate()))
    budgets = Budgets([costs[10], costs[11], costs[-1]])
    with pytest.raises(SpaceError, match=r"no path costs from .* the nearest costs are"):
        evolve(SMALL, planted(SMALL), cost, [costs[9]], budgets=budgets, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("generations", -1),
        ("population", 1),
        ("population", 10.0),
        ("parent_ratio", 1.5),
        ("parent_ratio", 0),
        ("mutation_probability", "a"),
        ("mutation_ratio", -0.1),
    ],
)
def test_options_that_make_no_search(key, value):
    with pytest.raises(ConfigError) as caught:
        search(SMALL, planted(SMALL), None, **{key: value})
    assert (caught.value.key, caught.value.given) == (f"search.{key}", value)


def test_a_search_without_limits_and_scores_that_are_none():
    for score, limits, error, word in (
        (planted(SMALL), [], ConfigError, "limits is empty"),
        (lambda paths: np.zeros((len(paths), 1)), None, ConfigError, r"shape \(\d+, 1\) for"),
        (lambda paths: np.r_[np.nan, np.zeros(len(paths) - 1)], None, NumericError, "1 of .* not finite"),
    ):
        with pytest.raises(error, match=word):
            search(SMALL, score, limits)


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_only_crosses_or_only_mutations(ratio):
    cost, score = flops(SMALL), planted(SMALL)
    best = score(SMALL.enumerate()).max()
    limit = cost.range(SMALL)[1]
    budgets = Budgets([cost.range(SMALL)[0], limit])
    (found,) = evolve(
        SMALL, score, cost, [limit], budgets=budgets, rng=np.random.default_rng(0), generations=60, mutation_ratio=ratio
    )
    assert found.score == pytest.approx(best)


@pytest.mark.parametrize(("ratio", "mutants"), [(0.0, 0), (0.2, 6), (1.0, 30)])
def test_so_many_children_are_mutants_and_each_gene_by_that_probability(monkeypatch, ratio, mutants):
    seen, mutate = [], SearchSpace.mutate

    def noted(self, paths, rng, probability):
        seen.append((len(paths), probability))
        return mutate(self, paths, rng, probability)

    monkeypatch.setattr(SearchSpace, "mutate", noted)
    search(SMALL, planted(SMALL), None, generations=1, mutation_ratio=ratio, mutation_probability=0.3)
    assert seen[0] == (3 * mutants, 0.3)  # of 30 children in each of three searches


def test_parents_are_the_best_share_and_no_path_twice(monkeypatch):
    seen, children = [], Offspring.children

    def noted(self, parents, n, known):
        seen.append((parents.copy(), n))
        return children(self, parents, n, known)

    monkeypatch.setattr(Offspring, "children", noted)
    search(SMALL, planted(SMALL), None, generations=5, parent_ratio=0.25)
    for parents, n in seen:
        assert parents.shape[:2] == (3, 10) and n == 30
        assert all(len(np.unique(own, axis=0)) == 10 for own in parents)
