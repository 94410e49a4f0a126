"""Threads of our own, and BLAS on one of them meanwhile (an addition; not in the paper).

NumPy lets go of Python's lock, so plain threads share a kernel's images or a block of paths. BLAS has to run on one
thread then: its own wait by spinning, which starves a machine that does anything else. It is told so at run time, where
the threads are put to work, so whoever calls needs no environment variable, and has BLAS as it was afterwards.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ContextDecorator
from functools import cache
from threading import Lock

from threadpoolctl import LibController, ThreadpoolController

from .processes import cores

THREADS = min(cores(), 8)


@cache
def pool() -> ThreadPoolExecutor:
    """The threads beside the calling one, which does its share itself."""
    return ThreadPoolExecutor(max(1, THREADS - 1), "nnabla_detofa")


class one_blas_thread(ContextDecorator):  # noqa: N801 - reads as `with one_blas_thread():`
    """A scope in which every BLAS of the process has one thread; the last to leave gives back what there was.

    The outermost costs some microseconds, one inside another nothing: a run holds one from its start to its end, and a
    kernel that is called without a run holds its own.
    """

    _lock, _inside = Lock(), 0
    _before: tuple[tuple[LibController, int], ...] = ()

    def __enter__(self) -> None:
        scope = one_blas_thread
        with scope._lock:
            if not scope._inside:
                scope._before = tuple((blas, blas.num_threads) for blas in _loaded())
                _set((blas, 1) for blas, _ in scope._before)
            scope._inside += 1

    def __exit__(self, *_: object) -> None:
        scope = one_blas_thread
        with scope._lock:
            scope._inside -= 1
            if not scope._inside:
                _set(scope._before)


def _set(counts: Iterable[tuple[LibController, int]]) -> None:
    """From whichever thread: threadpoolctl 3.8 lets only the first one that asked set OpenBLAS, unless it gives way."""
    for blas, threads in counts:
        give_way = getattr(blas, "clear_controlling_thread", lambda **_: None)
        give_way(force=True)
        blas.set_num_threads(threads)
        give_way(force=True)


@cache
def _loaded() -> list[LibController]:
    """Every BLAS that is loaded when a scope is first entered: NumPy's and, with scikit-learn, SciPy's."""
    return ThreadpoolController().select(user_api="blas").lib_controllers
