"""One reading of each split for all that a run builds of it: three loaders, and its examination (an addition)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_known: ContextVar[dict[Any, Any] | None] = ContextVar("known", default=None)


@contextmanager
def splits_shared() -> Iterator[None]:
    """The scope in which a split is read once, whatever becomes of its files meanwhile."""
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def read_split(options: Any, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> Any:
    """As `options.read`, or what equal options gave for it in the same scope.

    A strict reading that succeeded met nothing that another would have forgiven, so it serves for both.
    """
    known, key = _known.get(), (type(options), repr(options), split, None if classes is None else tuple(classes))
    if known is not None and key in known:
        return known[key]
    found = options.read(split, classes, strict=strict)
    if known is not None and strict:
        known[key] = found
    return found
