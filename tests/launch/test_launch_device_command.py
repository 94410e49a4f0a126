"""`nnabla_detofa device`: its rows with and without the extension and GPUs, and what it refuses."""

from types import SimpleNamespace

import nnabla as nn
import pytest

from nnabla_detofa.errors import HostError
from nnabla_detofa.host import device_report
from nnabla_detofa.host.cuda_libraries import CUDA, NCCL
from nnabla_detofa.host.gpus import VISIBLE, Gpu
from nnabla_detofa.launch import cli

ROWS = ["context", "GPUs", "libraries", "processes", "cores", "versions"]


@pytest.fixture(autouse=True)
def context_as_before(monkeypatch):
    context = nn.get_current_context()
    monkeypatch.delenv(VISIBLE, raising=False)
    yield
    nn.set_default_context(context)


@pytest.fixture
def extension(monkeypatch, tmp_path):
    """A stand-in for an extension of CUDA 12.0 on two GPUs, whose libraries are all there but cuDNN."""
    (tmp_path / "libnnabla_cuda-120_8.so").touch()
    communicator = SimpleNamespace(rank=0, n_procs=2, comm=SimpleNamespace())
    found = [Gpu("V100", (7, 0), 16 << 30), Gpu("B200", (10, 0), 180 << 30)]
    for name, value in {
        "open_cuda": (None, 2),
        "extension": tmp_path,
        "gpus": found,
        "open_device": (communicator, None),
    }.items():
        monkeypatch.setattr(device_report, name, lambda *_, value=value, **__: value)
    monkeypatch.setattr(device_report, "find", lambda one: None if one.file == "libcudnn.so.8" else f"/lib/{one.file}")
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "1")
    return communicator


def rows(capsys):
    """The lines by their row."""
    found = {}
    for line in capsys.readouterr().out.splitlines():
        row = line[:11].strip() or row  # noqa: F821 - the first line has one
        found.setdefault(row, []).append(line[11:])
    return found


def test_a_machine_without_the_extension(capsys):
    assert cli.main(["device"]) == 0
    found = rows(capsys)
    assert list(found) == ROWS
    assert found["context"][0].startswith("auto takes cpu: ")
    assert "pip install 'nnabla-detofa[cuda120]'" in found["context"][0]
    assert found["processes"][0].startswith("1, ")
    assert all(package in found["versions"][0] for package in ("python 3.10", "nnabla 1.39", "nnabla-detofa "))


@pytest.mark.usefixtures("extension")
def test_a_machine_with_gpus(capsys):
    assert cli.main(["device"]) == 0
    found = rows(capsys)
    assert list(found) == ROWS
    assert found["context"] == ["auto takes cudnn"]
    first, second = found["GPUs"]
    assert "of this process" in second and "of this process" not in first  # the second of its node
    assert "newer" in second and "newer" not in first
    lacking = [line.split()[0] for line in found["libraries"] if "missing: pip install" in line]
    assert lacking == ["libcudnn.so.8"]
    assert {library.file for library in (*CUDA, NCCL)} <= {line.split()[0] for line in found["libraries"]}
    assert found["processes"][0].startswith("2 through ")


@pytest.mark.usefixtures("extension")
def test_half_a_list_of_gpus_is_no_crash(capsys, monkeypatch):
    monkeypatch.setenv(VISIBLE, "0,1,7")
    assert cli.main(["device"]) == 0
    assert "'0,1,7'" in rows(capsys)["context"][0]


def test_an_extension_for_another_cuda(extension, capsys, tmp_path):
    (tmp_path / "libnnabla_cuda-120_8.so").rename(tmp_path / "libnnabla_cuda-116_8.so")
    extension.comm = None
    assert cli.main(["device"]) == 0
    found = rows(capsys)
    assert len(found["libraries"]) == 1 and "12.0 alone" in found["libraries"][0]
    assert found["processes"][0].startswith("1, ")


@pytest.mark.usefixtures("extension")
def test_processes_that_cannot_talk(capsys, monkeypatch):
    def fail(**_):
        raise HostError("MPI started 2 processes")

    monkeypatch.setattr(device_report, "open_device", fail)
    assert cli.main(["device"]) == 0
    assert "MPI started 2 processes" in rows(capsys)["processes"][0]


def test_the_first_process_alone_speaks(extension, capsys):
    extension.rank = 1
    assert cli.main(["device"]) == 0
    assert capsys.readouterr().out == ""


def test_it_takes_nothing(capsys):
    assert cli.main(["device", "cudnn"]) == 2
    assert capsys.readouterr().err == "nnabla_detofa: device takes nothing\n"
