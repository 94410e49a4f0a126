"""Draws by whole numbers of ways, however large: exactly in proportion to them, many at a time."""

from bisect import bisect_right

import numpy as np

LARGE = 2**62  # from here on numbers of ways are Python's integers


def as_ways(numbers: np.ndarray) -> np.ndarray:
    """Python's integers as int64 where all of them fit."""
    return numbers if numbers.max(initial=0) >= LARGE else numbers.astype(np.int64)


def drawn(ways: np.ndarray, state: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each draw a column of its row of `ways` (states, k), as often as that has ways; (n,).

    `ways`: int64, fewer than `LARGE` in a row, or Python's integers. A row that is drawn from has some.
    """
    until = np.cumsum(ways, axis=1)
    if ways.dtype == object:
        rows = until.tolist()
        numbers = _below([rows[at][-1] for at in state], rng)
        return np.array([bisect_right(rows[at], one) for at, one in zip(state, numbers, strict=True)], np.intp)
    number = rng.integers(until[state, -1])
    first, last = np.zeros(len(state), np.intp), np.full(len(state), ways.shape[1] - 1)
    for _ in range(ways.shape[1].bit_length()):
        middle = (first + last) // 2
        beyond = until[state, middle] > number
        first, last = np.where(beyond, first, np.minimum(middle + 1, last)), np.where(beyond, middle, last)
    return first


def _below(totals: list[int], rng: np.random.Generator) -> list[int]:
    """A uniform whole number below each total: as many random bits as that has, drawn again where they are too many."""
    numbers, left = [*totals], [*range(len(totals))]
    n_bytes = -(-max(totals, default=0).bit_length() // 8)
    while left:
        drawn_bytes = rng.bytes(n_bytes * len(left))
        for place, at in enumerate(left):
            bits = int.from_bytes(drawn_bytes[n_bytes * place : n_bytes * (place + 1)], "little")
            numbers[at] = bits >> (8 * n_bytes - totals[at].bit_length())
        left = [at for at in left if numbers[at] >= totals[at]]
    return numbers
