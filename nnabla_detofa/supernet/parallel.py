"""Kernels on all cores: NumPy lets go of Python's lock, so plain threads share one kernel's images or channels.

BLAS should run on one thread then (the command line sees to it): its own threads wait by spinning, which starves a
machine that does anything else.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

THREADS = min(len(os.sched_getaffinity(0)), 8)
_LEAST_WORK = 1 << 18  # floats a thread handles at least; less is done before another thread wakes up


def split(n: int, work: int, *, most: int | None = None) -> list[slice]:
    """Even slices of range(n): one a thread if `work` floats are worth it, more where `most` bounds their length."""
    parts = max(1, min(THREADS, n, work // _LEAST_WORK))
    if most is not None:
        parts = max(parts, -(-n // max(1, most)))
    bounds = [n * i // parts for i in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(bounds)]


def run(function: Callable[[slice], T], parts: list[slice]) -> list[T]:
    """function(part) for each part, in the parts' order; the calling thread does the first itself."""
    if len(parts) == 1:
        return [function(parts[0])]
    rest = [_pool().submit(function, part) for part in parts[1:]]
    return [function(parts[0]), *(future.result() for future in rest)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, THREADS - 1), "kernels")
