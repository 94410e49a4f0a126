"""What `nnabla_detofa device` says: device, libraries, processes and versions (an addition; not in the paper)."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import distributions
from importlib.util import find_spec

from ..errors import HostError
from ..processes import local_rank
from ..threads import THREADS
from .cuda_libraries import FOR_PROCESSES, INSTALL, ITS_LIBRARY, NEEDED, Library, extension, find
from .device import open_device
from .gpus import device_number, gpus, open_cuda, require_all_named

EXTENSIONS = ("nnabla-ext-cuda120", "nnabla-ext-cuda116", "nnabla-ext-cuda110")
PACKAGES = ("nnabla-detofa", "nnabla", *EXTENSIONS, "nnabla-nas", "numpy", "mpi4py")


def device_lines() -> Iterator[str]:
    """What a run would find here, row by row, each lack with what mends it; empty in all processes but the first."""
    try:
        _, visible = open_cuda()
        require_all_named(visible)
        usable, context = True, "auto takes cudnn"
    except HostError as error:
        visible, usable, context = 0, False, f"auto takes cpu: {error}"
    rank, processes = _processes("cudnn" if usable else "cpu")
    if rank:
        return
    yield _row("context", context)
    yield from _rows("GPUs", _gpus(visible))
    yield from _rows("libraries", _libraries())
    yield _row("processes", processes)
    given = os.environ.get("OMP_NUM_THREADS")
    omp = "" if given is None else f"; OMP_NUM_THREADS is {given}"
    yield _row("cores", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} for this process, {THREADS} threads{omp}")
    yield _row("versions", ", ".join((f"python {platform.python_version()}", *_versions())))


def _gpus(visible: int) -> Iterator[str]:
    """A line each; a process tells which one is its own."""
    try:
        found = gpus()
    except HostError as error:
        yield f"none: {error}"
        return
    own = device_number(visible) if visible else None
    for number, gpu in enumerate(found):
        major, minor = gpu.capability
        mine = f", of this process (rank {local_rank()} on this node)" if number == own else ""
        doubt = f"; {gpu.doubt}" if gpu.doubt else ""
        yield f"{number}  {gpu.name}, {gpu.bytes / 2**30:.0f} GiB, sm_{major}{minor}{mine}{doubt}"


def _libraries() -> Iterator[str]:
    """What the installed extension needs, found or missing."""
    folder = extension()
    if folder is None:
        yield f"not looked for, as the CUDA extension is not installed: {INSTALL.format('cuda120')}"
    elif not list(folder.glob(ITS_LIBRARY.replace("*", "120*"))):
        yield "known of the extension for CUDA 12.0 alone, and this is another: the context above says what it lacks"
    else:
        yield from map(_library, (*NEEDED, *FOR_PROCESSES))


def _library(library: Library) -> str:
    return f"{library.file:<18} {find(library) or f'missing: {library.mend}'}"


def _processes(context: str) -> tuple[int, str]:
    """The rank of this process, and what they talk through."""
    try:
        communicator, _ = open_device(context=context)
    except HostError as error:
        return 0, f"none that can talk: {error}"
    if communicator.comm is None:
        several = (
            "several are started by mpirun or srun --mpi=pmix"
            if find_spec("mpi4py")
            else f"for several: {INSTALL.format('mpi')}"
        )
        return 0, f"1, and no communicator; {several}"
    through = "NCCL" if type(communicator.comm).__module__.startswith("nnabla.") else "mpi4py"
    return communicator.rank, f"{communicator.n_procs} through {through}"


def _versions() -> Iterator[str]:
    found = {one.metadata["Name"]: one.version for one in distributions()}
    return (f"{package} {found[package]}" for package in PACKAGES if package in found)


def _rows(name: str, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield _row("" if number else name, line)


def _row(name: str, text: str) -> str:
    return f"{name:<10} {text}"
