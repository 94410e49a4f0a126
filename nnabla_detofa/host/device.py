"""The device and the processes of a run: `args.context`, `args.device_id`, MPI (an addition; not in the paper)."""

import os
from types import ModuleType
from typing import Annotated, Any

import nnabla as nn
from nnabla.ext_utils import get_extension_context

from ..errors import ConfigError, HostError
from ..options import OneOf, checked
from .communicator import open_communicator
from .cpu import NoStreamEvent
from .quiet import quiet

CONTEXTS = ("auto", "cpu", "cudnn")
TYPE_CONFIGS = ("float", "half", "mixed_half")


@checked("args")
def open_device(
    *,
    context: Annotated[str, OneOf("args.context", lambda: CONTEXTS), "auto: cudnn where a GPU answers"] = "auto",
    device_id: Annotated[str | int, "the visible GPUs; -1 leaves them as they are"] = "-1",
    type_config: Annotated[
        str, OneOf("args.type_config", lambda: TYPE_CONFIGS), "precision; mixed_half on CUDA"
    ] = "float",
) -> tuple[Any, Any]:
    """Make the asked device nnabla's default; returns a communicator and a stream-event handler.

    Raises ConfigError for an unknown name, and HostError for a cudnn that is not there or processes that cannot talk.
    """
    if str(device_id) != "-1":
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device_id)  # read when the CUDA extension is first imported
    cuda = None if context == "cpu" else _cuda(required=context == "cudnn")
    if cuda is None and type_config == "mixed_half":
        raise ConfigError("args.type_config is 'mixed_half', which only CUDA has; a CPU takes float, or slowly half")
    extension = "cudnn" if cuda else "cpu"
    communicator = open_communicator(get_extension_context(extension, device_id="0"))  # sums in single precision
    if type_config != "float":
        communicator.ctx.backend = get_extension_context(extension, device_id="0", type_config=type_config).backend
    nn.set_default_context(communicator.ctx)
    event = cuda.StreamEventHandler(int(communicator.ctx.device_id)) if cuda else NoStreamEvent()
    return communicator, event


def _cuda(*, required: bool) -> ModuleType | None:
    """nnabla's CUDA extension if it and a device are there; else None, or HostError if it is `required`."""
    try:
        with quiet():
            import nnabla_ext.cuda as cuda
            import nnabla_ext.cudnn  # noqa: F401

            devices = cuda.get_device_count()
        reason = "" if devices else "no GPU answers"
    except Exception as error:  # a missing package, library, driver or GPU: each raises something else
        reason = " ".join(str(error).split())
    if not reason:
        return cuda
    if required:
        raise HostError(
            f"args.context is 'cudnn', but CUDA is not usable here: {reason};"
            " use args.context=cpu, or install an extra: pip install 'nnabla-detofa[cuda120]' (or cuda116, cuda110)"
        )
    return None
