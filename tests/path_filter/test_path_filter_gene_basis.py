"""Laws of main effects that are sought by genes: exact where a loss is a sum over genes, and better from few paths."""

import numpy as np
import pytest

from nnabla_detofa.path_filter import PathFilter, cross_validate, evaluate, fit, gene_basis, ridge_score
from nnabla_detofa.path_filter.averaging import AveragedFilter
from nnabla_detofa.path_filter.baselines import ridge_weights
from nnabla_detofa.space import SearchSpace

SPACES = {
    "ofa_resnet50": SearchSpace.ofa_resnet50(depths=(0, 1), expands=(0.2, 0.25, 0.35)),
    "ofa_mbv3": SearchSpace.ofa_mbv3(depths=(2, 3), kernels=(3, 5), expands=(3, 4, 6), width_scale=0.25),
    "ofa_xception": SearchSpace.ofa_xception(depths=(1, 2), kernels=(3, 5), width_scale=0.0625),
}
SIZES = {"dim": 8, "heads": 2, "layers": 1, "hidden": 8}


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


def drawn(space, n, seed=0):
    """Paths (n, genes), their tokens, and losses that are sums over genes, with numbers in their order alike."""
    paths = space.sample(n, np.random.default_rng(seed))
    rng = np.random.default_rng(99)
    slopes, own = rng.standard_normal(paths.shape[1]), rng.standard_normal((paths.shape[1], 10))
    losses = paths @ slopes + 0.3 * own[np.arange(paths.shape[1]), paths].sum(axis=1)
    return paths, space.tokenize(paths), losses


def basis_of(space):
    return gene_basis(space, space.sample(2000, np.random.default_rng(5)))


def test_a_sum_over_genes_is_a_sum_over_tokens_and_is_found_whole(space):
    paths, tokens, losses = drawn(space, 1500)
    _, unseen, truth = drawn(space, 300, seed=1)
    found = ridge_score(tokens, np.zeros(len(paths), int), losses, unseen, basis_of(space))
    assert np.corrcoef(found, -truth)[0, 1] > 1 - 1e-6


def test_from_few_paths_genes_say_more_than_tokens(space):
    _, tokens, losses = drawn(space, 40)
    _, unseen, truth = drawn(space, 400, seed=1)
    where, other = np.zeros(40, int), np.zeros(400, int)
    by_token, by_gene = (
        evaluate(ridge_score(tokens, where, losses, unseen, basis), truth, other)["kendall_tau"]
        for basis in (None, basis_of(space))
    )
    assert by_gene > by_token + 0.05


def test_a_basis_of_single_tokens_is_none():
    _, tokens, losses = drawn(SPACES["ofa_mbv3"], 60)
    buckets, vocabulary = np.arange(60) % 2, int(tokens.max()) + 1
    alone = ridge_weights(tokens, buckets, losses, vocabulary)
    same = ridge_weights(tokens, buckets, losses, vocabulary, np.eye(len(alone)))
    np.testing.assert_allclose(same, alone, atol=1e-9)


def test_what_is_of_no_gene_can_still_be_learned():
    """Pairs of a width and an expand that no sum over genes tells: tokens are in the basis, too."""
    space = SPACES["ofa_mbv3"]
    tokens = space.tokenize(space.sample(1200, np.random.default_rng(0)))
    effect = np.random.default_rng(1).standard_normal((tokens.shape[1], tokens.max() + 1))
    losses = effect[np.arange(tokens.shape[1]), tokens].sum(axis=1)
    found = ridge_score(tokens[:1000], np.zeros(1000, int), losses[:1000], tokens[1000:], basis_of(space))
    assert np.corrcoef(found, -losses[1000:])[0, 1] > 0.999


def test_a_filter_starts_from_them_and_a_yardstick_shows_them(space):
    _, tokens, losses = drawn(space, 60)
    buckets, basis, layout = np.arange(60) % 2, basis_of(space), space.token_layout()

    def fresh():
        return PathFilter(layout, 2, rng=np.random.default_rng(0), main_effects=True, **SIZES)

    path_filter = fresh()
    options = {"epochs": 1, "learning_rate": 1e-12}
    fit(path_filter, tokens, buckets, losses, rng=np.random.default_rng(1), basis=basis, **options)
    _, unseen, _ = drawn(space, 200, seed=1)
    expected = ridge_score(tokens, buckets, losses, unseen, basis)
    scores = path_filter.score(unseen, np.zeros(200, int), dtype=np.float64)
    assert np.corrcoef(np.log(scores / (1 - scores)), expected)[0, 1] > 0.9999
    judged = cross_validate(
        lambda: AveragedFilter([fresh()]),
        *(tokens, buckets, losses),
        costs=losses,
        basis=basis,
        rng=np.random.default_rng(2),
        **options,
    )["same_images"]
    assert judged["ridge regression on genes"]["kendall_tau"] > judged["ridge regression"]["kendall_tau"]
