"""Stand-ins on a CPU for what the host takes from CUDA's extension (an addition; not in the paper).

Its launcher ends the process where that extension cannot be imported, though it takes no more from it than an event to
wait for, and asks a context for the number of its device. A CPU has nothing to wait for and no number, so there the
launcher is imported with an event that says so, contexts of number 0, and a communicator that CPUs have too.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from nnabla.ext_utils import get_extension_context

from .communicator import open_communicator
from .cuda_libraries import NVIDIA_DRIVER, extension, find

LAUNCHER, CUDA = "nnabla_nas.utils.cli.cli", "nnabla_ext.cuda"


class NoStreamEvent:
    """Stands in for CUDA's `StreamEventHandler` on a CPU, where every call has finished when it returns."""

    def __init__(self, device_id: int = 0) -> None:
        """There is nothing to open."""

    def add_default_stream_event(self) -> None:
        """Do nothing: there is no stream."""

    def default_stream_synchronize(self) -> None:
        """Do nothing: there is no stream."""


def repair_launcher() -> None:
    """Import the host's launcher where CUDA's extension or a driver is missing; `main.py` finds it then, for
    args.context=cpu."""
    if LAUNCHER in sys.modules or (extension() and find(NVIDIA_DRIVER)):
        return
    sys.modules[CUDA] = stand_in = ModuleType(CUDA)
    vars(stand_in)["StreamEventHandler"] = NoStreamEvent
    try:
        launcher: Any = importlib.import_module(LAUNCHER)
    finally:
        del sys.modules[CUDA]
    launcher.get_extension_context = _numbered_context
    launcher.CommunicatorWrapper = open_communicator  # nnabla's own has several processes on CUDA alone


def _numbered_context(name: str, *, device_id: str, **options: Any) -> Any:
    """As nnabla's, with the number that its CPU leaves out."""
    context = get_extension_context(name, device_id=device_id, **options)
    context.device_id = context.device_id or device_id
    return context
