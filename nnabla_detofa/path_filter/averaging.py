"""Several path filters as one (an addition; not in the paper): fitted on different 80/20 splits, their scores averaged.

A fit takes seconds and measuring its paths hours, so what a split leaves to chance is cheap to average away.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .fitting import FitReport, fit
from .model import PathFilter


class AveragedFilter:
    """Path filters of one layout and design; the score is the mean of theirs, which lie in (0, 1). One is itself."""

    def __init__(self, filters: Sequence[PathFilter]) -> None:
        self.filters = tuple(filters)

    def fit(
        self, tokens: np.ndarray, buckets: np.ndarray, losses: np.ndarray, *, rng: np.random.Generator, **options: Any
    ) -> list[FitReport]:
        """Fit each, by `fit` and its `options`, on a split of its own: the next that `rng` draws."""
        return [fit(one, tokens, buckets, losses, rng=rng, **options) for one in self.filters]

    def score(self, tokens: np.ndarray, buckets: np.ndarray, *, dtype: type = np.float32) -> np.ndarray:
        """Scores (n,) in (0, 1), see `PathFilter.score`."""
        return np.mean([one.score(tokens, buckets, dtype=dtype) for one in self.filters], axis=0, dtype=dtype)
