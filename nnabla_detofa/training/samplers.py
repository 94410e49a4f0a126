"""Path samplers of supernet training (Algorithm 1, line 2): who decides which path the next step trains."""

from collections import deque
from typing import Protocol

import numpy as np

from ..errors import unknown
from ..run_options import FULLNET
from ..space import PROPOSALS, Budgets, CostModel, Draw, SearchSpace


class PathSampler(Protocol):
    """One path a training step; `state` and `restore` carry it over an interruption."""

    def next(self) -> np.ndarray:
        """The next path, a row of genes."""

    def state(self) -> dict:
        """Plain data from which `restore` goes on with the same paths."""

    def restore(self, state: dict) -> None:
        """Go on where `state` was taken."""


class DrawnPaths:
    """Paths of a distribution, as it draws them: in batches, which costs less than one by one."""

    def __init__(self, draw: Draw, rng: np.random.Generator, *, batch: int = 64):
        self._draw, self._rng, self._batch = draw, rng, batch
        self._queue: deque[np.ndarray] = deque()

    def next(self) -> np.ndarray:
        """The next path, a row of genes."""
        if not self._queue:
            self._queue.extend(self._draw(self._batch, self._rng))
        return self._queue.popleft()

    def state(self) -> dict:
        """Queue and generator as plain data."""
        return {"queue": [path.tolist() for path in self._queue], "rng": self._rng.bit_generator.state}

    def restore(self, state: dict) -> None:
        """Go on where `state` was taken."""
        self._queue = deque(np.array(path, np.int8) for path in state["queue"])
        self._rng.bit_generator.state = state["rng"]


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
