"""Ranking metrics inside a bucket: the figures of Table 2 and Kendall's tau."""

import numpy as np

from ..errors import ConfigError

WEAK = 0.25  # the share of each bucket's paths that Table 2 looks for
METRICS = ("accuracy", "precision", "recall", "recall_over_all", "kendall_tau")


def evaluate(scores: np.ndarray, losses: np.ndarray, buckets: np.ndarray) -> dict[str, float]:
    """Table 2 for the weakest quarter of the paths, each figure per bucket and then averaged over the buckets.

    Predicted weak are the ⌊n / 4 + ½⌋ (at least one) lowest scores of a bucket; truly weak are as many of its
    highest losses, and any loss equal to the lowest of those. `recall_over_all` divides by all paths instead of the
    weak ones, which is what the paper's recall seems to be. Buckets with fewer than two different losses say nothing
    about a ranking and are left out; with no other bucket every figure is nan.

    Parameters:
        scores: (n,), higher is better.
        losses: (n,), lower is better.
        buckets: (n,) int.
    """
    scores, losses, buckets = (np.asarray(x) for x in (scores, losses, buckets))
    if scores.ndim != 1 or not scores.shape == losses.shape == buckets.shape:
        raise ConfigError(
            f"scores {scores.shape}, losses {losses.shape} and buckets {buckets.shape} must have one value a path each"
        )
    members = [buckets == bucket for bucket in np.unique(buckets)]
    figures = [_weak_figures(scores[i], losses[i]) for i in members if np.ptp(losses[i]) > 0]
    if not figures:
        return dict.fromkeys(METRICS, float("nan"))
    return {name: float(value) for name, value in zip(METRICS, np.mean(figures, axis=0), strict=True)}


def _weak_figures(scores: np.ndarray, losses: np.ndarray) -> tuple[float, ...]:
    n = len(scores)
    k = _count(WEAK, n)
    predicted = np.zeros(n, bool)
    predicted[np.argsort(scores, kind="stable")[:k]] = True
    weak = weakest(losses, WEAK)
    hit = np.count_nonzero(predicted & weak)
    accuracy = np.mean(predicted == weak)
    return accuracy, hit / k, hit / np.count_nonzero(weak), hit / n, kendall_tau(scores, -losses)


def weakest(losses: np.ndarray, ratio: float) -> np.ndarray:
    """Which of the losses (n,) are among the highest `ratio`, or equal to the lowest of those; (n,) bool."""
    return losses >= np.sort(losses)[-_count(ratio, len(losses))]


def _count(ratio: float, n: int) -> int:
    return max(1, int(ratio * n + 0.5))


def kendall_tau(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's tau-b of two (n,) arrays, from all n² pairs; 0 where either is constant, so that it can be averaged."""
    x, y = np.asarray(x), np.asarray(y)
    order_x = np.sign(np.subtract.outer(x, x))
    order_y = np.sign(np.subtract.outer(y, y))
    untied = np.sqrt(np.count_nonzero(order_x) * np.count_nonzero(order_y))
    return float(np.vdot(order_x, order_y) / untied) if untied else 0.0
