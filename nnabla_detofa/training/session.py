"""Session of a run: lines, bars and curves, random streams, and the other processes (an addition; not in the paper)."""

import copy
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import nnabla as nn
import numpy as np
from tqdm import tqdm

from ..host.communicator import require_same
from ..signals import Stopped
from .interruption import StopRequest

IN_LOGS = 10.0  # seconds between two states of a bar that nobody watches, or a day of them has megabytes
REMEDY = "each computed them, and their machines round differently: start all on machines of one kind"


class Processes:
    """The processes of a run, which all do the same but for what they share; `comm` is the host's communicator."""

    def __init__(self, comm: Any):
        self._comm, self.n, self.rank = comm, comm.n_procs, comm.rank

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that speaks and writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for the others."""
        if self.n > 1:
            self._comm.comm.barrier()

    def average(self, arrays: list[nn.NdArray]) -> None:
        """Each array becomes its mean over all processes."""
        if self.n > 1:
            self._comm.all_reduce(arrays, division=True, inplace=False)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Element-wise mean of an array over all processes, as `sum`."""
        return self.sum(values) / self.n

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Element-wise sum of an array over all processes; in single precision, whatever the context and their
        number."""
        array = nn.NdArray.from_numpy_array(values.astype(np.float32) + np.float32(0))  # -0, which no sum has, is 0
        if self.n > 1:
            self._comm.all_reduce([array], division=False, inplace=False)
        return array.data.astype(values.dtype)

    def any(self, *wishes: bool) -> list[bool]:
        """Whether any process has each wish, the same on all of them; all have to ask at the same place."""
        return list(wishes) if self.n == 1 else (self.sum(np.array(wishes, float)) > 0).tolist()

    def of_first(self, wish: bool) -> bool:
        """Whether the first process has the wish, the same on all of them; all have to ask at the same place."""
        return self.any(wish and self.is_first)[0]

    def number_of_first(self, number: int) -> int:
        """The first process's number, below 2**24, on all of them; all have to ask at the same place."""
        return int(self.sum(np.array([number if self.is_first else 0.0]))[0])

    def require_same(self, what: str, values: np.ndarray) -> None:
        """HostError, on all processes, where an array of one is not the first's; all have to ask at the same place.

        All compute the same from the same numbers, but machines that round differently, which would part unnoticed, or
        wait for each other for ever.
        """
        require_same(self._comm, what, values.tobytes().hex(), REMEDY)


class Session:
    """One session of a run.

    Args:
        monitor: the host's, with the log and TensorBoard's curves.
        processes: of the run.
        seed: of all random streams.
    """

    def __init__(self, monitor: Any, processes: Processes, *, seed: int):
        self._monitor, self.processes, self._seed = monitor, processes, seed
        self.stop = StopRequest(alone=processes.n == 1)
        self._quiet = False

    def quiet(self) -> "Session":
        """The same session without a word."""
        other = copy.copy(self)
        other._quiet = True
        return other

    def say(self, line: str) -> None:
        """A line to the terminal and the log, from rank 0 alone."""
        if not self._quiet:
            self._monitor.info(f"{line}\n")

    def progress(self, iterable: Iterable | None, name: str, **options: Any) -> tqdm:
        """A bar with ETA over an iterable, on rank 0."""
        silent = self._quiet or not self.processes.is_first
        seconds = 1.0 if sys.stderr.isatty() else IN_LOGS
        return tqdm(iterable, desc=name, disable=silent, dynamic_ncols=True, mininterval=seconds, **options)

    @contextmanager
    def bar(self, name: str, *, total: int | None) -> Iterator[Callable[..., None]]:
        """A bar with ETA as a callable that takes a step, whatever it is given; the run may be stopped behind one."""

        def step(*_: Any) -> None:
            bar.update()
            self.pause()

        with self.progress(None, name, total=total) as bar:
            yield step

    def curve(self, name: str, value: float, step: int) -> None:
        """One point of a TensorBoard curve, from rank 0."""
        if self.processes.is_first:
            self._monitor.tb.add_scalar(name, float(value), step)

    def flush_curves(self) -> None:
        """All points so far are on the disk, where the page of a run reads them."""
        if self.processes.is_first:
            self._monitor.tb.flush()

    def rng(self, purpose: str) -> np.random.Generator:
        """A stream of its own for each purpose, from the run's one seed; the same on all ranks."""
        return np.random.default_rng([self._seed, zlib.crc32(purpose.encode())])

    def pause(self) -> None:
        """End the session, on all processes, if one was asked to stop; called where nothing would be lost."""
        if any(self.processes.any(self.stop.asked)):
            self.end()

    def end(self) -> NoReturn:
        """End the session on all processes, which have agreed to, once all have saved what they had to."""
        self.processes.barrier()  # or the launcher ends those that are still writing with the first that is gone
        raise Stopped(self.stop.came)
