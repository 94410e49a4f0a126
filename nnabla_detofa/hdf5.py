"""Arrays from HDF5 files that may come from anywhere: plain ones, and no more of them than the file has bytes.

A few kilobytes can declare terabytes: an array that was never written, that is compressed, or that lies in other files.
And a few damaged bytes can keep libhdf5 busy for ever, or end the process; so another process reads a file first.
(An addition; not in the paper.)
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import h5py
import numpy as np

from .errors import DetOFAError, HostError

SECONDS = 15  # to look through a file's structure, which takes a fraction of one
TO_BEGIN = 300  # seconds: many processes may load their libraries from one slow disk
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)  # others were sent by somebody
PROBE = """
import json, os, resource, signal, sys
most = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (1 << 32 if most == resource.RLIM_INFINITY else min(1 << 32, most), most))
sys.path[:] = json.loads(sys.stdin.readline())
import h5py
print("ready", flush=True)

def look(file):
    with h5py.File(file, "r") as source:
        dict(source.attrs)
        source.visititems(lambda name, item: dict(item.attrs) and None)

for line in sys.stdin:
    if not (reader := os.fork()):  # a damaged file may leave behind anything
        signal.alarm(60)  # where nobody is left to end it
        try:
            look(json.loads(line))
        except Exception:
            pass  # which is answered where it is met again
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]), flush=True)
"""


@contextmanager
def opened(file: Path, refuse: Callable[[str], DetOFAError]) -> Iterator[h5py.File]:
    """The file to read from; whatever goes wrong with it is raised as `refuse(reason)`."""
    if reason := _probe(os.getpid()).refusal(file):
        raise refuse(reason)
    try:
        with h5py.File(file, "r") as source:
            yield source
    except DetOFAError:
        raise
    except Exception as error:  # a damaged file makes libhdf5 and h5py raise almost anything
        raise refuse(f"{error}" or type(error).__name__) from error


@cache
def _probe(pid: int) -> "Probe":
    """That of this process; a fork has one of its own."""
    probe = Probe()
    atexit.register(lambda: probe.end() if os.getpid() == pid else None)
    return probe


class Probe:
    """Another process that reads files before this one does; it begins when it is first asked and ends with this one.

    Signals to this one's group leave it alone.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None

    def refusal(self, file: Path) -> str:
        """Why libhdf5 cannot be left alone with the file; empty where it can."""
        try:
            if self._process is None or self._process.poll() is not None:
                self._begin()
            answer = self._ask(str(file), SECONDS)
        except BaseException:  # a signal between question and answer
            self.end()
            raise
        if answer is None:
            self.end()
            return f"it is damaged, or the disk hangs: reading it does not end within {SECONDS} s"
        code = int(answer or 0)
        return f"it is damaged: reading it ends the process (signal {-code})" if -code in CRASHES else ""

    def _begin(self) -> None:
        self.end()
        command, pipe = [sys.executable, "-I", "-c", PROBE], subprocess.PIPE
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # no thread to lose in a fork
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, start_new_session=True)
        if not self._ask(sys.path, TO_BEGIN):
            self.end()
            raise HostError(f"{sys.executable} cannot import h5py in a process of its own, to read HDF5 files first")

    def _ask(self, question: object, seconds: float) -> bytes | None:
        """The line that answers; empty where the process ended, None where none comes in time."""
        assert self._process is not None and self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # ended by somebody just now: then there is no answer either
            self._process.stdin.write(f"{json.dumps(question)}\n".encode())
            self._process.stdin.flush()
        there = select.select([self._process.stdout], [], [], seconds)[0]
        return self._process.stdout.readline() if there else None

    def end(self) -> None:
        """End the process, if there is one, and all that it has begun."""
        if self._process is not None:
            with suppress(BrokenPipeError), self._process:
                if self._process.poll() is None:
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._process = None


def read_arrays(group: h5py.Group) -> dict[str, np.ndarray]:
    """Every array below the group by name; ValueError for one that is not plain, or where they share their bytes."""
    found: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if not isinstance(name, str):
            raise ValueError(f"the name {name!r} is no text")
        if isinstance(item, h5py.Dataset):
            _require_plain(name, item)
            found[name] = item

    group.visititems(collect)
    claimed, there = sum(item.nbytes for item in found.values()), group.file.id.get_filesize()
    if claimed > there:
        raise ValueError(f"its arrays claim {claimed} bytes, and the file has {there}")
    return {name: np.asarray(item[()]) for name, item in found.items()}


def _require_plain(name: str, item: h5py.Dataset) -> None:
    if item.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {item.dtype}, not numbers")
    nowhere = item.external or item.is_virtual or item.shape is None
    if nowhere or item.chunks is not None or item.id.get_storage_size() != item.nbytes:
        raise ValueError(f"{name} is compressed, in chunks, in another file or was never written")
