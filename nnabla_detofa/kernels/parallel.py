"""Kernels on all cores: plain threads share one kernel's images or channels; see `threads`."""

from collections.abc import Callable
from itertools import pairwise

from ..threads import THREADS, one_blas_thread, pool

_LEAST_WORK = 1 << 19  # floats a thread passes over at least; less is done before another thread wakes up


def over(n: int, function: Callable[[slice], object], *, work: int, most: int | None = None) -> None:
    """Call function(part) for even slices that make up range(n), on as many threads as `work` floats are worth.

    `most` bounds the slices' length; the calling thread does the first share itself.
    """
    first, *others = _even(0, n, min(THREADS, n, work // _LEAST_WORK))

    def share(span: slice) -> None:
        length = span.stop - span.start
        for part in _even(span.start, span.stop, -(-length // max(1, most)) if most is not None else 1):
            function(part)

    with one_blas_thread():
        waiting = [pool().submit(share, span) for span in others]
        share(first)
        for future in waiting:
            future.result()


def _even(start: int, stop: int, parts: int) -> list[slice]:
    parts = max(1, parts)
    bounds = [start + (stop - start) * i // parts for i in range(parts + 1)]
    return [slice(*pair) for pair in pairwise(bounds)]
