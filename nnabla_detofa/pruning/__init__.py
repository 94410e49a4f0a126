"""Search space pruning by path scores (Section 3.2); the scores come in as a callable."""

from .operations import PruningResult, prune_operations
from .paths import (
    PATH_STRATEGIES,
    AcceptedPaths,
    PathThresholds,
    fixed_random_score,
    path_thresholds,
    pruning_score,
)
from .scores import ScoredOperations, score_operations
from .strategies import STRATEGIES, Drop, strategy, strategy_options

__all__ = [
    "PATH_STRATEGIES",
    "STRATEGIES",
    "AcceptedPaths",
    "Drop",
    "PathThresholds",
    "PruningResult",
    "ScoredOperations",
    "fixed_random_score",
    "path_thresholds",
    "prune_operations",
    "pruning_score",
    "score_operations",
    "strategy",
    "strategy_options",
]
