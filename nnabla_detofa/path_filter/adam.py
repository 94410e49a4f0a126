"""Adam [18], which fits the path filter (section 3.1.2), in NumPy."""

import numpy as np

_FIRST, _SECOND, _EPS = 0.9, 0.999, 1e-8  # decay of the two moments


class Adam:
    """Steps of Adam; `weight_decay` adds its multiple of the weights to their slopes."""

    def __init__(self, learning_rate: float, weight_decay: float) -> None:
        self._learning_rate, self._weight_decay, self._steps = learning_rate, weight_decay, 0
        self._moments: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def step(self, weights: dict[str, np.ndarray], slopes: dict[str, np.ndarray]) -> None:
        """Change `weights` in place, by the slopes of the same names and shapes."""
        self._steps += 1
        rate = self._learning_rate * (1 - _SECOND**self._steps) ** 0.5 / (1 - _FIRST**self._steps)
        for name, weight in weights.items():
            slope = slopes[name] + self._weight_decay * weight
            mean, square = self._moments.setdefault(name, (np.zeros_like(weight), np.zeros_like(weight)))
            mean += (1 - _FIRST) * (slope - mean)
            square += (1 - _SECOND) * (slope**2 - square)
            weight -= rate * mean / (np.sqrt(square) + _EPS)
