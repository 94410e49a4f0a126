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
def look(monkeypatch):
    """What the other process does with a file, instead."""
    probe = hdf5.Probe()

    def instead(code):
        monkeypatch.setattr(hdf5, "PROBE", hdf5.PROBE.replace("look(json.loads(line))", code))
        monkeypatch.setattr(hdf5, "SECONDS", 1)
        monkeypatch.setattr(hdf5, "_probe", lambda _: probe)
        return probe

    yield instead
    probe.end()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("while True: pass", "it is damaged, or the disk hangs: reading it does not end within 1 s"),
        ("os.abort()", "it is damaged: reading it ends the process \\(signal 6\\)"),
    ],
)
def test_what_libhdf5_does_not_survive_is_met_in_another_process(file, look, code, said):
    look(code)
    for _ in range(2):
        with pytest.raises(WeightsError, match=f"^{said}$"):
            read(file)


@pytest.mark.parametrize("code", ["os.kill(os.getpid(), 15)", "os.kill(os.getppid(), 15)"])
def test_a_reader_that_somebody_ends_says_nothing_about_the_file(file, look, code):
    look(code)
    for _ in range(2):
        assert len(read(file)) == 2


def test_a_process_that_cannot_begin_is_said(file, look, monkeypatch):
    look("pass")
    monkeypatch.setattr(hdf5, "PROBE", "raise SystemExit")
    with pytest.raises(HostError, match="cannot import h5py in a process of its own, to read HDF5 files first"):
        read(file)


def test_one_process_reads_all_files(file, look):
    probe = look("look(json.loads(line))")
    read(file)
    first = probe._process.pid
    with pytest.raises(WeightsError, match="No such file"):
        read(file.parent / "none \n\udc80.h5")
    assert len(read(file)) == 2
    assert probe._process.pid == first


def test_it_lives_with_less_memory_where_it_is_allowed_less(file, look, monkeypatch):
    look("os.abort()")
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
    monkeypatch.setattr(hdf5, "PROBE", limit + hdf5.PROBE)
    with pytest.raises(WeightsError, match="signal 6"):  # so it came that far
        read(file)


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


def test_a_name_that_is_no_text(file):
    with h5py.File(file, "r+") as out:
        out[b"\xff\xfe"] = np.zeros(3)
    with pytest.raises(WeightsError, match=r"the name b'\\xff\\xfe' is no text"):
        read(file)


def test_other_errors_keep_their_reason(file):
    with pytest.raises(WeightsError, match="^mine$"), opened(file, lambda _: WeightsError("not mine")):
        raise WeightsError("mine")
    file.write_bytes(b"no HDF5")
    with pytest.raises(WeightsError, match="file signature not found"):
        read(file)
    with pytest.raises(WeightsError, match="No such file or directory"):
        read(file.parent / "b.h5")
