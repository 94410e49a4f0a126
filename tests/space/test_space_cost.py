"""Laws of cost: equals a count layer by layer, monotone, exact extremes; buckets and draws within a range of cost."""

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nnabla_detofa.errors import ConfigError, SpaceError
from nnabla_detofa.space import Budgets, CostModel, DetectorLayers, LayerCosts, SearchSpace, cost_sampler

KINDS = st.sampled_from(["flops", "parameters", "memory", "latency"])
SMALL = {"base_depths": (1, 1, 1, 1), "depths": (0, 1), "widths": (0.65, 1.0), "expands": (0.2, 0.35)}


def slow_count(space: SearchSpace, path: np.ndarray, *, size: int, n_classes: int, neck, head: int, stem_pool: bool):
    """MACs and learned values of one path, walked layer by layer as the network is built."""
    structure, channels = space.structure, space.family.channels
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
        d, w, *expands = path[structure.stage_columns[stage]]
        leaving = channels.stage_out[stage][w]
        for block in range(structure.base_depths[stage] + structure.depths[d]):
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


def pruned(space: SearchSpace, seed: int) -> SearchSpace:
    try:
        return space.restrict(np.random.default_rng(seed).random(space.n_operations) < 0.7)
    except SpaceError:
        assume(False)
        raise


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
def test_extremes_equal_brute_force(seed: int, kind: str) -> None:
    space = pruned(SearchSpace.ofa_resnet50(**SMALL, elastic_stem=False), seed)
    cost = model(kind, space, image_size=64, n_classes=2)
    costs = cost(space.enumerate())
    assert cost.range(space) == (costs.min(), costs.max())
    assert space.contains(np.stack([cost.argmin(space), cost.argmax(space)])).all()
    assert cost.space == space.unpruned()


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), ends=st.tuples(st.floats(-0.1, 1.1), st.floats(-0.1, 1.1)), kind=KINDS)
def test_numbers_of_a_range_are_its_paths_one_to_one(seed: int, ends: tuple[float, float], kind: str) -> None:
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


def test_draws_within_a_range_pass_a_chi_square_test() -> None:
    space = SearchSpace.ofa_resnet50(**{**SMALL, "depths": (0,)}, elastic_stem=False, width_scale=0.25)
    cost = CostModel.flops(space, image_size=64, n_classes=2)
    low, high = Budgets.equal_width(cost).range(3)
    costs = cost(space.enumerate())
    n = int(((costs >= low) & (costs < high)).sum())
    drawn = space.sample(200 * n, np.random.default_rng(0), cost=cost, low=low, high=high)
    paths, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(paths) == n > 20
    assert abs(((counts - 200) ** 2 / 200).sum() - n) < 5 * np.sqrt(2 * n)


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
    message = f"no path costs from .* to below .*; the nearest costs are {costs[at]:,.0f} and {costs[at + 1]:,.0f}"
    with pytest.raises(SpaceError, match=message):
        space.sample(1, rng, cost=cost, low=costs[at] + 0.5, high=costs[at + 1])
    with pytest.raises(SpaceError, match=f"the nearest costs are {costs[0]:,.0f}$"):
        space.sample(1, rng, cost=cost, low=0, high=costs[0])
    with pytest.raises(SpaceError, match=f"the nearest costs are {costs[-1]:,.0f}$"):
        space.sample(1, rng, cost=cost, low=costs[-1] + 1)


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
    operations = space.operations()
    half = space.restrict(operations.depth < 2)
    assert np.array_equal(Budgets.equal_width(CostModel.flops(half, image_size=384, n_classes=20)).edges, edges)


def test_bad_budgets() -> None:
    for edges in ([1], [2, 1], [0, np.nan]):
        with pytest.raises(ConfigError, match="the bucket edges are .*; they must be at least two ascending numbers"):
            Budgets(edges)
    for bucket in (-1, 2):
        with pytest.raises(ConfigError, match=f"bucket {bucket} does not exist; there are 0 to 1"):
            Budgets([0, 1, 2]).range(bucket)
    single = SearchSpace.ofa_resnet50(depths=(0,), widths=(1.0,), expands=(0.35,), elastic_stem=False)
    cost = CostModel.parameters(single, n_classes=2)
    with pytest.raises(SpaceError, match="every path costs .*; buckets need paths of different cost"):
        Budgets.equal_width(cost)
    with pytest.raises(ConfigError, match="the number of buckets is 0; it must be a whole number of at least 1"):
        Budgets.equal_width(cost, n=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 100}, "image_size is 100; it must be a multiple of 32"),
        ({"image_size": 0}, "image_size is 0; it must be a multiple of 32"),
        ({"n_classes": 0}, "n_classes holds 0; it must be a whole number of at least 1"),
        ({"neck": (256, -1)}, "neck holds -1; it must be a whole number"),
        ({"head": 1.5}, "head holds 1.5; it must be a whole number"),
    ],
)
def test_bad_options_of_the_cost(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CostModel.flops(SearchSpace.ofa_resnet50(), **{"image_size": 64, "n_classes": 2, **options})


def test_costs_of_other_kinds_are_added_up_alike() -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    ones = LayerCosts(np.zeros((2, 2, 2)), (np.ones((2, 2, 2)),) * 4, (np.ones((2, 2)),) * 4, np.zeros(2))
    paths = space.enumerate()
    assert np.array_equal(CostModel(space, ones)(paths), (paths[:, 11:] >= 0).sum(axis=1))
    with pytest.raises(ConfigError, match=r"the cost table tail has shape \(3,\); it must have \(2,\)"):
        CostModel(space, ones._replace(tail=np.zeros(3)))
    for bad in (0.5, -1, np.nan, np.inf):
        with pytest.raises(ConfigError, match="the cost table tail must hold whole numbers from 0 to below"):
            CostModel(space, ones._replace(tail=np.full(2, bad)))
    with pytest.raises(ConfigError, match="the cost tables first are 3; there must be one for each of the 4 stages"):
        CostModel(space, ones._replace(first=ones.first[:3]))
    with pytest.raises(
        ConfigError, match="the cost tables are joined by <ufunc 'multiply'>; known: np.add, np.maximum"
    ):
        CostModel(space, ones._replace(join=np.multiply))


def test_a_sum_of_layers_is_the_sum_of_its_table() -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    layers = DetectorLayers(space, image_size=64, n_classes=2, neck=(16, 8))
    times = random_times(layers)
    cost = CostModel.latency(layers, times)
    for path in space.sample(20, np.random.default_rng(1)):
        chain, before = [layers.stem(*path[:3])], path[2]
        for stage, columns in enumerate(space.structure.stage_columns):
            _, width, first, *expands = path[columns]
            chain += [layers.first(stage, before, width, first)]
            chain += [layers.other(stage, width, expand) for expand in expands if expand >= 0]
            before = width
        chain += layers.tail(before)
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
    with pytest.raises(SpaceError, match=r"row 1, \[1, 2, 2, 2, 0.*\], is not a path of this space"):
        cost(paths)
    paths[1, 4] = 7
    with pytest.raises(SpaceError, match="row 1, .* is not a path of this space"):
        cost(paths)
    with pytest.raises(SpaceError, match="the cost model was built for Structure.* and cannot tell the cost of"):
        cost.range(SearchSpace.ofa_resnet50())
    with pytest.raises(SpaceError, match="the cost model was built for"):
        SearchSpace.ofa_resnet50().count(cost)


def test_spaces_too_large_for_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    space = SearchSpace.ofa_resnet50(**SMALL)
    cost = CostModel.flops(space, image_size=64, n_classes=2)
    monkeypatch.setattr(cost_sampler, "MOST_PAIRS", 10)
    with pytest.raises(SpaceError, match="half paths of different cost; at most 10 are allowed"):
        space.count(cost)
    monkeypatch.setattr(SearchSpace, "size", lambda _: 2**62)
    with pytest.raises(SpaceError, match="paths; ranges of cost are drawn from at most"):
        space.count(cost)
