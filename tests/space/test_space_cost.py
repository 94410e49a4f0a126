"""Laws of cost: equals a count layer by layer, monotone, exact extremes; buckets and draws within a range of cost."""

import itertools
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.errors import ConfigError, SpaceError
from nnabla_detofa.space import (
    Budgets,
    CostModel,
    DetectorLayers,
    LayerCosts,
    SearchSpace,
    cost_bins,
    cost_sampler,
    exact_draws,
)
from nnabla_detofa.space.layers import sides_of

KINDS = st.sampled_from(["flops", "parameters", "memory", "latency"])
SMALL = {"base_depths": (1, 1, 1, 1), "depths": (0, 1), "widths": (0.65, 1.0), "expands": (0.2, 0.35)}


def slow_count(space: SearchSpace, path: np.ndarray, *, size: int, n_classes: int, neck, head: int, stem_pool: bool):
    """MACs and learned values of one path, walked layer by layer as the network is built."""
    family, channels = space.family, space.family.channels
    macs = learned = 0

    def convolve(k: int, i: int, o: int, side: int, *, extra: int) -> None:
        nonlocal macs, learned
        macs, learned = macs + k * k * i * o * side * side, learned + k * k * i * o + extra

    depth, w1, w2 = path[:3]
    mid, out = channels.stem_mid[w1], channels.stem_out[w2]
    side = size // 2
    convolve(3, 3, mid, side, extra=2 * mid)
    if depth:
        convolve(3, mid, mid, side, extra=2 * mid)
    convolve(3, mid, out, side, extra=2 * out)
    side = side // 2 if stem_pool else side
    entering = out
    for stage, stride in enumerate((1, 2, 2, 2)):
        d, w, *expands = path[family.columns[1 + stage]]
        leaving = channels.stage_out[stage][w]
        for block in range(family.options.base_depths[stage] + family.options.depths[d]):
            inner = channels.middle[stage][w][expands[block]]
            after = side // stride if block == 0 else side
            convolve(1, entering, inner, side, extra=2 * inner)
            convolve(3, inner, inner, after, extra=2 * inner)
            convolve(1, inner, leaving, after, extra=2 * leaving)
            if block == 0:
                convolve(1, entering, leaving, after, extra=2 * leaving)
            entering, side = leaving, after
    backbone = macs
    for width in neck:
        convolve(4, entering, width, side, extra=2 * width)
        entering, side = width, 2 * side
    for outputs in (n_classes, 2, 2):
        convolve(3, entering, head, side, extra=head)
        convolve(1, head, outputs, side, extra=outputs)
    return backbone, macs - backbone, learned


def model(kind: str, space: SearchSpace, **detector) -> CostModel:
    """A cost of that kind; layers take random times."""
    if kind != "latency":
        return getattr(CostModel, kind)(space, **detector)
    layers = DetectorLayers(space, **detector)
    return CostModel.latency(layers, random_times(layers))


def random_times(layers: DetectorLayers) -> dict:
    distinct = layers.distinct()
    return dict(zip(distinct, np.random.default_rng(0).integers(1, 10**7, len(distinct)).tolist(), strict=True))


@pytest.mark.parametrize("options", [{}, {"width_scale": 0.125, "channel_divisor": 4}])
@pytest.mark.parametrize("neck", [(256, 256, 256), (32,), ()])
@pytest.mark.parametrize("stem_pool", [True, False])
def test_cost_equals_a_count_layer_by_layer(options: dict, neck: tuple[int, ...], stem_pool: bool) -> None:
    space = SearchSpace.ofa_resnet50(**options)
    paths = space.sample(20, np.random.default_rng(0))
    cost = CostModel.flops(space, image_size=96, n_classes=7, neck=neck, head=48, stem_pool=stem_pool)
    learned = CostModel.parameters(space, n_classes=7, neck=neck, head=48)
    slow = [slow_count(space, p, size=96, n_classes=7, neck=neck, head=48, stem_pool=stem_pool) for p in paths]
    backbone, tail = cost.parts(paths)
    assert [*zip(backbone, tail, learned(paths), strict=True)] == slow
    assert np.array_equal(cost(paths), backbone + tail)


def test_published_figures() -> None:
    space = SearchSpace.ofa_resnet50()
    ends = np.stack([space.smallest(), space.largest()])
    backbone, _ = CostModel.flops(space, image_size=224, n_classes=20).parts(ends)
    assert np.allclose(backbone / 1e9, [0.96, 7.49], atol=0.005)
    for size, classes, low, high in ((384, 20, 10.7, 30.3), (512, 80, 19.1, 54.0)):
        assert np.allclose(
            np.array(CostModel.flops(space, image_size=size, n_classes=classes).range(space)) / 1e9,
            [low, high],
            atol=0.05,
        )


def test_cost_is_monotone_in_depth_width_and_expand() -> None:
    space = SearchSpace.ofa_resnet50()
    paths = space.sample(300, np.random.default_rng(2))
    for cost in (CostModel.flops(space, image_size=128, n_classes=3), CostModel.parameters(space, n_classes=3)):
        before = cost(paths)
        for column in range(29):
            more = paths.copy()
            more[:, column] += (paths[:, column] >= 0) & (paths[:, column] < space.family.upper[column])
            if column in (3, 5, 7, 9):  # a block that opens needs an expand
                stage = space.family.columns[1:][(column - 3) // 2]
                deeper = np.flatnonzero(more[:, column] > paths[:, column])
                opened = (paths[deeper][:, stage] < 0).argmax(axis=1)
                more[deeper, stage[opened]] = 0
            assert space.contains(more).all()
            assert (cost(more) >= before).all()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32), kind=KINDS)
def test_extremes_equal_brute_force(pruned, seed: int, kind: str) -> None:
    space = pruned(SearchSpace.ofa_resnet50(**SMALL, elastic_stem=False), seed)
    cost = model(kind, space, image_size=64, n_classes=2)
    costs = cost(space.enumerate())
    assert cost.range(space) == (costs.min(), costs.max())
    assert space.contains(np.stack([cost.argmin(space), cost.argmax(space)])).all()
    assert cost.space == space.unpruned()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), ends=st.tuples(st.floats(-0.1, 1.1), st.floats(-0.1, 1.1)), kind=KINDS)
def test_numbers_of_a_range_are_its_paths_one_to_one(pruned, seed: int, ends: tuple[float, float], kind: str) -> None:
    space = pruned(SearchSpace.ofa_resnet50(**SMALL, elastic_stem=False, width_scale=0.25), seed)
    cost = model(kind, space, image_size=64, n_classes=2, neck=(16,))
    listed = space.enumerate()
    costs = cost(listed)
    low, high = np.quantile(costs, np.clip(np.sort(ends), 0, 1)) + np.array([min(ends), 0.5])
    inside = listed[(costs >= low) & (costs < high)]
    count = space.count(cost, low=low, high=high)
    assert count == len(inside)
    if count:
        numbered = space.by_cost(cost).numbered(np.arange(count), low, high)
        assert np.array_equal(np.unique(numbered, axis=0), np.unique(inside, axis=0))


def test_draws_within_a_range_pass_a_chi_square_test(is_uniform) -> None:
    space = SearchSpace.ofa_resnet50(**{**SMALL, "depths": (0,)}, elastic_stem=False, width_scale=0.25)
    cost = CostModel.flops(space, image_size=64, n_classes=2)
    low, high = Budgets.equal_width(cost).range(3)
    costs = cost(space.enumerate())
    n = int(((costs >= low) & (costs < high)).sum())
    drawn = space.sample(200 * n, np.random.default_rng(0), cost=cost, low=low, high=high)
    paths, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(paths) == n > 20
    assert is_uniform(counts, 200)


@pytest.mark.parametrize("kind", ["flops", "parameters", "memory", "latency"])
def test_every_bucket_of_the_papers_space_can_be_drawn_from(kind: str) -> None:
    space = SearchSpace.ofa_resnet50()
    cost = model(kind, space, image_size=384, n_classes=20)
    budgets = Budgets.equal_width(cost)
    counts = []
    for bucket in budgets.reachable(space, cost):
        low, high = budgets.range(bucket)
        paths = space.sample(200, np.random.default_rng(bucket), cost=cost, low=low, high=high)
        assert space.contains(paths).all()
        assert (budgets.bucket(cost(paths)) == bucket).all()
        counts.append(space.count(cost, low=low, high=high))
    assert sum(counts) == space.size() == space.count(cost)
    assert len(counts) == (4 if kind == "memory" else 5)  # peaks are those of a few early layers: they leave gaps
    highest = cost.range(space)[1]
    dearest = space.sample(3, np.random.default_rng(0), cost=cost, low=highest)
    assert (cost(dearest) == highest).all()


@pytest.mark.parametrize("kind", ["flops", "memory"])
def test_a_range_without_a_path_is_an_error_that_names_the_nearest_costs(kind: str) -> None:
    space, rng = SearchSpace.ofa_resnet50(**SMALL), np.random.default_rng(0)
    cost = model(kind, space, image_size=64, n_classes=2)
    costs = np.unique(cost(space.enumerate()))
    at = len(costs) // 2
    for low, high, nearest in (
        (costs[at] + 0.5, costs[at + 1], f"{costs[at]:,.0f} and {costs[at + 1]:,.0f}"),
        (0, costs[0], f"{costs[0]:,.0f}"),
        (costs[-1] + 1, np.inf, f"{costs[-1]:,.0f}"),
    ):
        with pytest.raises(SpaceError, match=f"the nearest costs are {nearest}$"):
            space.sample(1, rng, cost=cost, low=low, high=high)


def test_prepared_ranges_are_bounded_and_do_not_change_draws() -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    cost = CostModel.flops(space, image_size=64, n_classes=2)
    low, high = cost.range(space)
    draw = lambda: space.sample(5, np.random.default_rng(1), cost=cost, low=low, high=high)  # noqa: E731
    first = draw()
    for limit in np.linspace(low + 1, high, 2 * cost_sampler.RANGES_KEPT):
        space.count(cost, low=low, high=limit)
    assert len(space.by_cost(cost)._ranges) == cost_sampler.RANGES_KEPT
    assert np.array_equal(draw(), first)


def test_buckets_agree_with_their_ranges() -> None:
    budgets = Budgets([0, 10, 20, 30])
    assert len(budgets) == 3
    assert budgets.bucket(np.array([-5, 0, 9.9, 10, 29, 30, 31])).tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert budgets.range(0) == (0, 10)
    low, high = budgets.range(2)
    assert low == 20
    assert 30 < high < 30.001
    space = SearchSpace.ofa_resnet50()
    cost = CostModel.flops(space, image_size=384, n_classes=20)
    edges = Budgets.equal_width(cost, n=5).edges
    assert edges.shape == (6,)
    assert (edges[0], edges[-1]) == cost.range(space)
    half = space.only(depths=[0, 1])
    assert np.array_equal(Budgets.equal_width(CostModel.flops(half, image_size=384, n_classes=20)).edges, edges)


def test_paths_of_every_bucket() -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    cost = CostModel.flops(space, image_size=64, n_classes=2)
    budgets = Budgets.equal_width(cost, n=3)
    drawn = budgets.sample(space, cost, 4, np.random.default_rng(0))
    assert [budgets.bucket(cost(paths)).tolist() for paths in drawn] == [[bucket] * 4 for bucket in range(3)]
    rng = np.random.default_rng(0)
    for bucket, paths in enumerate(drawn):  # as one after the other from one generator
        assert np.array_equal(budgets.sample(space, cost, 4, rng, [bucket]), [paths])
    with pytest.raises(SpaceError):
        budgets.sample(space.only(depths=[0]), cost, 1, rng, [2])


@pytest.mark.parametrize("n", [1, 5, 9, 40])
def test_distinct_paths_are_all_where_there_are_few_and_equally_likely(n: int) -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    cost = CostModel.flops(space, image_size=64, n_classes=2)
    low = np.sort(cost(space.enumerate()))[-9]
    there, rng = space.count(cost, low=low), np.random.default_rng(0)
    budgets, drawn = Budgets([0, low, cost.range(space)[1]]), Counter()
    for _ in range(300):
        (paths,) = budgets.sample(space, cost, n, rng, [1], distinct=True)
        assert len({path.tobytes() for path in paths}) == len(paths) == min(n, there)
        drawn.update(path.tobytes() for path in paths)
    share = np.array([*drawn.values()]) / 300
    assert len(share) == there >= 9
    assert np.abs(share - min(n, there) / there).max() < 4 * np.sqrt(0.25 / 300)


def test_bad_budgets() -> None:
    for edges in ([1], [2, 1], [0, np.nan]):
        with pytest.raises(ConfigError, match="ascending"):
            Budgets(edges)
    for bucket in (-1, 2):
        with pytest.raises(ConfigError, match=f"bucket {bucket} .* 0 to 1"):
            Budgets([0, 1, 2]).range(bucket)
    single = SearchSpace.ofa_resnet50(depths=(0,), widths=(1.0,), expands=(0.35,), elastic_stem=False)
    cost = CostModel.parameters(single, n_classes=2)
    with pytest.raises(SpaceError, match="different cost"):
        Budgets.equal_width(cost)
    with pytest.raises(ConfigError, match="number of buckets is 0"):
        Budgets.equal_width(cost, n=0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("image_size", value) for value in (100, 0, [64], (64, 64, 64), (64, 100), (0, 64), ("64", 64), "64")),
        *[("n_classes", 0), ("neck", (256, -1)), ("head", 1.5)],
    ],
)
def test_bad_options_of_the_cost(key: str, value) -> None:
    with pytest.raises(ConfigError) as caught:
        CostModel.flops(SearchSpace.ofa_resnet50(), **{"image_size": 64, "n_classes": 2, key: value})
    assert caught.value.key == key and caught.value.given in (value, -1)


def tables(space: SearchSpace, value: float = 1.0) -> LayerCosts:
    """One for each block, whatever it is, and nothing for stem and tail."""
    before = (1, *(one.n_leaves for one in space.family.segments))
    shapes = [
        (n, len(one.contexts), one.n_blocks, len(one.choices))
        for n, one in zip(before, space.family.segments, strict=False)
    ]
    stem, *stages = (np.full(shape, value) for shape in shapes)
    return LayerCosts((0 * stem, *stages), np.zeros(before[-1]))


def test_costs_of_other_kinds_are_added_up_alike() -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    ones, paths = tables(space), space.enumerate()
    assert np.array_equal(CostModel(space, ones)(paths), (paths[:, 11:] >= 0).sum(axis=1))
    for value in (0.5, -1, np.nan, np.inf):
        stages = [np.full_like(table, value) for table in ones.segments]
        for bad in (ones._replace(tail=np.full(2, value)), ones._replace(segments=stages)):
            with pytest.raises(ConfigError, match="whole numbers"):
                CostModel(space, bad)


def test_a_sum_of_layers_is_the_sum_of_its_table() -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    layers = DetectorLayers(space, image_size=64, n_classes=2, neck=(16, 8))
    times = random_times(layers)
    cost = CostModel.latency(layers, times)
    for path in space.sample(20, np.random.default_rng(1)):
        chain = [layer._replace(side=2 * layer.side) for _, layer in space.path_layers(path)]
        chain += layers.tail(path[space.family.columns[-1][1]])
        for layer, following in itertools.pairwise(chain[:-3]):
            assert layer.n_out == following.n_in
        assert cost(path[None]) == sum(times[layer] for layer in chain)
    assert (cost.name, cost.unit) == ("latency", "ns")


def test_equal_layers_are_listed_once() -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    layers = DetectorLayers(space, image_size=64, n_classes=2, neck=(16, 8))
    distinct = layers.distinct()
    assert len(set(distinct)) == len(distinct)
    assert [layer.kind for layer in distinct] == sorted(
        (layer.kind for layer in distinct), key=["stem", "block", "up", "head"].index
    )
    assert sum(layer.kind == "head" for layer in distinct) == 1  # two classes: as many outputs as sizes and offsets
    stems = {(a, b) for a in space.family.channels.stem_mid for b in space.family.channels.stem_out}
    assert sum(layer.kind == "stem" for layer in distinct) == 2 * len(stems)


@pytest.mark.parametrize("kind", ["flops", "memory"])
def test_maps_of_as_many_pixels_cost_as_much(kind: str) -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    paths = space.sample(50, np.random.default_rng(0))
    sizes = (64, 256), (256, 64), 128, (128, 128), [128, 128]
    costs = [model(kind, space, image_size=size, n_classes=2)(paths) for size in sizes]
    assert all(np.array_equal(one, costs[0]) for one in costs)


def test_a_square_has_the_layers_of_its_side_and_an_oblong_its_own() -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    square, told, oblong = (DetectorLayers(space, image_size=size, n_classes=2) for size in (64, (64, 64), (64, 128)))
    assert square.distinct() == told.distinct()
    sides = {sides_of(layer.side) for layer in oblong.distinct()}
    assert all(2 * height == width for height, width in sides) and (64, 128) in sides


def test_memory_is_the_largest_of_its_parts() -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    cost = CostModel.memory(space, image_size=64, n_classes=2)
    paths = space.sample(50, np.random.default_rng(0))
    assert np.array_equal(cost(paths), np.maximum(*cost.parts(paths)))
    single = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1), depths=(0,), elastic_stem=False)  # no further block
    assert (CostModel.memory(single, image_size=64, n_classes=2)(single.sample(5, np.random.default_rng(0))) > 0).all()


def test_rows_that_are_not_paths_have_no_cost() -> None:
    space = SearchSpace.comp_ofa()
    cost = CostModel.flops(space, image_size=64, n_classes=2)
    paths = np.stack([space.largest(), space.largest()])
    paths[1, 4] = 0
    for gene in (0, 7):
        paths[1, 4] = gene
        with pytest.raises(SpaceError, match=rf"row 1, \[1, 2, 2, 2, {gene}.*\], is not a path"):
            cost(paths)
    for call in (cost.range, lambda other: other.count(cost)):
        with pytest.raises(SpaceError, match="the cost model was built for"):
            call(SearchSpace.ofa_resnet50())


@pytest.fixture
def in_bins(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """A space whose halves count as too many, with wide bins."""
    monkeypatch.setattr(cost_sampler, "MOST_PAIRS", 10)
    monkeypatch.setattr(cost_bins, "BINS", 400)
    monkeypatch.setattr(cost_bins, "MOST_MISSES", 300)
    return lambda **options: SearchSpace.ofa_resnet50(**{**SMALL, "width_scale": 0.25, "depths": (0,), **options})


def test_spaces_too_large_for_halves_are_drawn_from_uniformly_and_counted_by_bins(in_bins, is_uniform) -> None:
    space = in_bins(elastic_stem=False)
    cost = CostModel.flops(space, image_size=64, n_classes=2)
    listed = space.enumerate()
    costs, budgets = cost(listed), Budgets.equal_width(cost)
    assert space.count(cost) == len(listed)
    for bucket in range(5):
        low, high = budgets.range(bucket)
        inside = np.unique(listed[(costs >= low) & (costs < high)], axis=0)
        drawn = space.sample(40 * len(inside), np.random.default_rng(0), cost=cost, low=low, high=high)
        rows, counts = np.unique(drawn, axis=0, return_counts=True)
        assert np.array_equal(rows, inside) and is_uniform(counts, 40)
        assert 0.85 * len(inside) <= space.count(cost, low=low, high=high) <= len(inside)
    edges = np.unique(costs)[[3, 4]]
    assert space.count(cost, low=edges[0], high=edges[1]) == 1
    assert space.count(cost, low=edges[0] + 1, high=edges[1]) == 0
    assert space.sample(0, np.random.default_rng(0), cost=cost).shape == (0, space.family.n_genes)
    with pytest.raises(SpaceError, match="no path was found"):
        space.sample(1, np.random.default_rng(0), cost=cost, low=edges[0] + 1, high=edges[1])


def test_peaks_of_spaces_too_large_for_halves_are_counted_and_drawn_exactly(in_bins, pruned, is_uniform) -> None:
    whole = SearchSpace.ofa_mbv3(depths=[1], kernels=[3], expands=[3, 4, 5, 6], width_scale=0.5)
    for space in (in_bins(), whole, pruned(whole, 1)):
        cost = CostModel.memory(space, image_size=64, n_classes=2, neck=(4,), head=4)
        listed = space.enumerate()
        costs = cost(listed)
        assert space.count(cost) == len(listed) and len(np.unique(costs)) > 1
        for low, high in pairwise([0, *np.unique(costs)[1:].tolist(), np.inf]):
            inside = np.unique(listed[(costs >= low) & (costs < high)], axis=0)
            assert space.count(cost, low=low, high=high) == len(inside)
            drawn = space.sample(40 * len(inside), np.random.default_rng(0), cost=cost, low=low, high=high)
            rows, counts = np.unique(drawn, axis=0, return_counts=True)
            assert np.array_equal(rows, inside) and (len(inside) == 1 or is_uniform(counts, 40))
        with pytest.raises(SpaceError, match=r"no path costs from 0 to below \d"):
            space.sample(1, np.random.default_rng(0), cost=cost, low=0, high=costs.min())


@pytest.mark.parametrize("kind", ["parameters", "flops", "memory"])
@pytest.mark.parametrize(
    "space", [SearchSpace.ofa_resnet50(base_depths=(6, 6, 6, 6)), SearchSpace.ofa_mbv3()], ids=["resnet50", "mbv3"]
)
def test_more_paths_than_a_machine_integer_holds(space, kind) -> None:
    cost = model(kind, space, image_size=64, n_classes=2)
    assert 2**62 < space.count(cost) == space.size()
    budgets = Budgets.equal_width(cost)
    ranges = [budgets.range(bucket) for bucket in budgets.reachable(space, cost)]
    assert 0.99 * space.size() < sum(space.count(cost, low=low, high=high) for low, high in ranges) <= space.size()
    for low, high in ranges:
        paths = space.sample(20, np.random.default_rng(0), cost=cost, low=low, high=high)
        assert space.contains(paths).all() and ((cost(paths) >= low) & (cost(paths) < high)).all()


@pytest.mark.parametrize("unit", [1, 2**70])
def test_draws_by_ways_are_in_proportion_to_them(unit, is_uniform) -> None:
    ways = np.array([[3 * unit, 0, 5 * unit], [0, unit, 0], [unit, unit, unit]], object)
    ways = exact_draws.as_ways(ways)
    assert (ways.dtype == object) == (unit > 1)
    drawn = exact_draws.drawn(ways, np.repeat([0, 1, 2], 8000), np.random.default_rng(0)).reshape(3, -1)
    first, _, last = (np.bincount(one, minlength=3) for one in drawn)
    assert first[1] == 0 and is_uniform(first[[0, 2]], np.array([3000, 5000]))
    assert (drawn[1] == 1).all() and is_uniform(last, 8000 / 3)
    assert exact_draws.drawn(ways, np.array([], int), np.random.default_rng(0)).shape == (0,)


def test_both_spaces_have_the_same_buckets_and_reach_all_of_them():
    ofa, comp_ofa = SearchSpace.ofa_resnet50(), SearchSpace.comp_ofa()
    budgets = Budgets.equal_width(CostModel.flops(ofa, image_size=384, n_classes=20))
    cost = CostModel.flops(comp_ofa, image_size=384, n_classes=20)
    assert np.array_equal(Budgets.equal_width(cost).edges, budgets.edges)
    assert budgets.reachable(comp_ofa, cost) == [0, 1, 2, 3, 4]
    low, high = cost.range(comp_ofa)
    assert budgets.edges[0] < low < high == budgets.edges[-1]  # its stem is pinned to the largest


def test_a_path_of_both_spaces_costs_the_same():
    comp_ofa = SearchSpace.comp_ofa()
    paths = comp_ofa.sample(200, np.random.default_rng(0))
    cost = CostModel.parameters(comp_ofa, n_classes=20)
    whole = cost.whole()
    assert (whole.name, whole.unit) == (cost.name, cost.unit) == ("parameters", "parameters")
    assert np.array_equal(whole(paths), cost(paths))
    assert whole.space == SearchSpace.ofa_resnet50()


def test_a_space_that_couples_nothing_is_whole():
    pinned = SearchSpace.ofa_resnet50(elastic_stem=False)
    cost = CostModel.flops(pinned, image_size=384, n_classes=20)
    assert cost.whole() is cost
    assert tuple(Budgets.equal_width(cost).edges[[0, -1]]) == cost.range(pinned)


def test_edges_of_buckets_do_not_change():
    budgets = Budgets([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="read-only"):
        budgets.edges[0] = 0
