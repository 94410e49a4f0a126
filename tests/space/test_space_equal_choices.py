"""Choices that rounding makes equal are one: in a small space, too, every row is another network."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.errors import WeightsError
from nnabla_detofa.space import PROPOSALS, Budgets, CostModel, Operations, SearchSpace, draw_keys, insert

FEW = {"base_depths": (1, 1, 1, 1), "depths": (0,)}
TINY = {"width_scale": 0.125, "channel_divisor": 4, **FEW}  # widths of the stem and expands merge
TINIER = {"width_scale": 0.02, "elastic_stem": False, **FEW}  # widths of the first two stages as well
FINE = {"width_scale": 0.3, "channel_divisor": 1, "elastic_stem": False, **FEW}  # nothing merges
COUPLED = {"width_scale": 0.02, "base_depths": (1, 1, 1, 1), "expands": (0.2, 0.35)}
BUILT = [
    (SearchSpace.ofa_resnet50, TINY),
    (SearchSpace.ofa_resnet50, TINIER),
    (SearchSpace.ofa_resnet50, FINE),
    (SearchSpace.comp_ofa, COUPLED),
]


def layers(space, path) -> tuple:
    """The network that a row stands for."""
    return tuple(space.path_layers(path))


def both(build, options) -> tuple[SearchSpace, SearchSpace]:
    """The space, and the same with choices that round alike counted apart."""
    return build(**options), build(**options, merge_equal_choices=False)


@pytest.mark.parametrize(("build", "options"), BUILT)
def test_every_row_is_another_network_and_none_is_lost(build, options):
    space, apart = both(build, options)
    networks = [layers(space, path) for path in space.enumerate()]
    assert len(set(networks)) == len(networks) == space.size()
    spelled = apart.sample(3000, np.random.default_rng(0))
    assert {layers(apart, path) for path in spelled} <= set(networks)
    assert (space.size() < apart.size()) == space.family.options.merge_equal_choices == (options is not FINE)


@pytest.mark.parametrize(("build", "options"), BUILT)
def test_any_spelling_of_a_network_gives_its_row(build, options):
    space, apart = both(build, options)
    spelled = apart.sample(300, np.random.default_rng(0))
    rows = space.family.canonical_rows(spelled)
    assert space.contains(rows).all()
    assert np.array_equal(space.family.canonical_rows(rows), rows)
    assert [layers(space, row) for row in rows] == [layers(apart, path) for path in spelled]
    assert np.array_equal(space.contains(spelled), (rows == spelled).all(axis=1))
    for path, row in zip(spelled[:30], rows, strict=False):
        assert np.array_equal(space.from_genotype(apart.genotype(path)), row)
        assert np.array_equal(space.from_genotype(space.genotype(row)), row)
    assert layers(space, space.largest()) == layers(apart, apart.largest())
    assert layers(space, space.smallest()) == layers(apart, apart.smallest())


@pytest.mark.parametrize("name", PROPOSALS)
@pytest.mark.parametrize(("build", "options"), BUILT)
def test_everything_that_makes_paths_makes_rows_of_the_space(build, options, name):
    space, rng = build(**options), np.random.default_rng(0)
    cost = CostModel.flops(space, image_size=32, n_classes=2)
    first, second = PROPOSALS[name](space, cost, Budgets.equal_width(cost))(400, rng).reshape(2, 200, -1)
    assert space.contains(first).all() and space.contains(second).all()
    assert space.contains(space.mutate(first, rng, 0.5)).all()
    assert space.contains(space.crossover(first, second, rng)).all()
    assert np.array_equal(space.crossover(first, first, rng), first)
    keys = draw_keys(space.masks, len(first), rng)
    for operation in zip(*space.operations(), strict=True):
        assert space.contains(insert(space.masks, first, keys, Operations(*operation))).all()


@pytest.mark.parametrize(("build", "options"), BUILT)
def test_costs_of_the_rows_are_those_of_the_networks(build, options):
    space, apart = both(build, options)
    cost, other = (CostModel.flops(one, image_size=32, n_classes=2) for one in (space, apart))
    assert cost.range(space) == other.range(apart)
    assert tuple(Budgets.equal_width(cost).edges) == tuple(Budgets.equal_width(other).edges)
    spelled = apart.sample(300, np.random.default_rng(0))
    assert np.array_equal(cost(space.family.canonical_rows(spelled)), other(spelled))
    listed = cost(space.enumerate())
    middle = float(np.median(listed))
    assert space.count(cost, low=middle) == np.count_nonzero(listed >= middle)
    assert cost.whole().range(cost.whole().space) == other.whole().range(other.whole().space)


def test_tokens_tell_the_rows_apart():
    space = SearchSpace.ofa_resnet50(**TINY)
    tokens = space.tokenize(space.enumerate())
    assert len(np.unique(tokens, axis=0)) == len(tokens)
    assert tokens.max() < space.token_layout().vocabulary


@settings(deadline=None, max_examples=25)
@given(widths=st.sets(st.sampled_from([0.65, 0.8, 1.0]), min_size=1), depths=st.sets(st.sampled_from([0, 1, 2])),
       expands=st.sets(st.sampled_from([0.2, 0.25, 0.35])), number=st.integers(0, 3))  # fmt: skip
def test_a_few_choices_give_the_networks_that_some_spelling_makes_of_them(widths, depths, expands, number):
    build, options = BUILT[number]
    space, apart = both(build, options)
    chosen = {"widths": sorted(widths)}
    for name, some in (("depths", depths), ("expands", expands)):
        chosen[name] = sorted(some & set(space.family.choices[name])) or list(space.family.choices[name])
    if space.family.coupled:
        chosen["depths"] = [
            space.family.choices["depths"][space.family.choices["widths"].index(w)] for w in chosen["widths"]
        ]
    few, few_apart = space.only(**chosen), apart.only(**chosen)
    rows = np.unique(space.family.canonical_rows(few_apart.enumerate()), axis=0)
    assert np.array_equal(np.unique(few.enumerate(), axis=0), rows)
    assert SearchSpace.from_dict(json.loads(json.dumps(few.to_dict())), within=space) == few


def test_the_papers_space_alone_counts_them_apart():
    paper = SearchSpace.ofa_resnet50()
    assert paper.size() == 117**3 * 1053 * 2 * 3**6  # the stem's first widths 0.65 and 0.8 are both 24 channels
    merged = SearchSpace.ofa_resnet50(merge_equal_choices=True)
    assert merged.size() == 117**3 * 1053 * 2 * 3**6 * 2 // 3
    assert not merged.contains(paper.smallest()[None])[0]
    assert SearchSpace.comp_ofa().size() == SearchSpace.comp_ofa(merge_equal_choices=True).size() == 117**3 * 1053
    assert SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1)).size() == 39**4 * 2 * 3**2 * 3**4
    assert (
        SearchSpace.ofa_resnet50(widths=(0.65, 0.8)).masks.rows[0].genes[:, 1].tolist() == [1] * 4
    )  # any other merges


def test_widths_that_merge_stay_coupled_to_their_depths():
    space = SearchSpace.comp_ofa(**COUPLED)
    pairs = {tuple(row) for row in space.masks.rows[1].genes[:, :2].tolist()}
    assert pairs == {(0, 2), (1, 2), (2, 2)}
    assert {tuple(row) for row in space.masks.rows[4].genes[:, :2].tolist()} == {(0, 0), (1, 1), (2, 2)}
    reached = space.mutate(
        np.repeat(space.sample(1, np.random.default_rng(0)), 500, axis=0), np.random.default_rng(1), 1
    )
    assert {tuple(row) for row in reached[:, space.family.columns[1:][0][:2]].tolist()} == pairs


def test_descriptions_of_earlier_releases_count_equal_choices_apart():
    space, apart = both(SearchSpace.ofa_resnet50, TINY)
    before = apart.to_dict()
    assert "merge_equal_choices" not in before["structure"]
    assert SearchSpace.from_dict(before) == apart
    with pytest.raises(
        WeightsError, match="the described space is another one: merge_equal_choices is False, not True"
    ):
        SearchSpace.from_dict(before, within=space)
    paper = SearchSpace.ofa_resnet50()
    assert "merge_equal_choices" not in paper.family.to_dict()
    assert SearchSpace.from_dict(paper.to_dict(), within=paper) == paper
