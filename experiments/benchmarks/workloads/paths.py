"""Paths, costs, scores and searches: our side, without NNabla but for the path filter's weights."""

import time

import numpy as np

from nnabla_detofa.path_filter import PathFilter, TokenLayout, transformer
from nnabla_detofa.path_filter import fit as filter_fit
from nnabla_detofa.pruning import AcceptedPaths, path_thresholds
from nnabla_detofa.search import evolve
from nnabla_detofa.space import Budgets, CostModel, SearchSpace


def _space(size: int, family: str = "ofa_resnet50", **options):
    space = getattr(SearchSpace, family)(**options)
    cost = CostModel.flops(space, image_size=size, n_classes=20)
    return space, cost, Budgets.equal_width(cost, n=5)


def _path_filter(space: SearchSpace) -> PathFilter:
    """A filter as large as the paper's whose weights are all random: a fresh one's last matrices are zero."""
    rng = np.random.default_rng(0)
    path_filter = PathFilter(space.token_layout(), rng=rng)
    path_filter.weights = {
        name: weight if weight.any() else 0.05 * rng.standard_normal(weight.shape).astype(np.float32)
        for name, weight in path_filter.weights.items()
    }
    return path_filter


def _score(space: SearchSpace, cost: CostModel, budgets: Budgets):
    path_filter = _path_filter(space)
    return lambda paths: path_filter.score(space.tokenize(paths), budgets.bucket(cost(paths)))


def flops(n: int, size: int = 224, family: str = "ofa_resnet50"):
    """The cost of n random paths."""
    space, cost, _ = _space(size, family)
    paths = space.sample(n, np.random.default_rng(0))

    def look_up() -> int:
        cost(paths)
        return n

    return look_up


def top_bucket(n: int, size: int = 384, family: str = "ofa_resnet50"):
    """n paths drawn uniformly from the bucket of the most expensive ones."""
    space, cost, budgets = _space(size, family)
    low, high = budgets.range(len(budgets) - 1)
    rng = np.random.default_rng(0)

    def draw() -> int:
        return len(space.sample(n, rng, cost=cost, low=low, high=high))

    return draw


def rejection(seconds: float, size: int = 384, family: str = "ofa_resnet50"):
    """The plain way to the same paths: draw from the whole space and keep what falls into the bucket.

    Ends after some seconds; where nothing fell into it, one path is counted, so the rate is an upper bound.
    """
    space, cost, budgets = _space(size, family)
    low, high = budgets.range(len(budgets) - 1)
    rng = np.random.default_rng(0)

    def draw() -> int:
        end, kept = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            costs = cost(space.sample(10_000, rng))
            kept += np.count_nonzero((costs >= low) & (costs < high))
        return max(int(kept), 1)

    return draw


def score(n: int, batch: int, threads: int = 1):
    """The path filter's scores of n paths in batches, on threads of its own."""
    transformer.THREADS = threads
    space, _, budgets = _space(384)
    path_filter, rng = _path_filter(space), np.random.default_rng(0)
    tokens, buckets = space.tokenize(space.sample(n, rng)), rng.integers(len(budgets), size=n)

    def run() -> int:
        for start in range(0, n, batch):
            path_filter.score(tokens[start : start + batch], buckets[start : start + batch])
        return n

    return run


def search(n_limits: int, generations: int, size: int = 224, **options):
    """Evolution under the upper edges of the first buckets with the path filter; returns generations times budgets.

    `options` are the space's.
    """
    space, cost, budgets = _space(size, **options)
    path_score = _score(space, cost, budgets)
    seed = 0

    def run() -> int:
        nonlocal seed
        seed += 1
        limits, rng = budgets.edges[1 : n_limits + 1], np.random.default_rng(seed)
        evolve(space, path_score, cost, limits, budgets=budgets, rng=rng, generations=generations)
        return n_limits * generations

    return run


def accepted(n: int, batch: int):
    """n paths that pass the path filter's thresholds, drawn and scored `batch` at a time; 1 is Algorithm 1's loop."""
    space, cost, budgets = _space(64)
    path_score, rng = _score(space, cost, budgets), np.random.default_rng(0)
    delta = path_thresholds(space, path_score, cost, budgets, paths_per_bucket=100, rng=rng).at(0.25)
    paths = AcceptedPaths(space, path_score, cost, budgets, thresholds=delta, rng=rng, batch=batch)

    def run() -> int:
        for _ in range(n):
            paths.next()
        return n

    return run


def fit(n: int, epochs: int, threads: int = 1):
    """Epochs of the path filter's fit to n random paths of 26 tokens and a budget, in the shipped sizes."""
    transformer.THREADS = threads
    layout, rng = TokenLayout(13, tuple(range(26)), tuple(np.arange(26) // 6)), np.random.default_rng(0)
    tokens, buckets, losses = rng.integers(13, size=(n, 26)), rng.integers(5, size=n), rng.random(n)

    def run() -> int:
        path_filter = PathFilter(layout, rng=rng, main_effects=False)
        filter_fit(path_filter, tokens, buckets, losses, rng=rng, epochs=epochs)
        return epochs

    return run
