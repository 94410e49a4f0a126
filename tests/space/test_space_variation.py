"""Laws of mutation, crossover, insertion and tokens: nothing leaves the space, equal networks stay equal rows."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nnabla_detofa.errors import SpaceError
from nnabla_detofa.space import Operation, SearchSpace, draw_keys, insert


def spaces(seed: int) -> list[SearchSpace]:
    whole = [SearchSpace.ofa_resnet50(), SearchSpace.comp_ofa()]
    try:
        keep = [np.random.default_rng(seed).random(s.n_operations) < 0.8 for s in whole]
        return whole + [s.restrict(k) for s, k in zip(whole, keep, strict=True)]
    except SpaceError:
        assume(False)
        raise


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32), probability=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_children_stay_in_the_space(seed: int, probability: float) -> None:
    for space in spaces(seed):
        rng = np.random.default_rng(seed)
        first, second = space.sample(100, rng), space.sample(100, rng)
        mutants = space.mutate(first, rng, probability)
        assert space.contains(mutants).all()
        assert space.contains(space.crossover(first, second, rng)).all()
        if probability == 0:
            assert np.array_equal(mutants, first)
        assert np.array_equal(space.crossover(first, first, rng), first)


def test_mutation_reaches_every_choice_and_changes_few_genes() -> None:
    for space in (SearchSpace.ofa_resnet50(), SearchSpace.comp_ofa()):
        rng = np.random.default_rng(0)
        start = np.repeat(space.sample(1, rng), 20_000, axis=0)
        often = space.mutate(start, rng, 0.5)
        drawn = space.sample(20_000, rng)
        for column in range(29):
            assert set(often[:, column]) == set(drawn[:, column])
        changed = (space.mutate(start, rng, 0.1) != start).mean()
        assert 0.02 < changed < 0.15


def test_crossover_takes_stages_and_expands_of_the_parents() -> None:
    space, rng = SearchSpace.ofa_resnet50(), np.random.default_rng(0)
    first, second = space.sample(500, rng), space.sample(500, rng)
    child = space.crossover(first, second, rng)
    of_parent = (child == first) | (child == second)
    assert of_parent[:, :11].all()
    both = (first >= 0) & (second >= 0) & (child >= 0)
    assert of_parent[both].all()
    assert 0.4 < (child[:, 4] == first[:, 4])[first[:, 4] != second[:, 4]].mean() < 0.6


def test_insertion_sets_one_operation_and_leaves_the_other_stages() -> None:
    for space in spaces(3):
        rng = np.random.default_rng(1)
        paths, keys = space.sample(50, rng), draw_keys(space, 50, rng)
        operations = space.operations()
        for number in range(0, len(operations.stage), 7):
            operation = Operation(*(column[number] for column in operations))
            inserted = insert(space, paths, keys, operation)
            assert space.contains(inserted).all()
            columns = space.family.columns[1:][operation.stage]
            assert (inserted[:, columns[0]] == operation.depth).all()
            assert (inserted[:, columns[1]] == operation.width).all()
            assert (inserted[:, columns[2 + operation.layer]] == operation.expand).all()
            elsewhere = np.setdiff1d(np.arange(29), columns)
            assert np.array_equal(inserted[:, elsewhere], paths[:, elsewhere])
            assert np.array_equal(insert(space, inserted, keys, operation), inserted)


def test_tokens_of_the_papers_example() -> None:
    space = SearchSpace.ofa_resnet50()
    path = space.largest()
    path[:3] = 0, 1, 2
    path[space.family.columns[1:][0]] = 0, 2, 1, 2, -1, -1  # "W1.0_E0.25 W1.0_E0.35 SC SC"
    tokens = space.tokenize(path[None])[0]
    assert tokens[:3].tolist() == [11, 0, 12]
    assert tokens[3:7].tolist() == [1 + 2 * 3 + 1, 1 + 2 * 3 + 2, 0, 0]
    assert tokens[7:].tolist() == [9] * 14


def test_tokens_tell_networks_apart_and_fit_their_layout() -> None:
    space = SearchSpace.ofa_resnet50()
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


def test_variation_refuses_other_shapes() -> None:
    space, rng = SearchSpace.ofa_resnet50(), np.random.default_rng(0)
    with pytest.raises(SpaceError, match="paths have shape"):
        space.mutate(space.largest(), rng, 0.1)
