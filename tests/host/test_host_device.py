"""`args.context`: the CPU, CUDA where it is usable, one clear line where it is asked for in vain."""

import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

from nnabla_detofa.errors import ConfigError, HostError
from nnabla_detofa.host import device
from nnabla_detofa.host.device import MPI_SIZES, NoStreamEvent, open_device


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    for size in MPI_SIZES:
        monkeypatch.delenv(size, raising=False)
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(device.nn, "set_default_context", lambda _: None)


@pytest.fixture
def extension(monkeypatch):
    """A stand-in for nnabla's CUDA extension; the number of its devices can be set."""
    cuda = ModuleType("nnabla_ext.cuda")
    cuda.devices = 1
    cuda.get_device_count = lambda: cuda.devices
    cuda.StreamEventHandler = lambda device_id: ("stream", device_id)
    for name, module in (("cuda", cuda), ("cudnn", ModuleType("nnabla_ext.cudnn"))):
        monkeypatch.setitem(sys.modules, f"nnabla_ext.{name}", module)
        monkeypatch.setattr(f"nnabla_ext.{name}", module, raising=False)
    opened = []
    monkeypatch.setattr(device, "get_extension_context", lambda name, **options: opened.append(name) or options)
    context = SimpleNamespace(device_id="0", backend=["cudnn:float"])
    monkeypatch.setattr(device, "CommunicatorWrapper", lambda _: SimpleNamespace(n_procs=1, rank=0, ctx=context))
    return SimpleNamespace(cuda=cuda, opened=opened)


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


def test_no_device_answers(extension):
    extension.cuda.devices = 0
    open_device(context="auto")
    assert extension.opened == ["cpu"]
    with pytest.raises(HostError, match="no GPU answers; use args.context=cpu"):
        open_device(context="cudnn")


def test_no_extension(monkeypatch):
    monkeypatch.setitem(sys.modules, "nnabla_ext.cuda", None)
    with pytest.raises(HostError, match=r"nnabla_ext.cuda.*nnabla-detofa\[cuda120\]"):
        open_device(context="cudnn")
    assert isinstance(open_device(context="auto")[1], NoStreamEvent)


@pytest.mark.parametrize("type_config", ["float", "half"])
def test_processes_add_up_in_single_precision_whatever_they_compute_in(monkeypatch, type_config):
    """NNabla chooses the communicator's precision by its context."""
    made, chosen = [], []
    wrapper = device.CommunicatorWrapper
    monkeypatch.setattr(device, "CommunicatorWrapper", lambda context: made.append(context.backend) or wrapper(context))
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


@pytest.mark.parametrize("size", MPI_SIZES)
def test_processes_that_cannot_talk(monkeypatch, size):
    monkeypatch.setenv(size, "4")
    with pytest.raises(HostError, match="MPI started 4 processes, but nnabla offers no communicator on 'cpu:float'"):
        open_device(context="cpu")
