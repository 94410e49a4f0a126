"""The best path of at most a budget (section 3.3): the winner of each bucket by score, and of these by measurement.

A path filter's scores order the paths of one bucket and say nothing across buckets, and a dearer bucket need not hold
the better path. So each bucket sends its winner, and what is measured of the winners decides between them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError
from ..space import Budgets
from .evolution import Found
from .protocols import Cost, Space


class Best(NamedTuple):
    """The choice under one limit: a winner of its bucket or of a lower one, and its figure, nan if undefined."""

    limit: float
    winner: Found
    figure: float


def contested(space: Space, cost: Cost, limits: Sequence[float], budgets: Budgets) -> list[float]:
    """The limits under which `evolve` finds the winners: `limits`, and the upper edges of buckets below the highest.

    They are the path of best score of every bucket, and of each limit's own part of its bucket.
    """
    edges, (cheapest, _) = budgets.edges[1:-1], cost.range(space)
    below = edges[(edges >= cheapest) & (edges < max(limits, default=-np.inf))]
    return [float(limit) for limit in dict.fromkeys((*limits, *below))]


def best_measured(
    winners: Sequence[Found], limits: Sequence[float], figure: Callable[[np.ndarray], np.ndarray]
) -> list[Best]:
    """For each limit the winner of best figure among all that cost at most as much; of equal ones the cheapest.

    So a higher limit never gets a worse figure, and no returned path is dominated by another. Scores play no part.

    Parameters:
        winners: as `evolve` finds them under the `contested` limits.
        figure: distinct paths (n, genes) to figures (n,), higher is better; called once. An undefined figure, nan, is
            worse than any other; under a limit that allows no defined one, the winner of the limit's own bucket stays.
    """
    paths, place = np.unique([one.path for one in winners], axis=0, return_inverse=True)
    figures = np.asarray(figure(paths), np.float64)
    if figures.shape != (len(paths),):
        raise ConfigError(f"figure gave shape {figures.shape} for {len(paths)} paths; it must give ({len(paths)},)")
    figures, costs = figures[place], np.array([one.cost for one in winners])
    order = np.lexsort((costs, -np.where(np.isnan(figures), -np.inf, figures)))
    allowed = costs[order] <= np.asarray(limits)[:, None]  # (limits, winners), by descending figure
    best = order[allowed.argmax(axis=1)]
    own = (np.array([one.limit for one in winners]) == np.asarray(limits)[:, None]).argmax(axis=1)
    chosen = np.where(np.isnan(figures[best]), own, best)
    return [
        Best(float(limit), winners[one], float(figures[one]))
        for limit, one in zip(limits, chosen.tolist(), strict=True)
    ]
