"""Which operations to prune (Section 3.2, "Three pruning strategies"): a new strategy is a function and a YAML file.

A strategy takes the scored operations and a generator; its keyword-only parameters are its options, and their
annotations say what each may be.
"""

from collections.abc import Callable
from functools import cache
from types import new_class
from typing import Annotated, NamedTuple, cast

import numpy as np

from ..options import Options, declared, ratio
from .scores import ScoredOperations


class Drop(NamedTuple):
    """An operation to prune, by its number, and why."""

    number: int
    reason: str


class Strategy(NamedTuple):
    """`choose(operations, rng, **its options)` says what to drop, in that order; `by_score`: whether it has to know
    the operations' scores."""

    choose: Callable[..., list[Drop]]
    by_score: bool


STRATEGIES: dict[str, Strategy] = {}


def strategy(*, by_score: bool) -> Callable[[Callable[..., list[Drop]]], Callable[..., list[Drop]]]:
    """Register a function under its own name as a strategy."""

    def register(choose: Callable[..., list[Drop]]) -> Callable[..., list[Drop]]:
        STRATEGIES[choose.__name__] = Strategy(choose, by_score)
        return choose

    return register


def strategy_options() -> type[Options]:
    """The options of all strategies together, so that one list of ratios serves any of them."""
    return _together(tuple(one.choose for one in STRATEGIES.values()))


@cache
def _together(strategies: tuple[Callable, ...]) -> type[Options]:
    return cast(type[Options], new_class("StrategyOptions", tuple(map(declared, strategies))))


@strategy(by_score=False)
def none(_operations: ScoredOperations, _rng: np.random.Generator) -> list[Drop]:
    """Nothing."""
    return []


@strategy(by_score=False)
def flops(
    operations: ScoredOperations, rng: np.random.Generator, *, operation_ratio: Annotated[float, ratio()] = 0.3
) -> list[Drop]:
    """r_op of each bucket at random."""
    drops = [
        Drop(int(i), f"random {operation_ratio:.0%} of bucket {bucket}")
        for bucket, members in _buckets(operations, [])
        for i in rng.permutation(members)[: _share(operation_ratio, len(members))]
    ]
    return [drops[i] for i in rng.permutation(len(drops))]


@strategy(by_score=True)
def flops_score_per_bucket(
    operations: ScoredOperations, _rng: np.random.Generator, *, operation_ratio: Annotated[float, ratio()] = 0.3
) -> list[Drop]:
    """The r_op of lowest score of each bucket."""
    return _worst_first(operations, _per_bucket(operations, [], operation_ratio))


@strategy(by_score=True)
def flops_score_all(
    operations: ScoredOperations,
    _rng: np.random.Generator,
    *,
    operation_ratio_all: Annotated[float, ratio()] = 0.1,
    operation_ratio_per_bucket: Annotated[float, ratio()] = 0.3,
) -> list[Drop]:
    """The r_op1 of lowest score of all, then the r_op2 of lowest score of what is left of each bucket."""
    everything = np.arange(len(operations.flops))
    first = _weakest(operations, everything, operation_ratio_all, f"lowest {operation_ratio_all:.0%} of all")
    return _worst_first(operations, first + _per_bucket(operations, first, operation_ratio_per_bucket))


def _share(ratio: float, n: int) -> int:
    return int(ratio * n + 0.5)


def _buckets(operations: ScoredOperations, gone: list[Drop]) -> list[tuple[int, np.ndarray]]:
    """Each bucket with its operations that are not `gone`."""
    left = np.ones(len(operations.flops), bool)
    left[[drop.number for drop in gone]] = False
    return [(b, np.flatnonzero(left & (operations.bucket == b))) for b in range(operations.n_buckets)]


def _weakest(operations: ScoredOperations, members: np.ndarray, ratio: float, reason: str) -> list[Drop]:
    order = members[np.argsort(operations.score[members], kind="stable")]
    return [Drop(int(i), reason) for i in order[: _share(ratio, len(members))]]


def _per_bucket(operations: ScoredOperations, gone: list[Drop], ratio: float) -> list[Drop]:
    return [
        drop
        for bucket, members in _buckets(operations, gone)
        for drop in _weakest(operations, members, ratio, f"lowest {ratio:.0%} of bucket {bucket}")
    ]


def _worst_first(operations: ScoredOperations, drops: list[Drop]) -> list[Drop]:
    return sorted(drops, key=lambda drop: (operations.score[drop.number], drop.number))
