"""SIGTERM, SIGUSR1 and Ctrl-C as a wish that a run grants where nothing is lost (an addition; not in the paper)."""

import os
import signal
import threading
from types import FrameType
from typing import Any

STOP = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """A context in which these signals set `asked`; a second SIGTERM or Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.asked = False
        self._urgent = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread set handlers
            self._before = {one: signal.signal(one, self._ask) for one in STOP}
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        name = signal.Signals(number).name
        self.asked = True
        self._urgent += number != signal.SIGUSR1  # a scheduler may send SIGUSR1 some time before SIGTERM
        if self._urgent > 1:
            _tell(f"{name}: ended at once; the same command goes on from the last checkpoint")
            os._exit(os.EX_TEMPFAIL)
        _tell(f"{name}: finishing what is in hand and saving; a second SIGTERM or Ctrl-C ends at once")


def _tell(line: str) -> None:
    """To standard error past its buffer, which the signal may have met half written."""
    os.write(2, f"\nnnabla_detofa: {line}\n".encode())
