"""The answer of every property: a result or one of our errors, in one line and in bounded time."""

import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis.strategies import SearchStrategy

from nnabla_detofa.errors import LONGEST, DetOFAError

SECONDS = 20  # of one example; a busy machine needs a fraction of a second
RESULT = "result"


class Property(NamedTuple):
    """Examples, and what is done with each in an empty or earlier used folder; the answer is `RESULT` or an error's
    name, anything else raises."""

    examples: SearchStrategy
    answer: Callable[[Any, Path], str]


def answer(call: Callable[[], object]) -> str:
    """`RESULT`, or the name of our error; whatever else happens goes on to the caller."""
    with in_time(SECONDS), warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            call()
        except DetOFAError as error:
            check_message(str(error))
            return type(error).__name__
    return RESULT


def check_message(message: str) -> None:
    """One line that can be printed and read."""
    assert message, "an error without a message"
    assert message.isprintable(), f"not printable: {message!r}"
    assert len(message) <= LONGEST + 16, f"{len(message)} characters long"


@contextmanager
def in_time(seconds: int) -> Iterator[None]:
    """TimeoutError in the main thread after so many seconds."""

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
