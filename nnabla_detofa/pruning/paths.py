"""Path pruning (Section 3.2, Algorithm 1 lines 6 and 10-13): thresholds of the buckets, and the paths that pass."""

import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from ..errors import ConfigError, SpaceError, unknown
from ..options import Whole, checked, ratio
from ..space import Budgets, CostModel, Draw, DrawnPaths, Score, SearchSpace, path_scores

MOST_BATCHES = 100  # drawn in a row without one accepted path


@dataclass(frozen=True, eq=False)
class PathThresholds:
    """Sorted scores of uniform paths of each bucket; any ratio reads its δ off them, nothing is fitted again."""

    scores: tuple[np.ndarray, ...]

    def at(self, path_ratio: float) -> np.ndarray:
        """δ of each bucket, (n_buckets,): the `path_ratio` quantile; -inf at ratio 0 and for buckets without paths."""
        share = ratio().required("path_ratio", path_ratio)
        return np.array([np.quantile(s, share) if share and len(s) else -np.inf for s in self.scores])


@checked("pruning", "rng")
def path_thresholds(
    space: SearchSpace,
    score: Score,
    cost: CostModel,
    budgets: Budgets,
    *,
    paths_per_bucket: Annotated[int, Whole()] = 1000,
    rng: np.random.Generator,
) -> PathThresholds:
    """Score `paths_per_bucket` paths drawn uniformly from each bucket of `space` (line 6)."""
    scores, reachable = [np.empty(0)] * len(budgets), budgets.reachable(space, cost)
    for bucket, paths in zip(reachable, budgets.sample(space, cost, paths_per_bucket, rng, reachable), strict=True):
        scores[bucket] = np.sort(path_scores(score, paths))
    return PathThresholds(tuple(scores))


def fixed_random_score(space: SearchSpace, rng: np.random.Generator) -> Score:
    """A score in [0, 1) that is random from path to path but always the same for one path.

    In place of the filter's it drops the same share of the paths at random (Fig. 8, right); dropping draws instead of
    paths would leave the distribution as it was.
    """
    key = rng.integers(2**63, size=space.family.n_genes, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

    def score(paths: np.ndarray) -> np.ndarray:
        mixed = ((paths.astype(np.int64) + 1).astype(np.uint64) * key).sum(axis=1, dtype=np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # spreads every bit (splitmix64)
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53

    return score


PATH_STRATEGIES = ("score", "uniform")


def pruning_score(strategy: str, score: Score, space: SearchSpace, rng: np.random.Generator) -> Score:
    """The score that path pruning goes by: the filter's for "score", a fixed random one for "uniform"."""
    if strategy not in PATH_STRATEGIES:
        raise unknown("path strategy", strategy, PATH_STRATEGIES)
    return score if strategy == "score" else fixed_random_score(space, rng)


class AcceptedPaths(DrawnPaths):
    """Lines 10-13 as a stream: drawn paths with score at least the δ of their bucket.

    Scored in batches, accepted ones queued in order, so their distribution is that of the loop.
    `space` is 𝒜̃; `seconds` holds the time spent drawing and scoring; `drawn` and `rejected` (n_buckets,) count paths.
    Thresholds are of paths uniform within a bucket: of draws that are not, another share than `path_ratio` is rejected.
    """

    def __init__(
        self,
        space: SearchSpace,
        score: Score,
        cost: CostModel,
        budgets: Budgets,
        *,
        thresholds: np.ndarray,
        rng: np.random.Generator,
        draw: Draw | None = None,
        batch: int = 256,
    ) -> None:
        """`thresholds` (n_buckets,), as `PathThresholds.at` gives them; `draw` as a ~ U(𝒜̃) where None."""
        super().__init__(draw or space.sample, rng, batch=batch)
        self.space, self._score, self._cost, self._budgets = space, score, cost, budgets
        self._thresholds = thresholds
        self.drawn, self.rejected = np.zeros((2, len(budgets)), np.int64)
        self.seconds = 0.0

    def _refill(self) -> np.ndarray:
        """Those of a batch that are accepted; SpaceError where practically none is."""
        began = time.perf_counter()
        for _ in range(MOST_BATCHES):
            paths = self._draw(self._batch, self._rng)
            bucket = self._budgets.bucket(self._cost(paths))
            accepted = path_scores(self._score, paths) >= self._thresholds[bucket]
            self.drawn += np.bincount(bucket, minlength=len(self._budgets))
            self.rejected += np.bincount(bucket[~accepted], minlength=len(self._budgets))
            if accepted.any():
                self.seconds += time.perf_counter() - began
                return paths[accepted]
        raise SpaceError(
            f"none of {MOST_BATCHES * self._batch:,} drawn paths reached its bucket's threshold; lower path_ratio"
        )

    def state(self) -> dict[str, Any]:
        """Queue, generator and counts."""
        counts = {"drawn": self.drawn.tolist(), "rejected": self.rejected.tolist(), "seconds": self.seconds}
        return {**super().state(), **counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave; ConfigError where it is of another space or generator."""
        try:
            queue = np.array(state["queue"], np.int8).reshape(-1, self.space.family.n_genes)
            if not self.space.contains(queue).all():
                raise ValueError("a queued path is not of this space")
            drawn, rejected = np.array([state["drawn"], state["rejected"]], np.int64).reshape(2, len(self._budgets))
            self._rng.bit_generator.state = state["rng"]
            self.seconds = float(state["seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"this state of the accepted paths cannot be restored: {error}") from None
        self._queue, self.drawn, self.rejected = queue, drawn, rejected
