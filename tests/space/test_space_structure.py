"""Laws of the space: what is a path, how many there are, and that rows stand for networks one to one."""

import json
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nnabla_detofa.errors import ConfigError, SpaceError, WeightsError
from nnabla_detofa.space import SearchSpace, make_divisible

TINY = {"base_depths": (1, 1, 2, 1), "depths": (0, 1), "widths": (0.65, 1.0), "expands": (0.2, 0.35)}


def brute_force(space: SearchSpace) -> set[tuple[int, ...]]:
    """Every path by the definition: all genes in all ways, one operation at a time looked up in the mask."""
    s = space.structure
    w = range(len(s.widths))
    stems = list(product(range(2), w, w)) if s.elastic_stem else [(1, w[-1], w[-1])]
    stages = []
    for stage in range(4):
        rows = []
        for d, width in product(range(len(s.depths)), w):
            blocks = s.base_depths[stage] + s.depths[d]
            for expands in product(range(len(s.expands)), repeat=blocks):
                usable = all(space.allowed[stage, layer, d, width, e] for layer, e in enumerate(expands))
                rows += [(d, width, expands + (-1,) * (s.layers[stage] - blocks))] * usable
        stages.append(rows)
    return {
        (*stem, *(gene for d, w, _ in rows for gene in (d, w)), *(e for *_, expands in rows for e in expands))
        for stem in stems
        for rows in product(*stages)
    }


def some_pruned(space: SearchSpace, seed: int, share: float = 0.75) -> SearchSpace:
    """A random pruned form; where the mask leaves no path the example is skipped."""
    try:
        return space.restrict(np.random.default_rng(seed).random(space.n_operations) < share)
    except SpaceError:
        assume(False)
        raise


def test_size_of_the_papers_spaces() -> None:
    assert SearchSpace.ofa_resnet50().size() == 117**3 * 1053 * 2 * 3**6
    assert SearchSpace.ofa_resnet50(elastic_stem=False).size() == 351**3 * 3159
    assert SearchSpace.comp_ofa().size() == 117**3 * 1053
    assert SearchSpace.ofa_resnet50().family.n_genes == 29


@pytest.mark.parametrize("build", [SearchSpace.ofa_resnet50, SearchSpace.comp_ofa])
def test_size_and_list_equal_brute_force(build) -> None:
    space = build(**{**TINY, "base_depths": (1, 1, 1, 1)})
    listed = space.enumerate()
    assert set(map(tuple, listed.tolist())) == brute_force(space)
    assert len(listed) == len(np.unique(listed, axis=0)) == space.size()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), coupled=st.booleans())
def test_pruned_size_and_list_equal_brute_force(seed: int, coupled: bool) -> None:
    build = SearchSpace.comp_ofa if coupled else SearchSpace.ofa_resnet50
    whole = build(**TINY, elastic_stem=False)
    space = some_pruned(whole, seed, 0.6)
    listed = space.enumerate()
    assert set(map(tuple, listed.tolist())) == brute_force(space)
    assert len(listed) == space.size() <= whole.size()
    everything = whole.enumerate()
    assert everything[space.contains(everything)].tolist() == listed.tolist()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_every_sampled_path_is_contained_and_a_pruned_space_is_a_subset(seed: int) -> None:
    whole = SearchSpace.ofa_resnet50()
    space = some_pruned(whole, seed, 0.9)
    paths = space.sample(500, np.random.default_rng(seed))
    assert paths.dtype == np.int8
    assert space.contains(paths).all()
    assert whole.contains(paths).all()
    assert (np.array(space.operations().stage).size, space.pruned) == (int(space.allowed.sum()), True)


def test_uniform_draws_pass_a_chi_square_test() -> None:
    space = some_pruned(SearchSpace.ofa_resnet50(**{**TINY, "depths": (0,)}, elastic_stem=False), 5, 0.8)
    listed = space.enumerate()
    drawn, counts = np.unique(space.sample(200 * len(listed), np.random.default_rng(0)), axis=0, return_counts=True)
    assert len(drawn) == len(listed) > 10
    chi_square = ((counts - 200) ** 2 / 200).sum()
    assert abs(chi_square - len(listed)) < 5 * np.sqrt(2 * len(listed))


def test_one_seed_gives_the_same_paths() -> None:
    space = SearchSpace.ofa_resnet50()
    first, second = (space.sample(20, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)


def test_rows_that_are_not_canonical_paths_are_not_contained() -> None:
    space = SearchSpace.ofa_resnet50()
    path = space.smallest()
    unused = np.flatnonzero(path < 0)[0]
    bad = np.tile(path, (4, 1))
    bad[0, unused], bad[1, 0], bad[2, 4], bad[3, 11] = 0, 2, 3, -1
    assert not space.contains(bad).any()
    assert not space.contains(bad.astype(np.int64) + 100).any()
    coupled = SearchSpace.comp_ofa()
    loose = space.sample(300, np.random.default_rng(0))
    stages = loose[:, 3:11].reshape(-1, 4, 2)
    is_coupled = (stages[..., 0] == stages[..., 1]).all(axis=1) & (loose[:, :3] == [1, 2, 2]).all(axis=1)
    assert np.array_equal(coupled.contains(loose), is_coupled)


@settings(deadline=None, max_examples=40)
@given(depths=st.sets(st.sampled_from([0, 1]), min_size=1), widths=st.sets(st.sampled_from([0.65, 1.0]), min_size=1),
       expands=st.sets(st.sampled_from([0.2, 0.35]), min_size=1))  # fmt: skip
def test_a_few_choices_give_the_paths_that_use_no_other(depths: set, widths: set, expands: set) -> None:
    whole = SearchSpace.ofa_resnet50(**{**TINY, "base_depths": (1, 1, 1, 1)})
    chosen = {"depths": sorted(depths), "widths": sorted(widths), "expands": sorted(expands)}
    few = whole.only(**chosen)

    def uses_no_other(path: np.ndarray) -> bool:
        genotype = whole.genotype(path)
        used = {whole.structure.widths[w] for w in genotype["w"]}
        return (
            set(genotype["d"]) <= ({0, 1} if depths == {0, 1} else depths)
            and used <= widths
            and {whole.structure.expands[e] for e in path[11:] if e >= 0} <= expands
        )

    draws = np.concatenate([space.sample(50, np.random.default_rng(0)) for space in (whole, few)])
    assert few.contains(draws).tolist() == [uses_no_other(path) for path in draws]
    assert whole.includes(few) and few.includes(whole) == (few == whole) == (few.size() == whole.size())
    assert SearchSpace.from_dict(json.loads(json.dumps(few.to_dict()))) == few
    assert few.contains(few.mutate(draws[50:], np.random.default_rng(1), 0.5)).all()
    assert few.contains(few.crossover(draws[50:75], draws[75:], np.random.default_rng(1))).all()


def test_spaces_of_another_structure_are_not_included() -> None:
    assert not SearchSpace.ofa_resnet50().includes(SearchSpace.ofa_resnet50(**TINY))


def test_largest_and_smallest() -> None:
    space = SearchSpace.ofa_resnet50()
    assert np.array_equal(space.largest(), space.family.upper)
    assert (space.smallest() <= 0).all()
    assert SearchSpace.comp_ofa().smallest()[:3].tolist() == [1, 2, 2]
    operations = space.operations()
    pruned = space.restrict(~((operations.stage == 0) & (operations.depth == 2)))
    with pytest.raises(SpaceError, match=r"pruning removed the largest path; cost\.argmax"):
        pruned.largest()
    assert np.array_equal(pruned.smallest(), space.smallest())


def test_restrict_never_changes_its_space_and_drops_what_no_path_uses() -> None:
    space = SearchSpace.ofa_resnet50()
    size, operations = space.size(), space.operations()
    same = space.restrict(np.ones(len(operations.stage), bool))
    assert same == space
    assert hash(same) == hash(space)
    assert not same.pruned
    first = (operations.stage == 1) & (operations.layer == 0) & (operations.depth == 0) & (operations.width == 2)
    pruned = space.restrict(~first)  # without a first block the whole depth and width cannot be used
    assert not pruned.allowed[1, :, 0, 2].any()
    assert pruned != space
    assert space.size() == size > pruned.size()
    assert pruned.unpruned() == space
    with pytest.raises(ValueError, match="read-only"):
        space.allowed[:] = False


def test_genotype_round_trip() -> None:
    for space in (SearchSpace.ofa_resnet50(), SearchSpace.comp_ofa(), SearchSpace.ofa_resnet50(depths=(0,))):
        for path in space.sample(30, np.random.default_rng(1)):
            genotype = json.loads(json.dumps(space.genotype(path)))
            assert [len(genotype[key]) for key in "dew"] == [5, sum(space.structure.layers), 6]
            assert np.array_equal(space.from_genotype(genotype), path)
    largest = SearchSpace.ofa_resnet50().largest()
    assert SearchSpace.ofa_resnet50().genotype(largest) == {"d": [2] * 5, "e": [0.35] * 18, "w": [2] * 6}


def test_genotypes_that_differ_in_unused_expands_are_one_path() -> None:
    space = SearchSpace.ofa_resnet50()
    genotype = space.genotype(space.smallest())
    assert np.array_equal(space.from_genotype({**genotype, "d": [1, *genotype["d"][1:]]}), space.smallest())
    other = {**genotype, "e": [*genotype["e"][:3], 0.35, *genotype["e"][4:]]}
    assert np.array_equal(space.from_genotype(genotype), space.from_genotype(other))


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_a_space_written_as_json_comes_back(seed: int) -> None:
    whole = SearchSpace.ofa_resnet50(width_scale=0.5)
    for space in (whole, some_pruned(whole, seed), SearchSpace.comp_ofa()):
        assert SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space


def test_tables_of_channels() -> None:
    channels = SearchSpace.ofa_resnet50().family.channels
    assert channels.stem_mid == (24, 24, 32)
    assert channels.stem_out == (40, 48, 64)
    assert channels.stage_out == ((168, 208, 256), (336, 408, 512), (664, 816, 1024), (1328, 1640, 2048))
    assert channels.middle[0] == ((32, 40, 56), (40, 56, 72), (48, 64, 88))
    assert channels.middle[3][0][0] == 264
    assert channels.middle[3][2][2] == 720


@given(value=st.floats(0.5, 5000), divisor=st.integers(1, 16))
def test_make_divisible_is_near_and_never_loses_a_tenth(value: float, divisor: int) -> None:
    rounded = make_divisible(value, divisor)
    assert rounded % divisor == 0
    assert rounded >= max(divisor, 0.9 * value)
    assert abs(rounded - value) <= divisor


def test_coinciding_choices_are_named() -> None:
    assert SearchSpace.ofa_resnet50().coinciding() == ["stem, first width: W 0.65 and 0.8 both give 24 channels"]
    small = SearchSpace.ofa_resnet50(width_scale=0.125)
    assert "stage 0, W 0.65: E 0.2 and 0.25 both give 8 channels" in small.coinciding()
    assert len(SearchSpace.ofa_resnet50(width_scale=0.125, channel_divisor=4).coinciding()) < len(small.coinciding())


def test_names_of_genes() -> None:
    names = SearchSpace.ofa_resnet50().family.gene_names
    assert len(names) == len(set(names)) == 29
    assert names[:5] == ("stem_depth", "stem_width1", "stem_width2", "stage0_depth", "stage0_width")
    assert names[-1] == "stage3_expand3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_depths": (2, 2, 4)}, r"base_depths is \(2, 2, 4\); it must be four whole numbers of at least 1"),
        ({"base_depths": 3}, "base_depths is 3; it must be four"),
        ({"depths": (1, 0)}, r"depths is \(1, 0\); it must be ascending, without repeats, none below 0"),
        ({"depths": (0, 1.5)}, "it must be ascending"),
        ({"widths": ()}, r"widths is \(\); it must be ascending"),
        ({"widths": "wide"}, "widths is 'wide'; it must be a list of numbers"),
        ({"expands": (0, 0.2)}, "expands is .* none below 0.001"),
        ({"width_scale": 0}, "width_scale is 0; it must be a number above 0"),
        ({"width_scale": "half"}, "width_scale is 'half'; it must be a number"),
        ({"channel_divisor": 0}, "channel_divisor is 0; it must be a whole number of at least 1"),
        ({"elastic_stem": "no"}, "elastic_stem is 'no' .*; allowed: true, false"),
        ({"base_depths": (2, 2, 22, 2)}, "a stage of 24 blocks with 3 expands has .* at most"),
        ({"with_scale": 1}, "unknown space option 'with_scale'; known: .*did you mean 'width_scale'"),
        ({"coupled": True}, "unknown space option 'coupled'"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchSpace.ofa_resnet50(**options)


def test_other_bad_input() -> None:
    space, rng = SearchSpace.ofa_resnet50(), np.random.default_rng(0)
    with pytest.raises(
        ConfigError, match=r"depths \(0, 1\) and widths .* cannot be coupled; they must be equally many"
    ):
        SearchSpace.comp_ofa(depths=(0, 1))
    with pytest.raises(SpaceError, match=r"keep has shape \(3,\); it must mark each of 378 operations"):
        space.restrict(np.ones(3, bool))
    with pytest.raises(SpaceError, match="stage 2 is left without a complete path"):
        space.restrict((space.operations().stage != 2) | (space.operations().layer != 1))
    with pytest.raises(SpaceError, match=r"the space has 2,458,914,796,962 paths; at most 1,000,000 can be listed"):
        space.enumerate()
    with pytest.raises(SpaceError, match=r"paths have shape \(29,\).* they must be whole numbers of shape \(n, 29\)"):
        space.contains(space.largest())
    with pytest.raises(SpaceError, match="type float64"):
        space.contains(np.zeros((2, 29)))
    with pytest.raises(ConfigError, match="low and high were given without cost"):
        space.sample(3, rng, low=5)


def test_bad_genotypes() -> None:
    space = SearchSpace.ofa_resnet50()
    good = space.genotype(space.largest())
    with pytest.raises(SpaceError, match="is not one path of this space"):
        space.genotype(np.full(29, -1, np.int8))
    for bad in ({**good, "e": [0.35]}, {"d": good["d"]}, 7):
        with pytest.raises(ConfigError, match="is not of the form {d: 5 depths, e: 18 expands, w: 6 indices}"):
            space.from_genotype(bad)
    with pytest.raises(ConfigError, match=r"genotype has 6 in e; allowed: 0\.2, 0\.25, 0\.35"):
        space.from_genotype({**good, "e": [6] * 18})
    with pytest.raises(ConfigError, match="genotype has 3 in w; allowed: 0, 1, 2"):
        space.from_genotype({**good, "w": [3] * 6})
    with pytest.raises(ConfigError, match="genotype has 7 in d; allowed: 0, 1, 2"):
        space.from_genotype({**good, "d": [7, 2, 2, 2, 2]})
    with pytest.raises(SpaceError, match="is not a path of this space; pruning or coupling excludes it"):
        SearchSpace.comp_ofa().from_genotype({**good, "w": [2, 2, 0, 2, 2, 2]})


def test_bad_descriptions() -> None:
    space = SearchSpace.ofa_resnet50(**TINY)
    good = space.to_dict()
    for bad in (
        {},
        {**good, "dropped": [[9, 0, 0, 0, 0]]},
        {**good, "dropped": [[1]]},
        {**good, "structure": {"x": 1}},
        [],
    ):
        with pytest.raises(ConfigError, match="this is not the description of a search space"):
            SearchSpace.from_dict(bad)
    with pytest.raises(ConfigError, match="the description says 5 paths but its operations make"):
        SearchSpace.from_dict({**good, "size": 5})
    with pytest.raises(WeightsError, match=r"the described space is another one: depths is \[0, 1\], not \[0, 1, 2\]"):
        SearchSpace.from_dict(good, within=SearchSpace.ofa_resnet50(**{**TINY, "depths": (0, 1, 2)}))
    assert SearchSpace.from_dict(good, within=space) == space


def test_space_and_pruning_import_without_nnabla() -> None:
    code = "import sys, nnabla_detofa.pruning; sys.exit(any(name.split('.')[0] == 'nnabla' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
