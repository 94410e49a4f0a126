"""The libraries of nnabla's CUDA extension: loaded in order, seen by whom they should be, and told where missing."""

import configparser
import ctypes
import os
from pathlib import Path

import pytest

from nnabla_detofa.host import cuda_libraries
from nnabla_detofa.host.cuda_libraries import CUDA, MPI, NCCL, NEEDED, Library, extension, find, loaded, mpi_file

REPOSITORY = Path(__file__).parents[2]
# as `readelf -d` of the wheels says
NEEDS = {
    "libcublas.so.12": {"libcublasLt.so.12"},
    "libcusparse.so.12": {"libnvJitLink.so.12"},
    "libcusolver.so.11": {"libnvJitLink.so.12", "libcusparse.so.12", "libcublas.so.12", "libcublasLt.so.12"},
}


@pytest.fixture
def loads(monkeypatch):
    """Records what is loaded and how, and loads nothing; a file without content cannot be."""
    calls = []

    def load(file, mode=ctypes.DEFAULT_MODE):
        if not Path(file).exists() or not Path(file).read_bytes():
            raise OSError(f"{file}: cannot open shared object file")
        calls.append((Path(file).name, mode))

    monkeypatch.setattr(cuda_libraries.ctypes, "CDLL", load)
    monkeypatch.setattr(cuda_libraries, "mpi_file", lambda: None)
    return calls


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A folder of packages with all of NVIDIA's, of which files can be taken away."""
    for library in (*CUDA, NCCL):
        (folder := tmp_path / "nvidia" / library.package / "lib").mkdir(parents=True, exist_ok=True)
        (folder / library.file).write_bytes(b"x")
    monkeypatch.syspath_prepend(str(tmp_path))
    return {library.file: tmp_path / "nvidia" / library.package / "lib" / library.file for library in (*CUDA, NCCL)}


@pytest.mark.usefixtures("wheels")
def test_each_is_loaded_behind_those_that_it_needs(loads):
    with loaded():
        names = [name for name, _ in loads]
    assert names == [library.file for library in (*CUDA, NCCL)]
    for name, needed in NEEDS.items():
        assert needed <= set(names[: names.index(name)])


@pytest.mark.usefixtures("wheels")
def test_nccl_alone_is_not_seen_by_all(loads):
    """The extension has pointers under the names of NCCL's functions: seen by all, these are written into."""
    with loaded():
        pass
    assert {name for name, mode in loads if mode != ctypes.RTLD_GLOBAL} == {NCCL.file}


def test_what_is_missing_or_damaged_is_left_out(loads, wheels):
    wheels["libcudnn.so.8"].unlink()
    wheels["libcufft.so.11"].write_bytes(b"")
    with loaded():
        pass
    assert {library.file for library in (*CUDA, NCCL)} - {name for name, _ in loads} == {
        "libcudnn.so.8",
        "libcufft.so.11",
    }


@pytest.mark.usefixtures("loads")
@pytest.mark.parametrize("before", [None, "/opt/mpi"])
def test_mpi_is_where_the_extension_looks_for_it(tmp_path, monkeypatch, before):
    """PyPI's libmpi.so is a text; what its place leads to is the library."""
    (library := tmp_path / MPI).write_bytes(b"a library")
    monkeypatch.setattr(cuda_libraries, "mpi_file", lambda: library)
    monkeypatch.delenv("OMPI_HOME", raising=False)
    if before:
        monkeypatch.setenv("OMPI_HOME", before)
    with pytest.raises(ZeroDivisionError), loaded():
        assert Path(os.environ["OMPI_HOME"], "lib", "libmpi.so").read_bytes() == b"a library"
        raise ZeroDivisionError
    assert os.environ.get("OMPI_HOME") == before


def test_mpi_of_no_place(monkeypatch, tmp_path):
    monkeypatch.setattr(cuda_libraries, "_load", lambda *_: False)
    monkeypatch.setattr(cuda_libraries, "_file_in_memory", lambda _: None)
    assert mpi_file() is None
    assert find(Library(MPI)) is None
    asked = []
    monkeypatch.setattr(cuda_libraries, "_load", lambda file, mode: asked.append((str(file), mode)))
    monkeypatch.setenv("OMPI_HOME", str(tmp_path))
    mpi_file()
    assert asked[0] == (str(tmp_path / "lib" / MPI), ctypes.RTLD_LOCAL)


def test_find(wheels):
    """A library of the system; one of no place; a file of the wheels that is none."""
    assert Path(find(Library("libc.so.6"))).exists()
    assert find(Library("libnothing.so.9")) is None
    assert wheels["libcudnn.so.8"].exists()
    assert find(Library("libnothing.so.8", "cudnn")) is None
    assert find(next(library for library in CUDA if library.file == "libcudnn.so.8")) is None


def test_the_extension_is_found_without_importing_it(tmp_path, monkeypatch):
    assert extension() is None
    (folder := tmp_path / "nnabla_ext" / "cuda").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert extension() == folder


def test_the_extra_brings_them_all():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    extra = {line.split()[0] for line in setup["options.extras_require"]["cuda120"].splitlines() if line}
    wheels = {f"nvidia-{library.package.replace('_', '-')}-cu12" for library in (*CUDA, NCCL)}
    assert extra == {"nnabla-ext-cuda120", *wheels}
    assert set(CUDA) < set(NEEDED)
