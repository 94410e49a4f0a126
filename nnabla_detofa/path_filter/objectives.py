"""Objectives of a fit: the ranking of Eq. 4 and 5, or GreedyNASv2's question of one fixed ratio.

An objective turns the measured losses into a `truth` (n,) that is lower for the better paths, a batch's truth into
`targets`, and scores (n,) beside targets into the loss to minimise and its slopes in the scores, (n,). `groups` (n,)
says which paths compare with each other.
"""

from dataclasses import dataclass

import numpy as np

from .metrics import weakest


@dataclass(frozen=True)
class Ranking:
    """Eq. 4 and 5: the mean squared hinge over all ordered pairs of a group; serves any ratio."""

    margin: float

    def truth(self, groups: np.ndarray, losses: np.ndarray) -> np.ndarray:  # noqa: ARG002
        """The losses themselves."""
        return losses

    def targets(self, groups: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """The weights of the pairs, (n, n)."""
        return pair_weights(groups, truth)

    def loss(self, scores: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        """Eq. 5 and its slopes."""
        shortfall = np.maximum(0, self.margin - np.subtract.outer(scores, scores))
        weighted = targets * shortfall
        return float(np.vdot(weighted, shortfall)), 2 * (weighted.sum(axis=0) - weighted.sum(axis=1))


@dataclass(frozen=True)
class Binary:
    """GreedyNASv2's filter, which the paper argues against (Section 3.1.2): is a path among the weakest `ratio`?

    The score is the probability that it is not; another ratio needs another filter.
    """

    ratio: float

    def truth(self, groups: np.ndarray, losses: np.ndarray) -> np.ndarray:
        """1 for the weakest `ratio` of each group, 0 for the others."""
        weak = np.zeros(len(losses))
        for group in np.unique(groups):
            weak[groups == group] = weakest(losses[groups == group], self.ratio)
        return weak

    def targets(self, groups: np.ndarray, truth: np.ndarray) -> np.ndarray:  # noqa: ARG002
        """The probability that a path is good, (n,)."""
        return 1 - truth

    def loss(self, scores: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean binary cross-entropy and its slopes."""
        good = np.clip(scores.astype(np.float64), 1e-12, 1 - 1e-12)
        loss = -np.mean(targets * np.log(good) + (1 - targets) * np.log(1 - good))
        return float(loss), (good - targets) / (good * (1 - good) * len(good))


Objective = Ranking | Binary
OBJECTIVES = ("ranking", "binary")


def any_pairs(groups: np.ndarray, truth: np.ndarray) -> bool:
    """Whether two of a group differ in truth: with none, there is no pair to rank and nothing to tell apart."""
    return len(set(zip(groups.tolist(), truth.tolist(), strict=True))) > len(np.unique(groups))


def pair_weights(groups: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The weight of each ordered pair (a, a') in the mean of Eq. 5, (n, n) float32: 1 / pairs where t = 1 (Eq. 4).

    Those are the pairs of one group with the strictly lower loss on the left. Pairs with t = 0 have a constant loss.
    """
    counted = (groups[:, None] == groups) & (truth[:, None] < truth)
    return (counted / max(counted.sum(), 1)).astype(np.float32)
