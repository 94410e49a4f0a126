"""A filter that starts from another's weights: what must agree, and that what was learnt is still there."""

import dataclasses

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, WeightsError
from nnabla_detofa.path_filter import PathFilter, TokenLayout, evaluate, fit
from nnabla_detofa.space import SearchSpace

LAYOUT = TokenLayout(vocabulary=3, layer=(0, 1, 2, 3, 4), block=(0, 0, 1, 1, 1))
SMALL = {"dim": 16, "heads": 2, "layers": 1, "hidden": 16}
SPACE = SearchSpace.ofa_resnet50().structure.to_dict()


def fresh(seed=0, n_buckets=2, **options):
    """The paper's filter, small, without main effects; those have tests of their own."""
    options = {**SMALL, "main_effects": False, **options}
    return PathFilter(LAYOUT, n_buckets, rng=np.random.default_rng(seed), **options)


@pytest.fixture
def file(tmp_path):
    """A filter saved with its space."""
    fresh().save(tmp_path / "path_filter.h5", space=SPACE)
    return tmp_path / "path_filter.h5"


def measured(n, seed, *, noise=0.0):
    """Paths, buckets and losses, which are a number for each token plus one for each pair of neighbours."""
    rng, truth = np.random.default_rng(seed), np.random.default_rng(99)
    effect, pairs = truth.standard_normal((5, 3)), truth.standard_normal((4, 3, 3))
    tokens, where = rng.integers(0, 3, (n, 5)), np.arange(5)
    loss = effect[where, tokens].sum(axis=1) + pairs[where[:4], tokens[:, :-1], tokens[:, 1:]].sum(axis=1) / 2
    return tokens, rng.integers(0, 2, n), loss + noise * rng.standard_normal(n)


def tau(path_filter, seed=9):
    tokens, buckets, losses = measured(300, seed)
    return evaluate(path_filter.score(tokens, buckets), losses, buckets)["kendall_tau"]


def test_a_start_has_the_saved_filters_scores(file):
    path_filter = fresh(seed=5)
    path_filter.start_from(file, space=SPACE)
    tokens, buckets, _ = measured(50, seed=1)
    np.testing.assert_array_equal(path_filter.score(tokens, buckets), PathFilter.load(file).score(tokens, buckets))


def test_a_few_paths_are_enough_for_a_pretrained_filter(tmp_path):
    """What a fit to 16 paths from scratch cannot find, one that starts from pre-trained weights keeps."""
    before = fresh()
    fit(before, *measured(300, seed=0), rng=np.random.default_rng(0), epochs=40, learning_rate=3e-3, batch=32)
    before.save(tmp_path / "path_filter.h5")
    taus = []
    for pretrained in (True, False):
        path_filter = fresh(seed=5)
        if pretrained:
            path_filter.start_from(tmp_path / "path_filter.h5")
        fit(path_filter, *measured(16, seed=2, noise=0.3), rng=np.random.default_rng(1), epochs=20, learning_rate=1e-4)
        taus.append(tau(path_filter))
    assert taus[0] > 0.6 > 0.5 > taus[1]


def test_a_start_that_no_epoch_betters_is_kept():
    before = fresh()
    fit(before, *measured(300, seed=0), rng=np.random.default_rng(0), epochs=40, learning_rate=3e-3, batch=32)
    weights = before.weights
    report = fit(before, *measured(40, seed=3), rng=np.random.default_rng(1), epochs=3, learning_rate=1.0)
    assert report.best_epoch == -1
    assert all(np.array_equal(value, weights[name]) for name, value in before.weights.items())


# ---- what must agree


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_buckets": 3}, "n_buckets 2, where 3 is wanted"),
        ({"dim": 8}, "dim 16, where 8 is wanted"),
        ({"main_effects": True}, "main_effects False, where True is wanted"),
        ({"heads": 4, "layers": 2}, "heads 2, where 4 is wanted; layers 1, where 2 is wanted"),
        ({"budget_condition": False}, "budget_condition True, where False is wanted"),
        ({"block_encoding": False}, "block_encoding True, where False is wanted"),
    ],
    ids=str,
)
def test_a_filter_of_another_design_is_refused(file, changes, said):
    path_filter = fresh(seed=5, **changes)
    before = path_filter.weights
    with pytest.raises(WeightsError) as caught:
        path_filter.start_from(file, space=SPACE)
    assert str(caught.value) == f"{file} holds a path filter of another design: {said}"
    assert all(np.array_equal(value, before[name]) for name, value in path_filter.weights.items())


def test_every_option_of_the_design_must_agree(file):
    """None of the constructor's options may be forgotten in the comparison."""
    design = fresh().design
    for field in dataclasses.fields(design):
        value = getattr(design, field.name)
        path_filter = fresh()
        other = (
            {"dim": 32} if field.name == "dim" else {field.name: (not value) if isinstance(value, bool) else value * 2}
        )
        path_filter.design = dataclasses.replace(design, **other)
        with pytest.raises(WeightsError, match=f"another design: {field.name} {value}, where "):
            path_filter.start_from(file)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (SearchSpace.comp_ofa(), "elastic_stem True, where False is wanted; coupled False, where True is wanted"),
        (SearchSpace.ofa_resnet50(widths=(0.5, 0.8, 1.0)), "widths [0.65, 0.8, 1.0], where [0.5, 0.8, 1.0] is wanted"),
        (
            SearchSpace.ofa_resnet50(width_scale=0.5),
            "width_scale 1.0, where 0.5 is wanted; merge_equal_choices None, where True is wanted",
        ),
    ],
    ids=["CompOFA", "widths", "scale"],
)
def test_a_filter_of_another_space_is_refused_where_tokens_do_not_tell(file, space, said):
    with pytest.raises(WeightsError) as caught:
        fresh().start_from(file, space=space.structure.to_dict())
    assert str(caught.value) == f"{file} holds a path filter of another space: {said}"


def test_a_filter_of_another_layout_is_refused(file):
    layout = SearchSpace.ofa_resnet50().token_layout()
    other = PathFilter(layout, 2, rng=np.random.default_rng(0), main_effects=False, **SMALL)
    with pytest.raises(WeightsError, match="of another space: 5 tokens of vocabulary 3, where 21 of vocabulary 13 are"):
        other.start_from(file)


def test_a_file_without_a_space_is_known_by_its_layout_alone(tmp_path):
    fresh().save(tmp_path / "filter.h5")
    fresh(seed=5).start_from(tmp_path / "filter.h5", space=SPACE)


@pytest.mark.parametrize("given", [3, True, ["a.h5"]], ids=str)
def test_what_names_no_file(given):
    with pytest.raises(ConfigError, match="path_filter.pretrained is .*; it must name a file, or be null"):
        fresh().start_from(given)
