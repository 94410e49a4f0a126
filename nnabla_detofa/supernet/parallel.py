"""Kernels on all cores: NumPy lets go of Python's lock, so plain threads share one kernel's images or channels.

BLAS should run on one thread then (the command line sees to it): its own threads wait by spinning, which starves a
machine that does anything else.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

THREADS = min(len(os.sched_getaffinity(0)), 8)
_LEAST_WORK = 1 << 17  # floats a thread passes over at least; less is done before another thread wakes up


def over(n: int, function: Callable[[slice], object], *, work: int, most: int | None = None) -> None:
    """Call function(part) for even slices that make up range(n), on as many threads as `work` floats are worth.

    `most` bounds the slices' length; the calling thread does the first share itself.
    """
    first, *others = _even(0, n, min(THREADS, n, work // _LEAST_WORK))

    def share(span: slice) -> None:
        length = span.stop - span.start
        for part in _even(span.start, span.stop, -(-length // max(1, most)) if most is not None else 1):
            function(part)

    waiting = [_pool().submit(share, span) for span in others]
    share(first)
    for future in waiting:
        future.result()


def _even(start: int, stop: int, parts: int) -> list[slice]:
    parts = max(1, parts)
    bounds = [start + (stop - start) * i // parts for i in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(bounds)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, THREADS - 1), "kernels")
