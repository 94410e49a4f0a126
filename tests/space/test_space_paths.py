"""Laws of the space: what is a path, how many there are, and that rows stand for networks one to one."""

import json
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.errors import ConfigError, SpaceError, WeightsError
from nnabla_detofa.space import SearchSpace, make_divisible

TINY = {"base_depths": (1, 1, 2, 1), "depths": (0, 1), "widths": (0.65, 1.0), "expands": (0.2, 0.35)}


def brute_force(space: SearchSpace) -> set[tuple[int, ...]]:
    """Every path by the definition: all genes in all ways, one operation at a time looked up in what is allowed."""
    o, w = space.family.options, range(len(space.family.options.widths))
    stems = list(product(range(2), w, w)) if o.elastic_stem else [(1, w[-1], w[-1])]
    allowed = {tuple(operation) for operation in zip(*space.operation_columns().values(), strict=True)}
    stages = []
    for stage in range(4):
        rows = []
        for d, width in product(range(len(o.depths)), w):
            blocks = o.base_depths[stage] + o.depths[d]
            for expands in product(range(len(o.expands)), repeat=blocks):
                values = [(stage, b, o.depths[d], o.widths[width], o.expands[e]) for b, e in enumerate(expands)]
                padded = expands + (-1,) * (o.base_depths[stage] + o.depths[-1] - blocks)
                rows += [(d, width, padded)] * allowed.issuperset(values)
        stages.append(rows)
    return {
        (*stem, *(gene for d, w, _ in rows for gene in (d, w)), *(e for *_, expands in rows for e in expands))
        for stem in stems
        for rows in product(*stages)
    }


def test_size_of_the_papers_spaces() -> None:
    assert SearchSpace.ofa_resnet50().size() == 117**3 * 1053 * 2 * 3**6
    assert SearchSpace.ofa_resnet50(elastic_stem=False).size() == 351**3 * 3159
    assert SearchSpace.comp_ofa().size() == 117**3 * 1053


@pytest.mark.parametrize("build", [SearchSpace.ofa_resnet50, SearchSpace.comp_ofa])
def test_size_and_list_equal_brute_force(build) -> None:
    space = build(**{**TINY, "base_depths": (1, 1, 1, 1)})
    listed = space.enumerate()
    assert set(map(tuple, listed.tolist())) == brute_force(space)
    assert len(listed) == len(np.unique(listed, axis=0)) == space.size()


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), coupled=st.booleans())
def test_pruned_size_and_list_equal_brute_force(pruned, seed: int, coupled: bool) -> None:
    whole = (SearchSpace.comp_ofa if coupled else SearchSpace.ofa_resnet50)(**TINY, elastic_stem=False)
    space = pruned(whole, seed, 0.6)
    listed, everything = space.enumerate(), whole.enumerate()
    assert set(map(tuple, listed.tolist())) == brute_force(space)
    assert len(listed) == space.size() <= whole.size()
    assert everything[space.contains(everything)].tolist() == listed.tolist()


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32))
def test_every_sampled_path_is_contained_and_a_pruned_space_is_a_subset(pruned, seed: int) -> None:
    whole = SearchSpace.ofa_resnet50()
    space = pruned(whole, seed, 0.9)
    paths = space.sample(500, np.random.default_rng(seed))
    assert paths.dtype == np.int8
    assert np.array_equal(paths, space.sample(500, np.random.default_rng(seed)))
    assert space.contains(paths).all() and whole.contains(paths).all()
    assert space.pruned and space.n_operations < whole.n_operations and whole.includes(space)


def test_uniform_draws_pass_a_chi_square_test(pruned, is_uniform) -> None:
    space = pruned(SearchSpace.ofa_resnet50(**{**TINY, "depths": (0,)}, elastic_stem=False), 5, 0.8)
    drawn, counts = np.unique(space.sample(200 * space.size(), np.random.default_rng(0)), axis=0, return_counts=True)
    assert len(drawn) == space.size() > 10
    assert is_uniform(counts, 200)


def test_rows_that_are_not_canonical_paths_are_not_contained() -> None:
    space = SearchSpace.ofa_resnet50()
    path = space.smallest()
    unused = np.flatnonzero(path < 0)[0]
    bad = np.tile(path, (4, 1))
    bad[0, unused], bad[1, 0], bad[2, 4], bad[3, 11] = 0, 2, 3, -1
    assert not space.contains(bad).any()
    assert not space.contains(bad.astype(np.int64) + 100).any()
    loose = space.sample(300, np.random.default_rng(0))
    stages = loose[:, 3:11].reshape(-1, 4, 2)
    is_coupled = (stages[..., 0] == stages[..., 1]).all(axis=1) & (loose[:, :3] == [1, 2, 2]).all(axis=1)
    assert np.array_equal(SearchSpace.comp_ofa().contains(loose), is_coupled)


@settings(deadline=None, max_examples=40)
@given(depths=st.sets(st.sampled_from([0, 1]), min_size=1), widths=st.sets(st.sampled_from([0.65, 1.0]), min_size=1),
       expands=st.sets(st.sampled_from([0.2, 0.35]), min_size=1))  # fmt: skip
def test_a_few_choices_give_the_paths_that_use_no_other(depths: set, widths: set, expands: set) -> None:
    whole = SearchSpace.ofa_resnet50(**{**TINY, "base_depths": (1, 1, 1, 1)})
    few = whole.only(depths=sorted(depths), widths=sorted(widths), expands=sorted(expands))
    known = whole.family.choices

    def uses_no_other(path: np.ndarray) -> bool:
        genotype = whole.genotype(path)
        return (
            set(genotype["d"]) <= ({0, 1} if depths == {0, 1} else depths)
            and {known["widths"][w] for w in genotype["w"]} <= widths
            and {known["expands"][e] for e in path[11:] if e >= 0} <= expands
        )

    draws = np.concatenate([space.sample(50, np.random.default_rng(0)) for space in (whole, few)])
    assert few.contains(draws).tolist() == [uses_no_other(path) for path in draws]
    assert whole.includes(few) and few.includes(whole) == (few == whole) == (few.size() == whole.size())
    assert SearchSpace.from_dict(json.loads(json.dumps(few.to_dict()))) == few
    assert few.contains(few.mutate(draws[50:], np.random.default_rng(1), 0.5)).all()
    assert few.contains(few.crossover(draws[50:75], draws[75:], np.random.default_rng(1))).all()


def test_spaces_of_another_family_are_not_included() -> None:
    assert not SearchSpace.ofa_resnet50().includes(SearchSpace.ofa_resnet50(**TINY))


def test_largest_and_smallest() -> None:
    space = SearchSpace.ofa_resnet50()
    assert np.array_equal(space.largest(), space.family.upper)
    assert (space.smallest() <= 0).all()
    assert SearchSpace.comp_ofa().smallest()[:3].tolist() == [1, 2, 2]
    columns = space.operation_columns()
    pruned = space.restrict((np.array(columns["stage"]) != 0) | (np.array(columns["depth"]) != 2))
    with pytest.raises(SpaceError, match="largest"):
        pruned.largest()
    assert np.array_equal(pruned.smallest(), space.smallest())


def test_restrict_never_changes_its_space_and_drops_what_no_path_uses() -> None:
    space = SearchSpace.ofa_resnet50()
    size = space.size()
    same = space.restrict(np.ones(space.n_operations, bool))
    assert same == space and hash(same) == hash(space) and not same.pruned
    columns = {name: np.array(column) for name, column in space.operation_columns().items()}
    of_context = (columns["stage"] == 1) & (columns["depth"] == 0) & (columns["width"] == 1.0)
    pruned = space.restrict(~(of_context & (columns["layer"] == 0)))
    assert pruned.n_operations == space.n_operations - of_context.sum()  # no block of it can be used without the first
    assert pruned != space
    assert space.size() == size > pruned.size()
    assert pruned.unpruned() == space
    with pytest.raises(ValueError, match="read-only"):
        space.allowed[0][:] = False


def test_genotype_round_trip() -> None:
    for space in (SearchSpace.ofa_resnet50(), SearchSpace.comp_ofa(), SearchSpace.ofa_resnet50(depths=(0,))):
        blocks = sum(one.n_blocks for one in space.family.segments[1:])
        for path in space.sample(30, np.random.default_rng(1)):
            genotype = json.loads(json.dumps(space.genotype(path)))
            assert [len(genotype[key]) for key in "dew"] == [5, blocks, 6]
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
def test_a_space_written_as_json_comes_back(pruned, seed: int) -> None:
    whole = SearchSpace.ofa_resnet50(width_scale=0.5)
    for space in (whole, pruned(whole, seed), SearchSpace.comp_ofa()):
        assert SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space


def test_tables_of_channels() -> None:
    channels = SearchSpace.ofa_resnet50().family.channels
    assert (channels.stem_mid, channels.stem_out) == ((24, 24, 32), (40, 48, 64))
    assert channels.stage_out == ((168, 208, 256), (336, 408, 512), (664, 816, 1024), (1328, 1640, 2048))
    assert channels.middle[0] == ((32, 40, 56), (40, 56, 72), (48, 64, 88))
    assert (channels.middle[3][0][0], channels.middle[3][2][2]) == (264, 720)


@given(value=st.floats(0.5, 5000), divisor=st.integers(1, 16))
def test_make_divisible_is_near_and_never_loses_a_tenth(value: float, divisor: int) -> None:
    rounded = make_divisible(value, divisor)
    assert rounded % divisor == 0
    assert rounded >= max(divisor, 0.9 * value)
    assert abs(rounded - value) <= divisor


def test_names_of_genes() -> None:
    names = SearchSpace.ofa_resnet50().family.gene_names
    assert len(names) == len(set(names)) == 29
    assert names[:5] == ("stem_depth", "stem_width1", "stem_width2", "stage0_depth", "stage0_width")
    assert names[-1] == "stage3_expand3"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("base_depths", (2, 2, 4)),
        ("base_depths", 3),
        ("depths", (1, 0)),
        ("depths", (0, 1.5)),
        ("widths", ()),
        ("widths", "wide"),
        ("expands", (0, 0.2)),
        ("width_scale", 0),
        ("width_scale", "half"),
        ("channel_divisor", 0),
        ("elastic_stem", "no"),
        *(("merge_equal_choices", value) for value in (1, "no", 0.0)),
    ],
)
def test_bad_options(key: str, value) -> None:
    with pytest.raises(ConfigError) as caught:
        SearchSpace.ofa_resnet50(**{key: value})
    assert (caught.value.key, caught.value.given) == (f"space.{key}", value)


@pytest.mark.parametrize(
    ("call", "error", "word"),
    [
        (lambda _: SearchSpace.ofa_resnet50(with_scale=1), ConfigError, "did you mean 'width_scale'"),
        (lambda _: SearchSpace.ofa_resnet50(coupled=True), ConfigError, "unknown .*'coupled'"),
        (lambda _: SearchSpace.ofa_resnet50(base_depths=(2, 2, 22, 2)), ConfigError, "at most 4,000,000"),
        (lambda _: SearchSpace.comp_ofa(depths=(0, 1)), ConfigError, "equally many"),
        (lambda s: s.only(heights=[1]), ConfigError, "heights.*known: depths, expands, widths"),
        (lambda s: s.only(widths=[0.7]), ConfigError, r"\[0.65, 0.8, 1.0\]"),
        (lambda s: s.only(widths=[]), ConfigError, "widths"),
        (lambda s: s.restrict(np.ones(3, bool)), SpaceError, "378 operations"),
        (
            lambda s: s.restrict((s.operations().segment != 3) | (s.operations().block != 1)),
            SpaceError,
            "stage 2 is left without a complete path",
        ),
        (lambda s: s.enumerate(), SpaceError, "2,458,914,796,962 paths"),
        (lambda s: s.contains(s.largest()), SpaceError, r"\(n, 29\)"),
        (lambda s: s.contains(np.zeros((2, 29))), SpaceError, "float64"),
        (lambda s: s.mutate(s.largest(), np.random.default_rng(0), 0.1), SpaceError, "shape"),
        (lambda s: s.sample(3, np.random.default_rng(0), low=5), ConfigError, "without cost"),
        (lambda s: s.genotype(np.full(29, -1, np.int8)), SpaceError, "not one path of this space"),
        (
            lambda s: SearchSpace.comp_ofa().from_genotype({**s.genotype(s.largest()), "w": [2, 2, 0, 2, 2, 2]}),
            SpaceError,
            "not a path of this space",
        ),
    ],
)
def test_bad_input(call, error: type, word: str) -> None:
    with pytest.raises(error, match=word):
        call(SearchSpace.ofa_resnet50())


@pytest.mark.parametrize(
    ("change", "key", "allowed"),
    [
        ({"e": [0.35]}, "genotype", "5 depths, e: 18 expands, w: 6"),
        ({"e": None}, "genotype", "5 depths"),
        ({"e": [6] * 18}, "genotype e", "0.2, 0.25, 0.35"),
        ({"w": [3] * 6}, "genotype w", "0, 1, 2"),
        ({"d": [7, 2, 2, 2, 2]}, "genotype d", "0, 1, 2"),
        ({"d": [2, 2, 2, 2, 7]}, "genotype d", "0, 1, 2"),
    ],
)
def test_bad_genotypes(change: dict, key: str, allowed: str) -> None:
    space = SearchSpace.ofa_resnet50()
    with pytest.raises(ConfigError) as caught:
        space.from_genotype({**space.genotype(space.largest()), **change})
    assert caught.value.key == key and allowed in caught.value.allowed


def test_bad_descriptions() -> None:
    space = SearchSpace.ofa_resnet50(**TINY)
    good = space.to_dict()
    broken = {"dropped": [[9, 0, 0, 0, 0]]}, {"dropped": [[1]]}, {"structure": {"x": 1}}, {"structure": {"family": "x"}}
    for bad in ({}, [], *({**good, **one} for one in broken)):
        with pytest.raises(ConfigError, match="not the description of a search space"):
            SearchSpace.from_dict(bad)
    with pytest.raises(ConfigError, match="says 5 paths"):
        SearchSpace.from_dict({**good, "size": 5})
    with pytest.raises(WeightsError, match=r"depths is \[0, 1\], not \[0, 1, 2\]"):
        SearchSpace.from_dict(good, within=SearchSpace.ofa_resnet50(**{**TINY, "depths": (0, 1, 2)}))
    assert SearchSpace.from_dict(good, within=space) == space


def test_space_and_pruning_import_without_nnabla() -> None:
    code = "import sys, nnabla_detofa.pruning; sys.exit(any(name.split('.')[0] == 'nnabla' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
