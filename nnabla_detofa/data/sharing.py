"""One reading of each split for all that a run builds of it: three loaders, and its examination (an addition)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from ..errors import DataError

F = TypeVar("F", bound=Callable[..., Any])
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


def read_once(read: F) -> F:
    """The reader `read` of a folder and a large annotation file; its last two readings serve again, in any scope, while
    the time and size of the file are the same. DataError for a file that is not there."""
    known = lru_cache(maxsize=2)(lambda _stamp, *given, **options: read(*given, **options))  # COCO takes half a minute

    @wraps(read)
    def again(folder: str | Path, file: str | Path, *, classes: Sequence[Any] | None = None, **options: Any) -> Any:
        folder, file = Path(folder), Path(file)
        try:
            status = file.stat()
        except OSError as error:
            raise DataError(f"cannot read the annotations {file}: {error.strerror}") from error
        names, stamp = None if classes is None else tuple(map(str, classes)), (status.st_mtime_ns, status.st_size)
        return known(stamp, folder, file, classes=names, **options)

    return cast(F, again)
