"""Scores of paths, which pruning and search are given as a callable."""

from collections.abc import Callable

import numpy as np

from ..errors import ConfigError, NumericError

Score = Callable[[np.ndarray], np.ndarray]  # paths (n, genes) -> (n,), higher is better


def path_scores(score: Score, paths: np.ndarray) -> np.ndarray:
    """`score(paths)` as float64 (n,); ConfigError or NumericError where it is not one finite number a path."""
    scores = np.asarray(score(paths), np.float64)
    if scores.shape != (len(paths),):
        raise ConfigError(f"score gave shape {scores.shape} for {len(paths)} paths: it must give ({len(paths)},)")
    if not np.isfinite(scores).all():
        raise NumericError(f"{np.count_nonzero(~np.isfinite(scores))} of {len(paths)} path scores are not finite")
    return scores
