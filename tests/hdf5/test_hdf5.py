"""HDF5 files that nobody should have to read: what hangs, ends the process or claims too much is refused."""

import h5py
import numpy as np
import pytest

from nnabla_detofa import hdf5
from nnabla_detofa.errors import WeightsError
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


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while True: pass", "it is damaged: reading it does not end within 1 s"),
        ("import os; os.abort()", "it is damaged: reading it ends the process \\(signal 6\\)"),
    ],
)
def test_what_libhdf5_does_not_survive_is_met_in_another_process(file, monkeypatch, code, said):
    monkeypatch.setattr(hdf5, "PROBE", code)
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    with pytest.raises(WeightsError, match=f"^{said}$"):
        read(file)


def test_a_reader_that_somebody_ends_says_nothing_about_the_file(file, monkeypatch):
    monkeypatch.setattr(hdf5, "PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    assert len(read(file)) == 2


def test_an_array_of_several_names_is_read_once(file):
    with h5py.File(file, "r+") as out:
        out["big"] = np.zeros(1000)
        for name in "cdefgh":
            out[name] = out["big"]
    assert len(read(file)) == 3


def test_what_is_no_plain_array(file):
    for value, said in (
        (h5py.Empty("f4"), "more is compressed, in chunks"),
        ("text", "more holds object, not numbers"),
    ):
        with h5py.File(file, "r+") as out:
            out.pop("more", None)
            out["more"] = value
        with pytest.raises(WeightsError, match=said):
            read(file)


def test_a_reader_takes_less_memory_where_it_is_allowed_less(file, monkeypatch):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
    monkeypatch.setattr(hdf5, "PROBE", limit + hdf5.PROBE + "\nimport os; os.abort()")
    with pytest.raises(WeightsError, match="signal 6"):  # so it came to its end
        read(file)


def test_other_errors_keep_their_reason(file):
    with pytest.raises(WeightsError, match="^mine$"), opened(file, lambda _: WeightsError("not mine")):
        raise WeightsError("mine")
    file.write_bytes(b"no HDF5")
    with pytest.raises(WeightsError, match="file signature not found"):
        read(file)
    with pytest.raises(WeightsError, match="No such file or directory"):
        read(file.parent / "b.h5")
