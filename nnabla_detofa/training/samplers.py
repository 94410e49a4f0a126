"""Path samplers of supernet training (Algorithm 1, line 2): who decides which path the next step trains."""

from typing import Protocol

import numpy as np

from ..errors import unknown
from ..run_options import FULLNET
from ..space import PROPOSALS, Budgets, CostModel, DrawnPaths, SearchSpace


class PathSampler(Protocol):
    """One path a training step; `state` and `restore` carry it over an interruption."""

    def next(self) -> np.ndarray:
        """The next path, a row of genes."""

    def state(self) -> dict:
        """Plain data from which `restore` goes on with the same paths."""

    def restore(self, state: dict) -> None:
        """Go on where `state` was taken."""


class OnePath:
    """The same path at every step: full-network training."""

    def __init__(self, path: np.ndarray):
        self._path = path

    def next(self) -> np.ndarray:
        """The path."""
        return self._path

    def state(self) -> dict:
        """Nothing to carry over."""
        return {}

    def restore(self, state: dict) -> None:
        """Nothing to carry over."""


BALANCED = "balanced"  # a bucket of the cost first
SAMPLERS = (*PROPOSALS, FULLNET)


def path_sampler(
    name: str, space: SearchSpace, cost: CostModel, budgets: Budgets, rng: np.random.Generator
) -> PathSampler:
    """The named sampler over a space; ConfigError for an unknown name."""
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    return OnePath(space.largest()) if name == FULLNET else DrawnPaths(PROPOSALS[name](space, cost, budgets), rng)
