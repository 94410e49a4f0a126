"""Laws of the OFA-Xception family: its count, rows, draws, costs, tokens and genotypes."""

import json
from itertools import product

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.pruning import prune_operations
from nnabla_detofa.space import PROPOSALS, Budgets, ClassifierLayers, CostModel, SearchSpace, make_divisible

SMALL = {"kernels": (3, 5), "expands": (0.5, 1.0), "middle_blocks": 3, "width_scale": 0.125, "channel_divisor": 4}
RNG = np.random.default_rng


@pytest.mark.parametrize("options", [{}, {"depths": [2, 3]}, {"depths": [1], "kernels": [3]}, {"middle_blocks": 16}])
def test_a_block_of_one_convolution_has_no_expand(options) -> None:
    given = {"depths": (1, 2, 3), "kernels": (3, 5, 7), "expands": (0.6, 0.8, 1.0), "middle_blocks": 8, **options}
    space = SearchSpace.ofa_xception(**options)
    of_block = len(given["kernels"]) * sum(1 if depth == 1 else len(given["expands"]) for depth in given["depths"])
    assert space.size() == of_block ** given["middle_blocks"]
    assert space.n_operations == of_block * given["middle_blocks"]


def test_all_paths_of_a_small_space_are_listed_once() -> None:
    space = SearchSpace.ofa_xception(**SMALL)
    block = {(d, k, -1 if d == 0 else e) for d, k, e in product(range(3), range(2), range(2))}
    rows = {(*a, *b, *c) for a, b, c in product(block, repeat=3)}
    paths = space.enumerate()
    assert set(map(tuple, paths.tolist())) == rows and len(paths) == len(rows) == space.size()
    assert len({tuple(space.path_layers(path)) for path in paths}) == len(paths)


def walked(space: SearchSpace, genotype: dict, *, size: int, n_classes: int, stem_pool: bool) -> tuple[int, int, int]:
    """MACs of backbone and classifier, and learned values, step by step as NNablaNAS builds it."""
    options = space.family.options
    wide = lambda channels: make_divisible(channels, options.channel_divisor)  # noqa: E731
    first, second, *entry, last = (wide(c * options.width_scale) for c in (32, 64, 128, 256, 728, 1024))
    macs = learned = 0

    def convolve(k: int, i: int, o: int, side: int, extra: int = 2) -> None:
        nonlocal macs, learned
        macs, learned = macs + k * k * i * o * side * side, learned + k * k * i * o + extra * o

    def separable(k: int, i: int, o: int, side: int) -> None:
        convolve(k, 1, i, side, 0)
        convolve(1, i, o, side)

    side = size // 2 if stem_pool else size
    convolve(3, 3, first, side)
    convolve(3, first, second, side)
    n_in = second
    for n_out in entry:
        separable(3, n_in, n_out, side)
        separable(3, n_out, n_out, side)
        side //= 2
        convolve(1, n_in, n_out, side)
        n_in = n_out
    for kernel, expand, depth in zip(*(genotype[key] for key in ("ks", "e", "d")), strict=True):
        inner = wide(round(n_in * expand))
        for number in range(1, depth + 1):
            separable(kernel, n_in if number == 1 else inner, n_in if number == depth else inner, side)
    separable(3, n_in, n_in, side)
    separable(3, n_in, last, side)
    side //= 2
    convolve(1, n_in, last, side)
    for width in (1536, 2048):
        separable(3, last, wide(width * options.width_scale), side)
        last = wide(width * options.width_scale)
    backbone = macs
    convolve(1, last, n_classes, 1, 1)
    return backbone, macs - backbone, learned


@pytest.mark.parametrize("options", [{}, {"middle_blocks": 16, "width_scale": 0.5}, SMALL])
@pytest.mark.parametrize("stem_pool", [True, False])
def test_costs_equal_a_walk_through_the_network(options, stem_pool) -> None:
    space = SearchSpace.ofa_xception(**options)
    layers = ClassifierLayers(space, image_size=96, n_classes=7, stem_pool=stem_pool)
    paths = space.sample(30, RNG(0))
    backbone, tail = CostModel.of(layers, "flops").parts(paths)
    slow = [walked(space, space.genotype(p), size=96, n_classes=7, stem_pool=stem_pool) for p in paths]
    assert [*zip(backbone, tail, CostModel.of(layers, "parameters")(paths), strict=True)] == slow


def test_costs_are_monotone() -> None:
    space = SearchSpace.ofa_xception()
    paths = space.sample(200, RNG(0))
    for name in ("flops", "parameters", "memory"):
        cost = CostModel.of(ClassifierLayers(space, image_size=128, n_classes=3), name)
        assert cost.range(space) == (cost(space.smallest()[None])[0], cost(space.largest()[None])[0])
        for column in range(24):
            more = paths.copy()
            more[:, column] += (paths[:, column] >= (column % 3 == 0)) & (paths[:, column] < 2)  # a first depth stays
            assert space.contains(more).all() and (cost(more) >= cost(paths)).all()


def test_counts_and_draws_of_a_bucket_are_exact() -> None:
    space = SearchSpace.ofa_xception(**SMALL)
    cost = CostModel.of(ClassifierLayers(space, image_size=64, n_classes=3), "flops")
    every, budgets = cost(space.enumerate()), Budgets.equal_width(cost, n=5)
    for bucket in range(5):
        low, high = budgets.range(bucket)
        inside = (every >= low) & (every < high)
        assert space.count(cost, low=low, high=high) == inside.sum()
        drawn = space.sample(20 * inside.sum(), RNG(bucket), cost=cost, low=low, high=high)
        rows, times = np.unique(drawn, axis=0, return_counts=True)
        assert len(rows) == inside.sum()
        assert ((times - 20) ** 2 / 20).sum() < len(rows) + 5 * np.sqrt(2 * len(rows))


def test_values_of_genes_are_drawn_equally_often_as_the_host_draws_them() -> None:
    space = SearchSpace.ofa_xception()
    cost = CostModel.of(ClassifierLayers(space, image_size=64, n_classes=3), "flops")
    paths = PROPOSALS["genes"](space, cost, Budgets.equal_width(cost, n=5))(40_000, RNG(0))
    assert space.contains(paths).all()
    for column in range(24):
        _, times = np.unique(paths[:, column], return_counts=True)
        expected = np.full(3, 1 / 3) if column % 3 < 2 else np.array([3, 2, 2, 2]) / 9
        np.testing.assert_allclose(times / len(paths), expected, atol=0.015)
    few = space.only(depths=[1, 2], expands=[0.8])
    drawn = PROPOSALS["genes"](few, cost, Budgets.equal_width(cost, n=5))(1000, RNG(0))
    assert few.contains(drawn).all()


def test_a_genotype_is_the_hosts_and_gives_the_path_back() -> None:
    space = SearchSpace.ofa_xception()
    for path in [space.smallest(), space.largest(), *space.sample(50, RNG(1))]:
        found = json.loads(json.dumps(space.genotype(path)))
        assert [len(found[key]) for key in ("ks", "e", "d")] == [8, 8, 8]
        assert np.array_equal(space.from_genotype(found), path)
        found["e"] = [1.0 if depth == 1 else e for e, depth in zip(found["e"], found["d"], strict=True)]
        assert np.array_equal(space.from_genotype(found), path)  # whatever the host has there


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ks": [3] * 9}, "genotype is .* must be of the form {ks: 8 kernels, e: 8 expands, d: 8 depths}"),
        ({"d": [4] * 8}, "genotype d is 4; it must be one of 1, 2, 3"),
        ({"ks": [4] * 8}, "genotype ks is 4; it must be one of 3, 5, 7"),
        ({"e": [0.7] * 8}, "genotype e is 0.7; it must be one of 0.6, 0.8, 1.0"),
    ],
)
def test_what_is_no_genotype_is_refused(changed, said) -> None:
    space = SearchSpace.ofa_xception()
    with pytest.raises(ConfigError, match=said):
        space.from_genotype({**space.genotype(space.largest()), **changed})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernels": [3, 4]}, "space.kernels is 4; it must be an odd number"),
        ({"expands": [0.6, 0.8]}, "space.expands is 0.8; it must be 1 or more where depths differ"),
        ({"expands": [0.999, 1.0]}, "space.expands is 0.999; it must be so far below the next that channels differ"),
        ({"depths": [0, 1]}, "space.depths is .*at least 1"),
        ({"widths": [1.0]}, "widths"),
    ],
)
def test_options_that_are_none_are_refused(options, said) -> None:
    with pytest.raises(ConfigError, match=said):
        SearchSpace.ofa_xception(**options)


def test_tokens_tell_all_paths_apart() -> None:
    space = SearchSpace.ofa_xception(**SMALL)
    paths, layout = space.enumerate(), space.token_layout()
    tokens = space.tokenize(paths)
    assert len(np.unique(tokens, axis=0)) == len(paths)
    assert layout.vocabulary == tokens.max() + 1 == 1 + 2 * (1 + 2 + 2) and layout.block == (1, 2, 3)


def test_a_pruned_space_is_written_and_read() -> None:
    space = SearchSpace.ofa_xception(**SMALL)
    few = space.only(expands=[0.5], kernels=[3])
    assert few.size() == 3**3  # a depth of 1 uses no expand, and so no other
    keep = RNG(0).random(space.n_operations) < 0.8
    for one in (space, few, space.restrict(keep)):
        assert SearchSpace.from_dict(json.loads(json.dumps(one.to_dict())), within=space) == one


def test_operations_are_told_by_value() -> None:
    columns = SearchSpace.ofa_xception(**SMALL).operation_columns()
    assert list(columns) == ["stage", "layer", "depth", "kernel", "expand"]
    rows = list(zip(*columns.values(), strict=True))
    assert rows[:4] == [(0, 0, 1, 3, ""), (0, 0, 1, 5, ""), (0, 0, 2, 3, 0.5), (0, 0, 2, 3, 1.0)]


def test_children_take_each_gene_from_a_parent() -> None:
    space = SearchSpace.ofa_xception()
    first, second = space.sample(500, RNG(0)), space.sample(500, RNG(1))
    children = space.crossover(first, second, RNG(3))
    assert space.contains(children).all() and space.contains(space.mutate(first, RNG(2), 0.3)).all()
    inherited = (children == first) | (children == second) | (np.arange(24) % 3 == 2) & (children < 0)
    assert inherited.all()


def test_it_is_pruned_inside_its_space() -> None:
    space = SearchSpace.ofa_xception(**SMALL)
    cost = CostModel.flops(space, image_size=64, n_classes=2, neck=(8,), head=8)
    budgets = Budgets.equal_width(cost, n=4)
    score = lambda paths: paths.sum(axis=1)  # noqa: E731
    result = prune_operations(space, score, cost, budgets, strategy="flops", paths_per_operation=50, rng=RNG(0))
    assert result.space.size() < space.size()
    assert budgets.reachable(result.space, cost) == budgets.reachable(space, cost)
