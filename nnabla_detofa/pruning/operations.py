"""Operation pruning (Section 3.2, Algorithm 1 line 5): 𝒜 in, 𝒜̃ and what happened to every operation out."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from ..errors import ConfigError, SpaceError
from ..options import OneOf, Whole, checked, declared
from ..space import Budgets, CostModel, Score, SearchSpace
from .guards import Guards
from .scores import ScoredOperations, score_operations
from .strategies import STRATEGIES, Drop, strategy_options


@dataclass(frozen=True, eq=False)
class PruningResult:
    """`space`: what is left of `before`. `operations`: all there were, with `kept` (n,) bool and `reason`, one text an
    operation, empty where it was never up for pruning. `votes`: (scores, n) bool, whether each of several scores alone
    would drop an operation, whatever guards say; None where there is one score."""

    space: SearchSpace
    before: SearchSpace
    operations: ScoredOperations
    kept: np.ndarray
    reason: tuple[str, ...]
    votes: np.ndarray | None = None

    @property
    def near(self) -> list[str]:
        """A text for each operation that some of the scores would drop and others keep, so near is it to the
        strategy's threshold; empty for the others, and where there is one score."""
        if self.votes is None:
            return [""] * len(self.kept)
        n, against = len(self.votes), self.votes.sum(axis=0).tolist()
        return [f"{some} of {n} filters prune it" if 0 < some < n else "" for some in against]

    def rows(self) -> list[dict[str, object]]:
        """One dictionary an operation: stage, layer, the family's columns (D, W and E), flops, score, bucket, kept,
        reason, "cost" where buckets are not of FLOPs, "near_threshold" (see `near`) where there are several scores.
        Stage and layer count from 0, choices are values."""
        scored = self.operations
        columns = {
            **self.before.operation_columns(),
            "flops": scored.flops.tolist(),
            "score": ["" if np.isnan(score) else score for score in scored.score.tolist()],
            "bucket": scored.bucket.tolist(),
            "kept": self.kept.tolist(),
            "reason": self.reason,
            **({} if scored.cost is None else {"cost": scored.cost.tolist()}),
            **({} if self.votes is None else {"near_threshold": self.near}),
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@checked("pruning", "flops", "each", "rng")
def prune_operations(
    space: SearchSpace,
    score: Score | None,
    cost: CostModel,
    budgets: Budgets,
    *,
    flops: CostModel | None = None,
    each: Sequence[Score] = (),
    strategy: Annotated[str, OneOf("pruning strategy", lambda: STRATEGIES)] = "flops_score_all",
    paths_per_operation: Annotated[int, Whole()] = 1000,
    rng: np.random.Generator,
    **options: Any,
) -> PruningResult:
    """Score every operation of `space` and drop what `strategy` says, as far as the guards let it.

    `score(paths)` -> (n,), higher is better; None will do for strategies without scores, "none" and "flops".
    `flops` where `cost` is another, for the table alone: buckets are of the cost. `each`: the scores whose mean `score`
    is, if it is one: they are asked in its place, and an operation on which they disagree is marked as a near-tie.
    `options` of any strategy; each looks at its own: `operation_ratio` is r_op of "flops" and
    "flops_score_per_bucket", `operation_ratio_all` and `operation_ratio_per_bucket` are r_op1 and r_op2 of
    "flops_score_all". An operation that only dropped ones could complete to a path goes with them. ConfigError for an
    unknown strategy or option; SpaceError where so few operations would stay that no path can be made of them.
    """
    chosen, given = STRATEGIES[strategy], vars(strategy_options().of("pruning", options))
    own = {name: given[name] for name in declared(chosen.choose).model_fields}
    if score is None and chosen.by_score:
        raise ConfigError(f"strategy '{strategy}' was given no score: it prunes by score")
    asked = each if len(each) > 1 and chosen.by_score else [score]
    draws = [*(deepcopy(rng) for _ in asked[1:]), rng]  # the same paths for all
    common: dict[str, Any] = {"n_buckets": len(budgets), "paths_per_operation": paths_per_operation}
    alone = [
        score_operations(space, one, cost, flops=flops, **common, rng=own_rng)
        for one, own_rng in zip(asked, draws, strict=True)
    ]
    scored = alone[-1]._replace(score=np.mean([one.score for one in alone], axis=0))
    votes = (
        None
        if len(alone) == 1
        else np.array([_dropped(chosen.choose(one, deepcopy(rng), **own), one) for one in alone])
    )
    drops = chosen.choose(scored, rng, **own)
    left, shortest = len(scored.flops) - len(drops), space.family.shortest
    if left < shortest:
        raise SpaceError(
            f"strategy '{strategy}' with {own} would leave {left} operations; "
            f"the shortest path needs {shortest}: lower the ratios"
        )
    pruned, dropped, kept = Guards(space, cost, budgets).admit(drops)
    return _result(space, pruned, scored, dropped + kept, votes)


def _dropped(drops: list[Drop], scored: ScoredOperations) -> np.ndarray:
    """Which operations these are, (n,) bool."""
    return np.isin(np.arange(len(scored.flops)), [drop.number for drop in drops])


def _result(
    space: SearchSpace, left: SearchSpace, scored: ScoredOperations, decided: list[Drop], votes: np.ndarray | None
) -> PruningResult:
    there = zip(*scored.operation, strict=True)
    kept = np.array([left.allowed[segment][tuple(at)] for segment, *at in there])
    reason = np.where(kept, "", "no path is left that uses it").tolist()
    for drop in decided:
        reason[drop.number] = drop.reason
    return PruningResult(left, space, scored, kept, tuple(reason), votes)
