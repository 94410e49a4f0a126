"""Which operations to prune (Section 3.2, "Three pruning strategies"): a new strategy is a function and a name."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..errors import unknown
from .scores import ScoredOperations


class Ratios(NamedTuple):
    """r_op of the strategies with one ratio; r_op1 and r_op2 of the one with two."""

    operation_ratio: float
    operation_ratio_all: float
    operation_ratio_per_bucket: float


class Drop(NamedTuple):
    """An operation to prune, by its number, and why."""

    number: int
    reason: str


Strategy = Callable[[ScoredOperations, Ratios, np.random.Generator], list[Drop]]


def _share(ratio: float, n: int) -> int:
    return int(ratio * n + 0.5)


def _buckets(operations: ScoredOperations, left: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Each bucket with its operations among those marked in `left`."""
    return [(b, np.flatnonzero(left & (operations.bucket == b))) for b in range(operations.n_buckets)]


def _weakest(operations: ScoredOperations, members: np.ndarray, ratio: float, reason: str) -> list[Drop]:
    order = members[np.argsort(operations.score[members], kind="stable")]
    return [Drop(int(i), reason) for i in order[: _share(ratio, len(members))]]


def _worst_first(operations: ScoredOperations, drops: list[Drop]) -> list[Drop]:
    return sorted(drops, key=lambda drop: (operations.score[drop.number], drop.number))


def none(_operations: ScoredOperations, _ratios: Ratios, _rng: np.random.Generator) -> list[Drop]:
    """Nothing."""
    return []


def flops(operations: ScoredOperations, ratios: Ratios, rng: np.random.Generator) -> list[Drop]:
    """r_op of each bucket at random."""
    ratio = ratios.operation_ratio
    drops = [
        Drop(int(i), f"random {ratio:.0%} of bucket {bucket}")
        for bucket, members in _buckets(operations, np.ones(len(operations.flops), bool))
        for i in rng.permutation(members)[: _share(ratio, len(members))]
    ]
    return [drops[i] for i in rng.permutation(len(drops))]


def flops_score_per_bucket(operations: ScoredOperations, ratios: Ratios, _rng: np.random.Generator) -> list[Drop]:
    """The r_op of lowest score of each bucket."""
    return _worst_first(operations, _per_bucket(operations, [], ratios.operation_ratio))


def flops_score_all(operations: ScoredOperations, ratios: Ratios, _rng: np.random.Generator) -> list[Drop]:
    """The r_op1 of lowest score of all, then the r_op2 of lowest score of what is left of each bucket."""
    ratio = ratios.operation_ratio_all
    everything = np.arange(len(operations.flops))
    first = _weakest(operations, everything, ratio, f"lowest {ratio:.0%} of all")
    return _worst_first(operations, first + _per_bucket(operations, first, ratios.operation_ratio_per_bucket))


def _per_bucket(operations: ScoredOperations, gone: list[Drop], ratio: float) -> list[Drop]:
    left = np.ones(len(operations.flops), bool)
    left[[drop.number for drop in gone]] = False
    return [
        drop
        for bucket, members in _buckets(operations, left)
        for drop in _weakest(operations, members, ratio, f"lowest {ratio:.0%} of bucket {bucket}")
    ]


STRATEGIES: dict[str, Strategy] = {
    "none": none,
    "flops": flops,
    "flops_score_per_bucket": flops_score_per_bucket,
    "flops_score_all": flops_score_all,
}
NEED_SCORES = {"flops_score_per_bucket", "flops_score_all"}


def strategy_named(name: str) -> Strategy:
    """The strategy of this name; ConfigError lists the known ones."""
    if not isinstance(name, str) or name not in STRATEGIES:
        raise unknown("pruning strategy", name, STRATEGIES)
    return STRATEGIES[name]
