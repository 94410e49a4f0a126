"""Loops that Numba compiles at their first call on a machine, and keeps beside their file or in the user's cache."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(*, fastmath: set[str]) -> Callable[[Callable], Any]:
    """A decorator of loops over arrays that leave Python's lock to others; `fastmath` holds what LLVM may rearrange."""
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": fastmath}

    def decorate(function: Callable) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:  # there is no folder that the user may write to
            return njit(**options)(function)

    return decorate
