"""Signals that ask a run to end, and a terminal that is gone (an addition; not in the paper)."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

STOP = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT, signal.SIGHUP)
STANDARD = (1, 2)  # file descriptors of what a run says


class Stopped(KeyboardInterrupt):
    """All processes of a run have agreed to end here, and what they have done is saved.

    Args:
        numbers: the signals that came to this one.
    """

    def __init__(self, numbers: Iterable[signal.Signals] = ()):
        super().__init__("stopped by a signal")
        self.numbers = tuple(numbers)


@contextmanager
def handled_by(handler: Callable[..., Any], afterwards: signal.Handlers | None = None) -> Iterator[None]:
    """The signals of `STOP` go to `handler` inside, and `afterwards` where they went before, or there.

    Python lets only the main thread set handlers, so elsewhere nothing is changed. A SIGHUP that is ignored stays so:
    that is what nohup is for. Terminals that a hang-up takes away are written to no more.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminals = [stream for stream in STANDARD if os.isatty(stream)]

    def handle(number: int, frame: Any) -> None:
        if number == signal.SIGHUP:
            _drop_lost(terminals)
        handler(number, frame)

    kept = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
    before = {one: signal.signal(one, handle) for one in STOP if one not in kept}
    try:
        yield
    finally:
        with held_back():
            for one, previous in before.items():
                signal.signal(one, afterwards or previous)


def held_back() -> AbstractContextManager[None]:
    """Those that come inside are delivered behind it."""
    return _masked(signal.SIG_BLOCK)


def let_through() -> AbstractContextManager[None]:
    """Inside `held_back`: those that were held back are delivered here, and those that come inside at once."""
    return _masked(signal.SIG_UNBLOCK)


@contextmanager
def _masked(how: int) -> Iterator[None]:
    before = signal.pthread_sigmask(how, STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _drop_lost(terminals: list[int]) -> None:
    """Writing to a terminal that is gone is an error, at which a run would end before it has saved."""
    for stream in terminals:
        if not os.isatty(stream):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream)
            os.close(nowhere)
