"""Operation pruning (Section 3.2, Algorithm 1 line 5): 𝒜 in, 𝒜̃ and what happened to every operation out."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, SpaceError, require_ratio
from ..space import Budgets, CostModel, SearchSpace
from .guards import Guards
from .scores import Score, ScoredOperations, score_operations
from .strategies import NEED_SCORES, Drop, Ratios, strategy_named

COLUMNS = ("stage", "layer", "depth", "width", "expand", "flops", "score", "bucket", "kept", "reason")


@dataclass(frozen=True, eq=False)
class PruningResult:
    """`space`: what is left. `operations`: all there were, with `kept` (n,) bool and `reason`, one text an operation,
    empty where it was never up for pruning."""

    space: SearchSpace
    operations: ScoredOperations
    kept: np.ndarray
    reason: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Of `rows`: `COLUMNS`, and "cost" where buckets are not of FLOPs."""
        return COLUMNS if self.operations.cost is None else (*COLUMNS, "cost")

    def rows(self) -> list[dict[str, object]]:
        """One dictionary an operation with the `columns`: stage and layer count from 0, D, W and E are values."""
        structure, scored = self.space.structure, self.operations
        columns = (
            scored.operation.stage.tolist(),
            scored.operation.layer.tolist(),
            [structure.depths[d] for d in scored.operation.depth],
            [structure.widths[w] for w in scored.operation.width],
            [structure.expands[e] for e in scored.operation.expand],
            scored.flops.tolist(),
            ["" if np.isnan(score) else score for score in scored.score.tolist()],
            scored.bucket.tolist(),
            self.kept.tolist(),
            self.reason,
            *([] if scored.cost is None else [scored.cost.tolist()]),
        )
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*columns, strict=True)]

    def save_csv(self, file: str | os.PathLike) -> None:
        """Write `rows` to `file` in one step, so that no reader meets a half-written table."""
        file = Path(file)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        with partial.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns)
            writer.writeheader()
            writer.writerows(self.rows())
        partial.replace(file)


def prune_operations(
    space: SearchSpace,
    score: Score | None,
    cost: CostModel,
    budgets: Budgets,
    *,
    flops: CostModel | None = None,
    strategy: str = "flops_score_all",
    operation_ratio: float = 0.3,
    operation_ratio_all: float = 0.1,
    operation_ratio_per_bucket: float = 0.3,
    paths_per_operation: int = 1000,
    rng: np.random.Generator,
) -> PruningResult:
    """Score every operation of `space` and drop what `strategy` says, as far as the guards let it.

    `score(paths)` -> (n,), higher is better; None will do for strategies without scores, "none" and "flops".
    `flops` where `cost` is another, for the table alone: buckets are of the cost.
    `operation_ratio` is r_op of "flops" and "flops_score_per_bucket"; `operation_ratio_all` and
    `operation_ratio_per_bucket` are r_op1 and r_op2 of "flops_score_all". An operation that only dropped ones could
    complete to a path goes with them. ConfigError for an unknown strategy or a ratio outside [0, 1); SpaceError where
    so few operations would stay that no path can be made of them.
    """
    choose = strategy_named(strategy)
    ratios = Ratios(
        require_ratio("operation_ratio", operation_ratio),
        require_ratio("operation_ratio_all", operation_ratio_all),
        require_ratio("operation_ratio_per_bucket", operation_ratio_per_bucket),
    )
    if score is None and strategy in NEED_SCORES:
        raise ConfigError(f"strategy '{strategy}' was given no score; it prunes by score")
    scored = score_operations(
        space, score, cost, flops=flops, n_buckets=len(budgets), paths_per_operation=paths_per_operation, rng=rng
    )
    drops = choose(scored, ratios, rng)
    _require_enough(space, len(scored.flops) - len(drops), strategy, ratios)
    left, dropped, kept = Guards(space, cost, budgets).admit(drops)
    return _result(space, left, scored, dropped + kept)


def _require_enough(space: SearchSpace, left: int, strategy: str, ratios: Ratios) -> None:
    shortest = sum(space.structure.base_depths) + 4 * space.structure.depths[0]
    if left < shortest:
        raise SpaceError(
            f"strategy '{strategy}' with {ratios._asdict()} would leave {left} operations; "
            f"the shortest path needs {shortest}, so lower the ratios"
        )


def _result(space: SearchSpace, left: SearchSpace, scored: ScoredOperations, decided: list[Drop]) -> PruningResult:
    kept = left.allowed[space.allowed]
    reason = np.where(kept, "", "no path is left that uses it").tolist()
    for drop in decided:
        reason[drop.number] = drop.reason
    return PruningResult(left, scored, kept, tuple(reason))
