"""Laws of the OFA-MobileNetV3 family: its count, rows, costs, tokens and genotypes."""

import json
from itertools import product

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.pruning import prune_operations
from nnabla_detofa.space import Budgets, ClassifierLayers, CostModel, DetectorLayers, SearchSpace, make_divisible
from nnabla_detofa.space.layers import IDENTITY

SMALL = {"depths": (1, 2), "kernels": (3, 5), "expands": (3,), "width_scale": 0.25, "channel_divisor": 4}
RNG = np.random.default_rng


def by_definition(depths, n_choices) -> int:
    """OFA's formula: each stage has a depth, each of its blocks one of the pairs of kernel and expand."""
    return sum(n_choices**depth for depth in depths) ** 5


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"depths": [1]},
        {"kernels": [3, 7], "expands": [6]},
        {"depths": [2, 4], "expands": [3, 4], "width_scale": 1.2},
    ],
)
def test_it_has_as_many_paths_as_ofas_formula_says(options) -> None:
    given = {"depths": (2, 3, 4), "kernels": (3, 5, 7), "expands": (3, 4, 6), **options}
    space = SearchSpace.ofa_mbv3(**options)
    assert space.size() == by_definition(given["depths"], len(given["kernels"]) * len(given["expands"]))
    assert space.family.n_genes == 5 + 5 * 2 * max(given["depths"])


def test_all_paths_of_a_small_space_are_listed_once() -> None:
    space = SearchSpace.ofa_mbv3(**SMALL)
    stage = [(0, k, 0, -1, -1) for k in range(2)] + [(1, a, 0, b, 0) for a in range(2) for b in range(2)]
    rows = {(*(one[0] for one in s), *(gene for one in s for gene in one[1:])) for s in product(stage, repeat=5)}
    paths = space.enumerate()
    assert set(map(tuple, paths.tolist())) == rows and len(paths) == len(rows) == space.size()
    assert len({tuple(space.path_layers(path)) for path in paths}) == len(paths)


def walked(space: SearchSpace, genotype: dict, *, size: int, n_classes: int, stem_pool: bool) -> tuple[int, int, int]:
    """MACs of backbone and classifier, and learned values, step by step as OFA builds it."""
    options = space.family.options
    wide = lambda channels: make_divisible(channels, options.channel_divisor)  # noqa: E731
    macs = learned = 0

    def convolve(k: int, i: int, o: int, side: int, extra: int) -> None:
        nonlocal macs, learned
        macs, learned = macs + k * k * i * o * side * side, learned + k * k * i * o + extra * o

    channels, *stages = (wide(c * options.width_scale) for c in (16, 24, 40, 80, 112, 160))
    side = size // 2 if stem_pool else size
    convolve(3, 3, channels, side, 2)
    convolve(3, 1, channels, side, 2)
    convolve(1, channels, channels, side, 2)
    most, at = max(options.depths), 0
    for depth, out, stride, squeezed in zip(genotype["d"], stages, (2, 2, 2, 1, 2), (0, 1, 0, 1, 1), strict=True):
        for block in range(depth):
            kernel, inner = genotype["ks"][at + block], wide(channels * genotype["e"][at + block])
            convolve(1, channels, inner, side, 2)
            side //= 1 if block else stride
            convolve(kernel, 1, inner, side, 2)
            if squeezed:
                convolve(1, inner, wide(inner // 4), 1, 1)
                convolve(1, wide(inner // 4), inner, 1, 1)
            convolve(1, inner, out, side, 2)
            channels = out
        at += most
    backbone = macs
    widened, mixed = (wide(c * options.width_scale) for c in (960, 1280))
    convolve(1, channels, widened, side, 2)
    convolve(1, widened, mixed, 1, 0)
    convolve(1, mixed, n_classes, 1, 1)
    return backbone, macs - backbone, learned


@pytest.mark.parametrize("options", [{}, {"width_scale": 1.2}, {"width_scale": 0.25, "channel_divisor": 4}])
@pytest.mark.parametrize("stem_pool", [True, False])
def test_costs_equal_a_walk_through_the_network(options, stem_pool) -> None:
    space = SearchSpace.ofa_mbv3(**options)
    layers = ClassifierLayers(space, image_size=96, n_classes=7, stem_pool=stem_pool)
    paths = space.sample(30, RNG(0))
    backbone, tail = CostModel.of(layers, "flops").parts(paths)
    slow = [walked(space, space.genotype(p), size=96, n_classes=7, stem_pool=stem_pool) for p in paths]
    assert [*zip(backbone, tail, CostModel.of(layers, "parameters")(paths), strict=True)] == slow


def test_published_figures() -> None:
    space = SearchSpace.ofa_mbv3()
    assert space.size() == 21_758_655_492_572_485_851 and len(space.token_layout().layer) == 20
    flops = CostModel.of(ClassifierLayers(space, image_size=224, n_classes=1000), "flops")
    assert np.allclose(np.array(flops.range(space)) / 1e6, [121.3, 566.2], atol=0.05)


def test_a_block_that_keeps_its_map_has_a_shortcut() -> None:
    for options in ({}, {"width_scale": 1.2}):
        space = SearchSpace.ofa_mbv3(**options)
        layers = dict(space.path_layers(space.largest()))
        kept = {at: one.stride == 1 and one.n_in == one.n_out for at, one in layers.items()}
        assert all((one.shortcut == IDENTITY) == kept[at] for at, one in layers.items())
        assert sum(kept.values()) == 1 + 5 * 3


def test_costs_are_monotone() -> None:
    space = SearchSpace.ofa_mbv3()
    paths = space.sample(200, RNG(0))
    for name in ("flops", "parameters", "memory"):
        cost = CostModel.of(DetectorLayers(space, image_size=128, n_classes=3), name)
        assert cost.range(space)[1] == cost(space.largest()[None])[0]
        for column in range(5, 45):
            more = paths.copy()
            more[:, column] += (paths[:, column] >= 0) & (paths[:, column] < 2)
            assert space.contains(more).all() and (cost(more) >= cost(paths)).all()


def test_a_genotype_is_the_hosts_and_gives_the_path_back() -> None:
    space = SearchSpace.ofa_mbv3()
    for path in [space.smallest(), space.largest(), *space.sample(50, RNG(1))]:
        found = json.loads(json.dumps(space.genotype(path)))
        assert [len(found[key]) for key in ("ks", "e", "d")] == [20, 20, 5]
        assert np.array_equal(space.from_genotype(found), path)
        unused = [block for block in range(20) if block % 4 >= found["d"][block // 4]]
        for block in unused:  # whatever the host has there
            found["ks"][block], found["e"][block] = 7, 6
        assert np.array_equal(space.from_genotype(found), path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ks": [3] * 19}, "genotype is .* must be of the form {ks: 20 kernels, e: 20 expands, d: 5 depths}"),
        ({"d": [2, 2, 2, 2, 5]}, "genotype d is 5; it must be one of 2, 3, 4"),
        ({"ks": [4] * 20}, "genotype ks is 4; it must be one of 3, 5, 7"),
        ({"e": [5] * 20}, "genotype e is 5; it must be one of 3, 4, 6"),
        ({"e": 6}, "genotype is .* must be of the form"),
    ],
)
def test_what_is_no_genotype_is_refused(changed, said) -> None:
    space = SearchSpace.ofa_mbv3()
    with pytest.raises(ConfigError, match=said):
        space.from_genotype({**space.genotype(space.largest()), **changed})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kernels": [3, 4]}, "space.kernels is 4; it must be an odd number"),
        ({"kernels": [5, 3]}, "space.kernels is .*ascending"),
        ({"expands": [1]}, "space.expands is .*at least 2"),
        ({"depths": []}, "space.depths is .*ascending"),
        ({"widths": [1.0]}, "widths"),
        ({"depths": [7]}, "stage 0 of 7 blocks with 9 choices each has .* table entries"),
    ],
)
def test_options_that_are_none_are_refused(options, said) -> None:
    with pytest.raises(ConfigError, match=said):
        SearchSpace.ofa_mbv3(**options)


def test_tokens_tell_all_paths_apart() -> None:
    space = SearchSpace.ofa_mbv3(**SMALL)
    paths, layout = space.enumerate(), space.token_layout()
    tokens = space.tokenize(paths)
    assert len(np.unique(tokens, axis=0)) == len(paths)
    assert layout.vocabulary == tokens.max() + 1 == 3 and layout.block == tuple(np.repeat(range(1, 6), 2))
    assert np.array_equal(tokens == 0, paths[:, 5::2] < 0)


def test_a_pruned_space_is_written_and_read() -> None:
    space = SearchSpace.ofa_mbv3(**SMALL)
    few = space.only(kernels=[5], depths=[2])
    assert few.size() == 1
    keep = RNG(0).random(space.n_operations) < 0.8
    for one in (space, few, space.restrict(keep)):
        assert SearchSpace.from_dict(json.loads(json.dumps(one.to_dict())), within=space) == one


def test_it_is_changed_and_pruned_inside_its_space() -> None:
    space = SearchSpace.ofa_mbv3()
    first, second = space.sample(500, RNG(0)), space.sample(500, RNG(1))
    assert space.contains(space.mutate(first, RNG(2), 0.3)).all()
    assert space.contains(space.crossover(first, second, RNG(3))).all()
    small = SearchSpace.ofa_mbv3(**SMALL)
    cost = CostModel.flops(small, image_size=64, n_classes=2, neck=(8,), head=8)
    budgets = Budgets.equal_width(cost, n=4)
    score = lambda paths: paths.sum(axis=1)  # noqa: E731
    result = prune_operations(small, score, cost, budgets, strategy="flops", paths_per_operation=50, rng=RNG(0))
    columns = ["stage", "layer", "depth", "kernel", "expand", "flops", "score", "bucket", "kept", "reason"]
    assert list(result.rows()[0]) == columns and result.space.size() < small.size()
    assert budgets.reachable(result.space, cost) == budgets.reachable(small, cost)
