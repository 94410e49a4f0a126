"""SIGTERM, SIGUSR1, SIGUSR2, SIGHUP and Ctrl-C as a wish that a run grants where nothing is lost (an addition)."""

import os
import signal
from contextlib import ExitStack
from types import FrameType

from ..signals import handled_by

URGENT = (signal.SIGTERM, signal.SIGINT)
NTH = {2: "second", 3: "third"}


class StopRequest:
    """A context in which these signals set `asked`; a second SIGTERM or Ctrl-C ends the process at once.

    A scheduler may send SIGUSR1 some time before SIGTERM, and a terminal that goes away sends SIGHUP twice, once itself
    and once through its shell: neither is impatience. So does SLURM with SIGTERM, through srun: there it takes a third.
    One of several processes says nothing: a signal may be how another one, which has told why, ends it.
    """

    def __init__(self, *, alone: bool = True) -> None:
        self.came: list[signal.Signals] = []
        self._alone = alone
        self._held = ExitStack()

    def __enter__(self) -> "StopRequest":
        self._held.enter_context(handled_by(self._ask))
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @property
    def asked(self) -> bool:
        """Whether one came."""
        return bool(self.came)

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.came.append(signal.Signals(number))
        name = self.came[-1].name
        urgent, last = sum(one in URGENT for one in self.came), 3 if "SLURM_STEP_ID" in os.environ else 2
        if urgent >= last:
            self._tell(f"{name}: ended at once; the same command goes on from the last checkpoint")
            os._exit(os.EX_TEMPFAIL)
        self._tell(f"{name}: finishing what is in hand and saving; a {NTH[last]} SIGTERM or Ctrl-C ends at once")

    def _tell(self, line: str) -> None:
        """To standard error past its buffer, which the signal may have met half written."""
        if self._alone:
            os.write(2, f"\nnnabla_detofa: {line}\n".encode())
