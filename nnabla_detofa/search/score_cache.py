"""Scores of the paths that a search has met, so that no path is scored twice."""

import numpy as np

from ..space import Score, path_scores


class ScoreCache:
    """`score` with a cache, shared by several searches that each know what they have met themselves.

    Distinct paths are numbered in the order in which they are met; `scores` (paths met,) is by number.
    """

    def __init__(self, score: Score, *, searches: int) -> None:
        self._score = score
        self._numbers: dict[bytes, int] = {}
        self._met: list[set[bytes]] = [set() for _ in range(searches)]
        self.scores = np.empty(0)

    @property
    def met(self) -> list[int]:
        """Number of distinct paths that each search has met."""
        return [len(own) for own in self._met]

    def knows(self, paths: np.ndarray, search: np.ndarray) -> np.ndarray:
        """Whether each path (n, genes) has been met by its search (n,); (n,) bool."""
        own = zip(_keys(paths), search.tolist(), strict=True)
        return np.fromiter((key in self._met[one] for key, one in own), bool, len(paths))

    def __call__(self, population: np.ndarray) -> np.ndarray:
        """Numbers (searches, n) of paths (searches, n, genes); new ones are scored in one call, without repetition."""
        paths = population.reshape(-1, population.shape[2])
        first: list[int] = []
        numbers = np.empty(len(paths), np.intp)
        for row, key in enumerate(_keys(paths)):
            numbers[row] = self._numbers.setdefault(key, len(self._numbers))
            self._met[row // population.shape[1]].add(key)
            if numbers[row] == len(self.scores) + len(first):
                first.append(row)
        if first:
            self.scores = np.concatenate([self.scores, path_scores(self._score, paths[first])])
        return numbers.reshape(population.shape[:2])


def _keys(paths: np.ndarray) -> list[bytes]:
    """The bytes of each row without trailing zeros: exact for rows of one length, whatever the number of genes."""
    rows = np.ascontiguousarray(paths)
    return rows.view(f"S{rows.shape[1] * rows.itemsize}").ravel().tolist()
