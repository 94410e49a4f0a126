"""`args.context`: the CPU, CUDA where it is usable, one clear line where it is asked for in vain."""

import logging
import os
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import pytest

from nnabla_detofa.errors import ConfigError, HostError
from nnabla_detofa.host import communicator as communicators
from nnabla_detofa.host import device, gpus
from nnabla_detofa.host.device import NoStreamEvent, open_device
from nnabla_detofa.processes import LOCAL_RANKS, SIZES


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    for size in SIZES:
        monkeypatch.delenv(size, raising=False)
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    for rank in LOCAL_RANKS:
        monkeypatch.delenv(rank, raising=False)
    monkeypatch.setattr(device.nn, "set_default_context", lambda _: None)


@pytest.fixture
def extension(monkeypatch, tmp_path):
    """A stand-in for nnabla's CUDA extension; the number of its devices can be set, and the rank of the process."""
    cuda = ModuleType("nnabla_ext.cuda")
    cuda.devices = 1
    cuda.get_device_count = lambda: cuda.devices
    cuda.device_synchronize = lambda _: None
    cuda.StreamEventHandler = lambda device_id: ("stream", device_id)
    for name, module in (("cuda", cuda), ("cudnn", ModuleType("nnabla_ext.cudnn"))):
        monkeypatch.setitem(sys.modules, f"nnabla_ext.{name}", module)
        monkeypatch.setattr(f"nnabla_ext.{name}", module, raising=False)
    opened = []
    monkeypatch.setattr(device, "get_extension_context", lambda name, **options: opened.append(name) or options)
    contexts = [SimpleNamespace(device_id="9", backend=["cudnn:float"]) for _ in range(2)]
    communicator = SimpleNamespace(n_procs=1, rank=0, ctx=contexts[0], ctx_float=contexts[1], comm=None)
    monkeypatch.setattr(communicators, "CommunicatorWrapper", lambda _: communicator)
    for module, name in ((device, "installed_extension"), (gpus, "extension")):
        monkeypatch.setattr(module, name, lambda: tmp_path)
    monkeypatch.setattr(gpus, "loaded", nullcontext)
    return SimpleNamespace(cuda=cuda, opened=opened, communicator=communicator)


def test_cpu(capfd):
    communicator, event = open_device(context="cpu")
    assert (communicator.n_procs, communicator.rank) == (1, 0)
    assert communicator.ctx.backend == ["cpu:float"]
    assert isinstance(event, NoStreamEvent)
    assert event.add_default_stream_event() is None
    assert event.default_stream_synchronize() is None
    assert capfd.readouterr() == ("", "")


def test_cuda_is_taken_where_a_device_answers(extension):
    for context in ("auto", "cudnn"):
        _, event = open_device(context=context, device_id=3)
        assert event == ("stream", 0)
    assert extension.opened == ["cudnn", "cudnn"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_cpu_is_taken_where_it_is_asked_for(extension):
    open_device(context="cpu")
    assert extension.opened == ["cpu"]


def test_a_process_takes_the_gpu_of_its_place_on_its_node(extension, monkeypatch):
    """The host's number is the rank among all processes."""
    extension.cuda.devices = 2
    monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", "3")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    communicator, event = open_device()
    assert (communicator.ctx.device_id, communicator.ctx_float.device_id, event) == ("1", "1", ("stream", 1))


def test_a_process_takes_the_gpu_that_nccl_adds_up_on(extension):
    """It counts the processes of a node itself, under a launcher that we do not know too."""
    extension.communicator.comm = SimpleNamespace(local_rank=3)
    communicator, event = open_device()
    assert (communicator.ctx.device_id, event) == ("3", ("stream", 3))


@pytest.mark.parametrize("context", ["auto", "cudnn"])
@pytest.mark.usefixtures("extension")
def test_a_gpu_that_does_not_answer_among_those_that_are_named(context):
    with pytest.raises(HostError, match="'0,7', but 1 of these 2 GPUs answer"):
        open_device(context=context, device_id="0,7")


@pytest.mark.parametrize("rank", [0, 1])
def test_auto_says_why_it_takes_the_cpu(extension, caplog, rank):
    """Once, where there are several processes."""
    extension.cuda.devices, extension.communicator.rank = 0, rank
    open_device(context="auto")
    assert extension.opened == ["cpu"]
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == (rank == 0)
    assert all("no CUDA-capable device" in line and "\n" not in line for line in said)


def test_no_device_answers(extension):
    extension.cuda.devices = 0
    with pytest.raises(HostError, match=r"args.context is 'cudnn'.*no CUDA-capable device.*args.context=cpu"):
        open_device(context="cudnn")


def test_no_extension(caplog):
    with pytest.raises(HostError, match=r"not installed.*nnabla-detofa\[cuda120\]"):
        open_device(context="cudnn")
    assert isinstance(open_device(context="auto")[1], NoStreamEvent)
    assert caplog.records == []


@pytest.mark.parametrize("type_config", ["float", "half"])
def test_processes_add_up_in_single_precision_whatever_they_compute_in(monkeypatch, type_config):
    """NNabla chooses the communicator's precision by its context."""
    made, chosen = [], []
    wrapper = communicators.CommunicatorWrapper

    def wrapped(context):
        made.append(context.backend)
        return wrapper(context)

    monkeypatch.setattr(communicators, "CommunicatorWrapper", wrapped)
    monkeypatch.setattr(device.nn, "set_default_context", chosen.append)
    communicator, _ = open_device(context="cpu", type_config=type_config)
    assert made == [["cpu:float"]]
    assert chosen == [communicator.ctx]
    assert communicator.ctx.backend[0] == f"cpu:{type_config}"


@pytest.mark.parametrize(
    ("key", "value"), [("context", "cuda"), ("type_config", "fp16"), ("type_config", "mixed_half"), ("context", 3)]
)
def test_what_cannot_be(key, value):
    """Only CUDA has mixed_half."""
    with pytest.raises(ConfigError, match=f"args.{key}"):
        open_device(**{"context": "cpu", key: value})
