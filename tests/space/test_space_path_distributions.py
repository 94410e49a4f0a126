"""Draws that training takes its paths from: buckets equally often, and inside a bucket every path."""

import numpy as np
import pytest

from nnabla_detofa.space import PROPOSALS, Budgets, CostModel, SearchSpace

SPACE = SearchSpace.ofa_resnet50(
    base_depths=(1, 1, 1, 1), depths=(0,), widths=(0.65, 1.0), expands=(0.2, 0.35), elastic_stem=False
)
COST = CostModel.flops(SPACE, image_size=64, n_classes=3)
BUDGETS = Budgets.equal_width(COST)
PATHS = SPACE.enumerate()
BUCKET = BUDGETS.bucket(COST(PATHS))


def counts(paths):
    """How often each path of the space was drawn."""
    place = {tuple(path): number for number, path in enumerate(PATHS.tolist())}
    return np.bincount([place[tuple(path)] for path in paths.tolist()], minlength=len(PATHS))


def test_buckets_are_drawn_equally_often_and_paths_uniformly_inside_them(is_uniform):
    n = 50_000
    observed = counts(PROPOSALS["balanced"](SPACE, COST, BUDGETS)(n, np.random.default_rng(0)))
    sizes = np.bincount(BUCKET, minlength=5)
    assert sizes.min() > 0
    assert is_uniform(np.bincount(BUCKET, observed, minlength=5), np.full(5, n / 5))
    assert is_uniform(observed, n / 5 / sizes[BUCKET])


def test_uniform_draws_are_the_spaces_own(is_uniform):
    observed = counts(PROPOSALS["uniform"](SPACE, COST, BUDGETS)(50_000, np.random.default_rng(0)))
    assert is_uniform(observed, np.full(len(PATHS), 50_000 / len(PATHS)))
    assert not is_uniform(np.bincount(BUCKET, observed, minlength=5), np.full(5, 10_000))


def test_buckets_without_paths_are_left_out():
    narrow = SPACE.only(widths=[0.65])
    reachable = BUDGETS.reachable(narrow, COST)
    assert 0 < len(reachable) < 5
    drawn = PROPOSALS["balanced"](narrow, COST, BUDGETS)(400, np.random.default_rng(0))
    assert narrow.contains(drawn).all()
    assert sorted(set(BUDGETS.bucket(COST(drawn)).tolist())) == reachable


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_draws(n):
    draw = PROPOSALS["balanced"](SPACE, COST, BUDGETS)
    drawn = draw(n, np.random.default_rng(1))
    assert drawn.shape == (n, SPACE.family.n_genes) and drawn.dtype == np.int8
    assert np.array_equal(drawn, draw(n, np.random.default_rng(1)))


def test_coupled_genes_stay_coupled():
    space = SearchSpace.comp_ofa(base_depths=(1, 1, 1, 1))
    assert space.contains(PROPOSALS["genes"](space, COST, BUDGETS)(500, np.random.default_rng(0))).all()


def probability(space, stage, rows):
    """Of each row of a stage's genes, where every choice that is left is taken equally often."""
    pairs = {tuple(pair) for pair in rows[:, :2].tolist()}
    found = np.full(len(rows), 1 / len(pairs))
    for number, (depth, width, *expands) in enumerate(rows.tolist()):
        used = [layer for layer, expand in enumerate(expands) if expand >= 0]
        found[number] /= np.prod([space.allowed[1 + stage][layer, 3 * depth + width].sum() for layer in used])
    return found


@pytest.mark.parametrize("lost", [0.0, 0.2, 0.5])
def test_genes_of_a_pruned_space_are_what_is_left_equally_often_and_nothing_else(is_uniform, lost):
    """Pairs of depth and width that have no complete path are never drawn; each stage by itself, by its definition."""
    whole, n = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1), depths=(0, 1)), 40_000
    keep = np.random.default_rng(3).random(whole.n_operations) >= lost
    space = whole.restrict(keep)
    assert (space.size() < whole.size()) == (lost > 0)
    paths = PROPOSALS["genes"](space, COST, BUDGETS)(n, np.random.default_rng(0))
    assert space.contains(paths).all()
    assert is_uniform(np.bincount(paths[:, :3] @ np.array([9, 3, 1])), np.full(18, n / 18))
    for stage, columns in enumerate(whole.family.columns[1:]):
        rows = space.masks.rows[1 + stage].genes
        place = {tuple(row): number for number, row in enumerate(rows.tolist())}
        observed = np.bincount([place[tuple(row)] for row in paths[:, columns].tolist()], minlength=len(rows))
        expected = probability(space, stage, rows)
        assert expected.sum() == pytest.approx(1)
        assert is_uniform(observed, n * expected), stage


@pytest.mark.parametrize(
    ("name", "shares"),
    [
        ("genes", [14.1, 69.9, 15.6, 0.27, 0.0002]),
        ("uniform", [3.80, 60.83, 33.82, 1.56, 0.0016]),
        ("balanced", [20] * 5),
    ],
)
def test_what_draws_reach_of_the_papers_buckets(name, shares):
    """The figures that the documentation gives, in per cent, at five standard deviations."""
    space, n = SearchSpace.ofa_resnet50(), 50_000
    cost = CostModel.flops(space, image_size=384, n_classes=20)
    budgets = Budgets.equal_width(cost)
    drawn = PROPOSALS[name](space, cost, budgets)(n, np.random.default_rng(0))
    observed, expected = np.bincount(budgets.bucket(cost(drawn)), minlength=5), n * np.array(shares) / 100
    assert (abs(observed - expected) <= 5 * np.sqrt(expected) + 1).all(), 100 * observed / n
