"""Everything this package raises on purpose; the command line prints the message as one line and exits with 2.

DetOFAError
├── ConfigError     a name, key or value that the configuration may not have
├── SpaceError      a cost range, budget or pruning that leaves no path
├── DataError       a data set that cannot be read as asked
├── WeightsError    weights, or a path filter, of another network or space
├── RunFolderError  a run folder of another configuration, in use, damaged, or on a disk that refuses to write
├── HostError       something that nnabla, nnabla-nas or the device does not offer
└── NumericError    a loss, gradient or weight that is not finite
"""

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeGuard

# what a disk answers that is full, read-only or gone
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE}
REFUSED |= {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}  # or that has something else in the place
LONGEST = 2000  # characters of a message: what was given may be megabytes


def one_line(text: object) -> str:
    """`text` as one line that is safe to print: line breaks are spaces, what cannot be printed is escaped."""
    line = " ".join(str(text).splitlines())
    line = line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)


class DetOFAError(Exception):
    """Root of the tree; its message says what was given, what is wrong and what is allowed, in one line.

    `key`, `given` and `allowed`: of the option that is wrong, where the error is of one; without a `message` they make
    it.
    """

    def __init__(self, message: object = "", *, key: str = "", given: object = None, allowed: str = "") -> None:
        super().__init__(one_line(message or (key and f"{key} is {given!r}; it must be {allowed}")))
        self.key, self.given, self.allowed = key, given, allowed


class ConfigError(DetOFAError, ValueError):
    """A name, key or value that the configuration may not have."""


class SpaceError(DetOFAError, ValueError):
    """A cost range, budget or pruning that leaves no path."""


class DataError(DetOFAError, ValueError):
    """A data set that cannot be read as asked."""


class WeightsError(DetOFAError, ValueError):
    """Weights, or a path filter, of another network or space."""


class RunFolderError(DetOFAError):
    """A run folder of another configuration, in use, damaged, or on a disk that refuses to write."""


class HostError(DetOFAError, RuntimeError):
    """Something that nnabla, nnabla-nas or the device does not offer."""


class NumericError(DetOFAError, ArithmeticError):
    """A loss, gradient or weight that is not finite."""


def unknown(kind: str, given: object, known: Iterable[str], *, key: str | None = None) -> ConfigError:
    """The error for a name that is not among the known ones; names the closest when one is close.

    `kind`: what it is the name of; `key`: that of the option, where that is another.
    """
    names = sorted(str(name) for name in known)
    close = get_close_matches(str(given), names, n=1)
    hint = f" (did you mean '{close[0]}'?)" if close else ""
    known_names = ", ".join(names) or "none"
    message = f"unknown {kind} '{given}'; known: {known_names}{hint}"
    return ConfigError(message, key=kind if key is None else key, given=given, allowed=known_names)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether `value` is a finite number, of Python or of NumPy; a whole one that no float can hold is none."""
    if type(value) is float:  # COCO's annotations ask some seven million times, and an abstract class answers slowly
        return isfinite(value)
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return False


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether `value` is a whole number by its type, of Python or of NumPy; true and false are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


@contextmanager
def refusals_of_the_disk(
    remedy: str = "results go to log/NAME in the folder where the command is started",
) -> Iterator[None]:
    """RunFolderError, which ends with the `remedy`, where a folder or file cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        raise RunFolderError(f"cannot write {error.filename or Path.cwd()}: {error.strerror}; {remedy}") from error
