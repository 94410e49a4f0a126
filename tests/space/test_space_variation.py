"""Laws of mutation, crossover, insertion and tokens: nothing leaves the space, equal networks stay equal rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.space import Operations, SearchSpace, draw_keys, insert

WHOLE = [SearchSpace.ofa_resnet50(), SearchSpace.comp_ofa()]


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32), probability=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_children_stay_in_the_space(pruned, seed: int, probability: float) -> None:
    for space in (*WHOLE, *(pruned(one, seed, 0.8) for one in WHOLE)):
        rng = np.random.default_rng(seed)
        first, second = space.sample(100, rng), space.sample(100, rng)
        mutants = space.mutate(first, rng, probability)
        assert space.contains(mutants).all()
        assert space.contains(space.crossover(first, second, rng)).all()
        if probability == 0:
            assert np.array_equal(mutants, first)
        assert np.array_equal(space.crossover(first, first, rng), first)


def test_mutation_reaches_every_choice_and_changes_few_genes() -> None:
    for space in WHOLE:
        rng = np.random.default_rng(0)
        start = np.repeat(space.sample(1, rng), 20_000, axis=0)
        often = space.mutate(start, rng, 0.5)
        drawn = space.sample(20_000, rng)
        for column in range(29):
            assert set(often[:, column]) == set(drawn[:, column])
        changed = (space.mutate(start, rng, 0.1) != start).mean()
        assert 0.02 < changed < 0.15


def test_genes_that_are_mutated_together_are_drawn_apart() -> None:
    space, n = WHOLE[0], 9000
    mutants = space.mutate(np.repeat(space.smallest()[None], n, axis=0), np.random.default_rng(0), 1.0)
    for own in space.family.own_columns[1:]:
        depth, width = mutants[:, own].T
        counts = np.bincount(3 * depth + width, minlength=9)
        assert ((counts - n / 9) ** 2).sum() / (n / 9) < 26.1  # chi-square, 8 degrees of freedom: once in 1,000


def test_crossover_takes_stages_and_expands_of_the_parents() -> None:
    space, rng = WHOLE[0], np.random.default_rng(0)
    first, second = space.sample(500, rng), space.sample(500, rng)
    child = space.crossover(first, second, rng)
    of_parent = (child == first) | (child == second)
    assert of_parent[:, :11].all()
    both = (first >= 0) & (second >= 0) & (child >= 0)
    assert of_parent[both].all()
    of_one = ((first >= 0) != (second >= 0)) & (child >= 0)  # a block that one parent alone has
    assert of_one.any() and (child == np.maximum(first, second))[of_one].all()
    assert 0.4 < (child[:, 4] == first[:, 4])[first[:, 4] != second[:, 4]].mean() < 0.6


def test_insertion_sets_one_operation_and_leaves_the_other_stages(pruned) -> None:
    for space in (*WHOLE, *(pruned(one, 3, 0.8) for one in WHOLE)):
        rng, family = np.random.default_rng(1), space.family
        paths, keys = space.sample(50, rng), draw_keys(space.masks, 50, rng)
        for place in list(zip(*space.operations(), strict=True))[::7]:
            operation = Operations(*place)
            inserted = insert(space.masks, paths, keys, operation)
            assert space.contains(inserted).all()
            one, columns = family.segments[operation.segment], family.columns[operation.segment]
            own = inserted[:, columns]
            assert (own[:, :2] == one.contexts[operation.context]).all()
            assert (own[:, 2 + operation.block] == one.choices[operation.choice]).all()
            elsewhere = np.setdiff1d(np.arange(29), columns)
            assert np.array_equal(inserted[:, elsewhere], paths[:, elsewhere])
            assert np.array_equal(insert(space.masks, inserted, keys, operation), inserted)


def test_tokens_of_the_papers_example() -> None:
    space = WHOLE[0]
    path = space.largest()
    path[:3] = 0, 1, 2
    path[space.family.columns[1:][0]] = 0, 2, 1, 2, -1, -1  # "W1.0_E0.25 W1.0_E0.35 SC SC"
    tokens = space.tokenize(path[None])[0]
    assert tokens[:3].tolist() == [11, 0, 12]
    assert tokens[3:7].tolist() == [1 + 2 * 3 + 1, 1 + 2 * 3 + 2, 0, 0]
    assert tokens[7:].tolist() == [9] * 14


def test_tokens_tell_networks_apart_and_fit_their_layout() -> None:
    space = WHOLE[0]
    layout = space.token_layout()
    paths = np.unique(space.sample(5000, np.random.default_rng(0)), axis=0)
    tokens = space.tokenize(paths)
    assert tokens.shape == (len(paths), len(layout.layer)) == (len(paths), 21)
    assert tokens.dtype == np.int64
    assert tokens.min() == 0
    assert tokens.max() == layout.vocabulary - 1 == 12
    assert len(np.unique(tokens, axis=0)) == len(paths)
    assert layout.layer == tuple(range(21))
    assert layout.block == (0,) * 3 + (1,) * 4 + (2,) * 4 + (3,) * 6 + (4,) * 4


def test_stems_that_are_not_independent_are_kept_to() -> None:
    given = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1)).to_dict()
    stems = [[1, 0, 0], [0, 1, 2], [0, 2, 1]]
    left = given["size"] // 18 * 15
    space = SearchSpace.from_dict({**given, "size": left, "dropped_stems": stems})
    first, second = space.sample(500, np.random.default_rng(0)), space.sample(500, np.random.default_rng(1))
    assert space.contains(space.mutate(first, np.random.default_rng(2), 0.5)).all()
    assert space.contains(space.crossover(first, second, np.random.default_rng(3))).all()
