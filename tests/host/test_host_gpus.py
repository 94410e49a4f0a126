"""Which GPU a process takes, and why there is none."""

import ctypes
import sys
from types import ModuleType

import pytest

from nnabla_detofa.errors import HostError
from nnabla_detofa.host import gpus as gpus_module
from nnabla_detofa.host.gpus import (
    VISIBLE,
    Gpu,
    device_number,
    gpus,
    open_cuda,
    require_all_named,
    require_one_each,
)
from nnabla_detofa.processes import LOCAL_RANKS

FAILED = (
    'target_specific error in cuda_get_device_count\n/a/init.cpp:1725\n(cudaGetDeviceCount) failed with "{}" (cuda).'
)


@pytest.fixture
def numbers(monkeypatch):
    """The numbers of the GPUs, of so many, that processes take of which a launcher says these variables."""

    def take(visible, environments):
        found = []
        for environment in environments:
            for name in LOCAL_RANKS:
                monkeypatch.delenv(name, raising=False)
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            found.append(device_number(visible))
        return found

    return take


@pytest.mark.parametrize("launcher", LOCAL_RANKS)
def test_two_nodes_of_four_gpus(numbers, launcher):
    """Each node's processes share its GPUs out among them, whatever their rank among all."""
    processes = [{launcher: str(rank % 4), "PMIX_RANK": str(rank)} for rank in range(8)]
    assert numbers(4, processes) == [0, 1, 2, 3] * 2


def test_one_gpu_for_each_process(numbers):
    assert set(numbers(1, [{"SLURM_LOCALID": str(rank)} for rank in range(8)])) == {0}


def test_more_processes_than_gpus(numbers):
    assert numbers(2, [{"MPI_LOCALRANKID": str(rank)} for rank in range(5)]) == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("launcher", LOCAL_RANKS[:-1])
def test_what_mpirun_says_comes_before_what_its_job_says(numbers, launcher):
    """Inside a job of Slurm, all that an mpirun starts have its 0."""
    assert numbers(8, [{"SLURM_LOCALID": "0", launcher: "3"}]) == [3]


def test_alone_where_nothing_tells(numbers):
    assert numbers(8, [{}, {"SLURM_LOCALID": ""}, {"OMPI_COMM_WORLD_LOCAL_RANK": "-1"}]) == [0, 0, 0]


def test_each_process_of_a_machine_needs_a_gpu_of_its_own(numbers, monkeypatch):
    """NCCL counts them by the process's place on its machine, whichever of them a process sees."""
    numbers(8, [{"SLURM_LOCALID": "3"}])
    require_one_each(1)  # as one process alone, whatever the job that it is in says
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    require_one_each(4)
    for visible in (1, 3):
        with pytest.raises(HostError, match=f"process 3 .* sees {visible} GPUs?: .*--gpus-per-node"):
            require_one_each(visible)


@pytest.mark.parametrize(
    ("given", "answer"), [("", 8), ("0,1", 2), ("3", 1), ("0,1,-1,2", 2), ("GPU-a,GPU-b", 2), ("MIG-a,MIG-b", 1)]
)
def test_a_list_whose_gpus_all_answer(monkeypatch, given, answer):
    monkeypatch.setenv(VISIBLE, given)
    require_all_named(answer)
    monkeypatch.delenv(VISIBLE)
    require_all_named(answer)


@pytest.mark.parametrize(("given", "answer", "bad"), [("0, 7", 1, "7"), ("0,1,GPU-x,2", 2, "GPU-x"), ("0,1,x", 2, "x")])
def test_a_list_that_names_a_gpu_that_is_not_there(monkeypatch, given, answer, bad):
    monkeypatch.setenv(VISIBLE, given)
    with pytest.raises(HostError, match=f"'{given}', but {answer} of these .* '{bad}': name GPUs"):
        require_all_named(answer)


@pytest.fixture
def extension(monkeypatch, tmp_path):
    """A stand-in for nnabla's CUDA extension that raises what it is told to, from one of its functions."""
    cuda = ModuleType("nnabla_ext.cuda")
    cuda.get_device_count = lambda: 2
    cuda.device_synchronize = lambda number: cuda.asked.append(number)
    cuda.asked = []
    for name, module in (("cuda", cuda), ("cudnn", ModuleType("nnabla_ext.cudnn"))):
        monkeypatch.setitem(sys.modules, f"nnabla_ext.{name}", module)
        monkeypatch.setattr(f"nnabla_ext.{name}", module, raising=False)
    monkeypatch.setattr(gpus_module, "extension", lambda: tmp_path)
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "3")
    monkeypatch.delenv(VISIBLE, raising=False)
    return cuda


def test_a_process_asks_its_own_gpu(extension):
    assert open_cuda() == (extension, 2)
    assert extension.asked == ["1"]


@pytest.mark.parametrize("function", ["get_device_count", "device_synchronize"])
@pytest.mark.parametrize(
    ("error", "reason", "mend"),
    [
        (ImportError("libcuda.so.1: cannot open shared object file: No such file"), "libcuda.so.1", "driver"),
        (ImportError("libcudnn.so.8: cannot open shared object file: No such file"), "libcudnn.so.8", "[cuda120]"),
        (ImportError("libcudart.so.11.0: cannot open shared object file"), "libcudart.so.11.0", "LD_LIBRARY_PATH"),
        (RuntimeError(FAILED.format("CUDA driver version is insufficient")), "CUDA driver version", "newer NVIDIA"),
        (RuntimeError(FAILED.format("no CUDA-capable device is detected")), "no CUDA-capable", "nvidia-smi -L"),
        (ValueError("nnabla-ext-cuda120 does not support your k80 GPU.\nSet x."), "your k80 GPU", "nvidia-smi -L"),
    ],
)
def test_what_is_wrong_and_what_mends_it(extension, function, error, reason, mend):
    def fail(*_):
        raise error

    setattr(extension, function, fail)
    with pytest.raises(HostError) as raised:
        open_cuda()
    assert reason in str(raised.value) and mend in str(raised.value)
    assert "init.cpp" not in str(raised.value) and "\n" not in str(raised.value)


def test_no_gpu_answers_to_a_list(extension, monkeypatch):
    extension.get_device_count = lambda: 0
    monkeypatch.setenv(VISIBLE, "9")
    with pytest.raises(HostError, match=r"no CUDA-capable device.*'9'.*nvidia-smi -L"):
        open_cuda()


@pytest.mark.usefixtures("extension")
def test_no_extension(monkeypatch):
    monkeypatch.setattr(gpus_module, "extension", lambda: None)
    with pytest.raises(HostError, match=r"not installed: pip install 'nnabla-detofa\[cuda120\]'"):
        open_cuda()


class Driver:
    """A stand-in for NVIDIA's library, of GPUs (name, major, minor, bytes); every call fails with `error`."""

    def __init__(self, *found, error=0):
        self.found, self.error = found, error

    def cuInit(self, _flags):  # noqa: N802
        return self.error

    def cuGetErrorString(self, _code, text):  # noqa: N802
        text._obj.value = b"no CUDA-capable device is detected"

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = len(self.found)
        return 0

    def cuDeviceGet(self, device, index):  # noqa: N802
        device._obj.value = 100 + index
        return 0

    def cuDeviceGetName(self, text, length, device):  # noqa: N802
        text.value = self.found[device - 100][0][: length - 1]
        return 0

    def cuDeviceGetAttribute(self, value, which, device):  # noqa: N802
        value._obj.value = self.found[device - 100][1 + (which == 76)]
        return 0

    def cuDeviceTotalMem_v2(self, size, device):  # noqa: N802
        size._obj.value = self.found[device - 100][3]
        return 0


def test_the_gpus_of_the_driver(monkeypatch):
    driver = Driver((b"V100", 7, 0, 16 << 30), (b"A100", 8, 0, 80 << 30))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: driver)
    assert gpus() == [Gpu("V100", (7, 0), 16 << 30), Gpu("A100", (8, 0), 80 << 30)]


def test_a_driver_without_a_gpu(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(error=100))
    with pytest.raises(HostError, match="no CUDA-capable device is detected"):
        gpus()


def test_no_driver(monkeypatch):
    def fail(_):
        raise OSError("libcuda.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", fail)
    with pytest.raises(HostError, match="libcuda.so.1 is missing"):
        gpus()


@pytest.mark.parametrize(
    ("capability", "doubt"), [((5, 2), "older"), ((6, 0), ""), ((8, 6), ""), ((9, 0), ""), ((10, 0), "newer")]
)
def test_a_gpu_that_the_extension_may_not_run_on(capability, doubt):
    told = Gpu("", capability, 0).doubt
    assert told.startswith(doubt) and bool(told) == bool(doubt)
