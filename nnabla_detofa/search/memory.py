"""Scores of the paths that a search has met, so that no path is scored twice."""

from collections.abc import Callable

import numpy as np

from ..errors import ConfigError, NumericError


class ScoreMemory:
    """`score` with a memory: numbers distinct paths in the order in which they are met."""

    def __init__(self, score: Callable[[np.ndarray], np.ndarray]) -> None:
        self._score = score
        self._numbers: dict[bytes, int] = {}
        self.scores = np.empty(0)  # (paths met,), by number

    def knows(self, paths: np.ndarray) -> np.ndarray:
        """Whether each path has been met, (n,) bool."""
        return np.fromiter((key in self._numbers for key in _keys(paths)), bool, len(paths))

    def __call__(self, paths: np.ndarray) -> np.ndarray:
        """The number of each path, (n,) int; the new ones are scored in one call, without repetition."""
        first: list[int] = []
        numbers = np.empty(len(paths), np.intp)
        for row, key in enumerate(_keys(paths)):
            number = self._numbers.setdefault(key, len(self._numbers))
            if number == len(self.scores) + len(first):
                first.append(row)
            numbers[row] = number
        if first:
            self.scores = np.concatenate([self.scores, self._checked(paths[first])])
        return numbers

    def _checked(self, paths: np.ndarray) -> np.ndarray:
        scores = np.asarray(self._score(paths), np.float64)
        if scores.shape != (len(paths),):
            raise ConfigError(f"score gave shape {scores.shape} for {len(paths)} paths; it must give ({len(paths)},)")
        if not np.isfinite(scores).all():
            raise NumericError(f"score gave {np.count_nonzero(~np.isfinite(scores))} values that are not finite")
        return scores


def _keys(paths: np.ndarray) -> list[bytes]:
    """The bytes of each row without trailing zeros: exact for rows of one length, whatever the number of genes."""
    rows = np.ascontiguousarray(paths)
    return rows.view(f"S{rows.shape[1] * rows.itemsize}").ravel().tolist()
