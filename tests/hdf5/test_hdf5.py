"""HDF5 files that nobody should have to read: what hangs, ends the process or claims too much is refused."""

import h5py
import numpy as np
import pytest

from nnabla_detofa import hdf5
from nnabla_detofa.errors import HostError, WeightsError
from nnabla_detofa.hdf5 import opened, read_arrays


@pytest.fixture
def file(tmp_path):
    """Two arrays in groups."""
    with h5py.File(tmp_path / "a.h5", "w") as out:
        out["x/a"], out["b"] = np.arange(6.0).reshape(2, 3), np.float32(3)
    return tmp_path / "a.h5"


def read(file):
    with opened(file, WeightsError) as source:
        return read_arrays(source)


def test_arrays_are_read(file):
    found = read(file)
    assert {name: value.tolist() for name, value in found.items()} == {"x/a": [[0, 1, 2], [3, 4, 5]], "b": 3}


@pytest.fixture
def child(monkeypatch):
    """Changes what the child process does: other `code` in place of looking at the file, or `before` all of it."""
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    look = next(line.strip() for line in hdf5.CHILD.splitlines() if "dict(source.attrs)" in line)
    return lambda code=look, before="": monkeypatch.setattr(hdf5, "CHILD", before + hdf5.CHILD.replace(look, code))


@pytest.mark.parametrize(("code", "said"), [("while True: pass", "SIGALRM"), ("os.abort()", "SIGABRT")])
def test_what_libhdf5_does_not_survive_is_met_in_a_child(file, child, code, said):
    child(code)
    with pytest.raises(WeightsError, match=f"^it is damaged.*{said}"):
        read(file)


def test_a_child_that_somebody_ends_says_nothing_about_the_file(file, child):
    child("os.kill(os.getpid(), 15)")
    assert len(read(file)) == 2


def test_a_child_that_cannot_begin_is_said(file, child):
    child(before="raise SystemExit(1)\n")
    with pytest.raises(HostError, match="cannot import h5py"):
        read(file)


def test_it_lives_with_less_memory_where_it_is_allowed_less(file, child):
    child("os.abort()", before="import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n")
    with pytest.raises(WeightsError, match="SIGABRT"):  # so it came that far
        read(file)


def test_names_that_are_no_text_of_the_system(file):
    for name in ("none \n\udc80.h5", "none\0.h5"):
        with pytest.raises(WeightsError):
            read(file.parent / name)


def test_an_array_of_several_names_is_read_once(file):
    with h5py.File(file, "r+") as out:
        out["big"] = np.zeros(1000)
        for name in "cdefgh":
            out[name] = out["big"]
    assert len(read(file)) == 3


CHUNKS = {"data": np.zeros(8), "chunks": (4,)}
OTHERS = [{"data": one} for one in (h5py.Empty("f4"), "text", np.zeros(3, [("a", "f4")]))]


@pytest.mark.parametrize("made", [CHUNKS, *OTHERS])
def test_what_is_no_plain_array(file, made):
    with h5py.File(file, "r+") as out:
        out.create_dataset("more", **made)
    with pytest.raises(WeightsError, match="^more "):
        read(file)


def test_a_name_that_is_no_text(file):
    with h5py.File(file, "r+") as out:
        out[b"\xff\xfe"] = np.zeros(3)
    with pytest.raises(WeightsError, match="not numbers"):
        read(file)


def test_other_errors_keep_their_reason(file):
    with pytest.raises(WeightsError, match="^mine$"), opened(file, lambda _: WeightsError("not mine")):
        raise WeightsError("mine")
    file.write_bytes(b"no HDF5")
    with pytest.raises(WeightsError, match="file signature not found"):
        read(file)
    with pytest.raises(WeightsError, match="No such file or directory"):
        read(file.parent / "b.h5")
