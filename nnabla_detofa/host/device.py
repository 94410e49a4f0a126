"""The device and the processes of a run: `args.context`, `args.device_id`, MPI (an addition; not in the paper)."""

import logging
import os
from types import ModuleType
from typing import Annotated, Any

import nnabla as nn
from nnabla.ext_utils import get_extension_context

from ..errors import ConfigError, HostError
from ..options import OneOf, checked
from .communicator import open_communicator
from .cpu import NoStreamEvent
from .cuda_libraries import extension as installed_extension
from .gpus import VISIBLE, device_number, open_cuda, require_all_named, require_one_each

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
        os.environ[VISIBLE] = str(device_id)  # read when the CUDA extension is first imported
    cuda, number, why_not = (None, "0", "") if context == "cpu" else _cuda(required=context == "cudnn")
    if cuda is None and type_config == "mixed_half":
        raise ConfigError("args.type_config is 'mixed_half', which only CUDA has; a CPU takes float, or slowly half")
    extension = "cudnn" if cuda else "cpu"
    communicator = open_communicator(get_extension_context(extension, device_id=number))  # sums in single precision
    if cuda:  # the host's is the rank among all; NCCL's own, which no launcher has to tell, is where it adds up
        number = str(getattr(communicator.comm, "local_rank", number))
        communicator.ctx.device_id = communicator.ctx_float.device_id = number
    if type_config != "float":
        communicator.ctx.backend = get_extension_context(extension, device_id=number, type_config=type_config).backend
    nn.set_default_context(communicator.ctx)
    if why_not and communicator.rank == 0:
        logging.getLogger(__name__).warning(
            "args.context auto takes the CPU: %s; 'nnabla_detofa device' says more", why_not
        )
    event = cuda.StreamEventHandler(int(communicator.ctx.device_id)) if cuda else NoStreamEvent()
    return communicator, event


def _cuda(*, required: bool) -> tuple[ModuleType | None, str, str]:
    """nnabla's CUDA extension with the number of this process' GPU; else None, and why, if the extension is installed.

    HostError where it is `required` and not usable, where some of the GPUs that are named do not answer, or where there
    is none for this process.
    """
    try:
        cuda, visible = open_cuda()
    except HostError as error:
        if required:
            raise HostError(
                f"args.context is 'cudnn', but CUDA is not usable here: {error}; or use args.context=cpu"
            ) from None
        return None, "0", str(error) if installed_extension() else ""
    require_all_named(visible)
    require_one_each(visible)
    return cuda, str(device_number(visible)), ""
