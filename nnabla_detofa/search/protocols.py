"""Interfaces of the space and the cost that a search needs (Section 3.3).

`SearchSpace` and `CostModel` are one such pair, a measured table can be another.
"""

from typing import Any, Protocol

import numpy as np


class Space(Protocol):
    """Paths are rows (n, genes) of one integer type; equal networks are equal rows."""

    def sample(self, n: int, rng: np.random.Generator, *, cost: Any, low: float, high: float) -> np.ndarray:
        """`n` paths with low <= cost < high, with repetition; SpaceError where there is none. `cost` is a `Cost`."""

    def mutate(self, paths: np.ndarray, rng: np.random.Generator, probability: float) -> np.ndarray:
        """Paths of this space, each gene redrawn with `probability`."""

    def crossover(self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Paths of this space, each gene from one of two parents."""


class Cost(Protocol):
    """Maps paths (n, genes) to costs (n,)."""

    def __call__(self, paths: np.ndarray) -> np.ndarray:
        """(n,) float64."""

    def range(self, space: Any) -> tuple[float, float]:
        """The smallest and the largest cost of a path of `space`."""
