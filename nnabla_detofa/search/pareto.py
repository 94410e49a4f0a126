"""The Pareto front of accuracy over cost (Figure 5)."""

import numpy as np

from ..errors import ConfigError


def pareto_front(costs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Indices of the points that no other dominates, by ascending cost; of equal points all or none.

    A point dominates another when it costs no more, is worth no less, and differs. Points of value nan are left out.

    Parameters:
        costs: (n,), lower is better.
        values: (n,), higher is better.
    """
    costs, values = np.asarray(costs, np.float64), np.asarray(values, np.float64)
    if costs.ndim != 1 or costs.shape != values.shape:
        raise ConfigError(f"costs {costs.shape} and values {values.shape} must be two rows of equal length")
    order = np.lexsort((-values, costs))
    order = order[~np.isnan(values[order])]
    ascending, worth = costs[order], values[order]
    first = np.searchsorted(ascending, ascending)  # the best point of each cost comes first
    cheaper = np.r_[-np.inf, np.maximum.accumulate(worth)][first]  # the best of all lower costs
    return order[(worth == worth[first]) & ((worth > cheaper) | (first == 0))]
