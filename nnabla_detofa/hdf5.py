"""Plain arrays in HDF5 files, and from such that may come from anywhere (an addition; not in the paper).

A few kilobytes can declare terabytes, and a few damaged bytes can keep libhdf5 busy for ever or end the process: so
a child process reads each file first, under limits of time and memory.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .errors import DetOFAError, HostError

SECONDS = 15  # to look through a file's structure, which takes a fraction of one
DAMAGED = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGALRM)
CHILD = """
import json, os, resource, signal, sys
most = resource.getrlimit(resource.RLIMIT_AS)[1]
resource.setrlimit(resource.RLIMIT_AS, (1 << 32 if most == resource.RLIM_INFINITY else min(1 << 32, most), most))
sys.path[:] = json.loads(sys.argv[1])
import h5py
signal.alarm(int(sys.argv[2]))
try:
    with h5py.File(sys.argv[3], "r") as source:
        dict(source.attrs)
        source.visititems(lambda name, item: dict(item.attrs) and None)
except Exception:
    pass  # which is answered where it is met again
os._exit(0)
"""


@contextmanager
def opened(file: Path, refuse: Callable[[str], DetOFAError]) -> Iterator[h5py.File]:
    """The file to read from; whatever goes wrong with it is raised as `refuse(reason)`."""
    try:
        _survive(file)
        with h5py.File(file, "r") as source:
            yield source
    except DetOFAError:
        raise
    except Exception as error:  # a damaged file makes libhdf5 and h5py raise almost anything
        raise refuse(f"{error}" or type(error).__name__) from error


def _survive(file: Path) -> None:
    """ValueError where a child does not survive reading the file; signals to our process group leave it alone."""
    command = [sys.executable, "-I", "-c", CHILD, json.dumps(sys.path), str(SECONDS), str(file)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # whose threads would not fit into its memory
    code = subprocess.run(command, env=environment, start_new_session=True, capture_output=True).returncode
    if code > 0:
        raise HostError(f"{sys.executable} cannot import h5py in a process of its own, to read HDF5 files first")
    if -code in DAMAGED:
        raise ValueError(f"it is damaged: reading it ends the process, or does not end ({signal.Signals(-code).name})")


def as_bytes(arrays: Mapping[str, Any], **attributes: Any) -> bytes:
    """The content of a file of these arrays by name; made in memory, as HDF5 fails badly on a full disk."""
    content = BytesIO()
    with h5py.File(content, "w") as out:
        out.attrs.update(attributes)
        for name, value in arrays.items():
            out[name] = value
    return content.getvalue()


def read_arrays(group: h5py.Group) -> dict[str, np.ndarray]:
    """The arrays below the group by name; ValueError for one that is not plain, or where they share their bytes."""
    found: dict[str, h5py.Dataset] = {}

    def collect(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            if not isinstance(name, str) or item.dtype.kind not in "biuf":
                raise ValueError(f"{name} holds {item.dtype}, not numbers")
            elsewhere = item.external or item.is_virtual or item.chunks is not None or item.shape is None
            if elsewhere or item.id.get_storage_size() != item.nbytes:
                raise ValueError(f"{name} is compressed, in chunks, in another file or was never written")
            found[name] = item

    group.visititems(collect)
    claimed, there = sum(item.nbytes for item in found.values()), group.file.id.get_filesize()
    if claimed > there:
        raise ValueError(f"its arrays claim {claimed} bytes, and the file has {there}")
    return {name: np.asarray(item[()]) for name, item in found.items()}
