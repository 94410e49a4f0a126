"""Which GPU a process takes, and why there is none (an addition; not in the paper).

The host numbers GPUs by a process' rank among all, which is wrong on the second node and where each process sees one
GPU alone. Here the number is its rank on its node, modulo the GPUs that it sees.
"""

import ctypes
import os
import re
from types import ModuleType
from typing import NamedTuple

from ..errors import HostError
from ..processes import local_rank, started
from .cuda_libraries import CUDA, DRIVER, INSTALL, extension, loaded
from .quiet import quiet

VISIBLE = "CUDA_VISIBLE_DEVICES"
OLDEST, NEWEST = (6, 0), (9, 0)  # compute capability: machine code in the extension of CUDA 12.0
CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
OK = 0

LOADER = re.compile(r"^(\S+\.so[.\d]*): cannot open shared object file")
RUNTIME = re.compile(r'failed with "(.+?)"')


class Gpu(NamedTuple):
    """A GPU that this process sees, as the driver describes it; `bytes` of memory."""

    name: str
    capability: tuple[int, int]
    bytes: int

    @property
    def doubt(self) -> str:
        """Why the extension may not run on it; empty where nothing is known against it."""
        if self.capability < OLDEST:
            return f"older than the extension's machine code, which begins with sm_{OLDEST[0]}{OLDEST[1]}"
        if self.capability > (NEWEST[0], 9):
            return f"newer than the extension's machine code and cuDNN 8, which end with sm_{NEWEST[0]}{NEWEST[1]}"
        return ""


def device_number(visible: int) -> int:
    """The number of this process' GPU among the `visible` ones."""
    return local_rank() % visible


def open_cuda() -> tuple[ModuleType, int]:
    """nnabla's CUDA extension, and how many GPUs answer.

    HostError, whose message says what is wrong and what mends it, where one of both is missing.
    """
    if extension() is None:
        raise HostError(f"nnabla's CUDA extension is not installed: {INSTALL.format('cuda120')}")
    try:
        with quiet(), loaded():
            import nnabla_ext.cuda as cuda
            import nnabla_ext.cudnn  # noqa: F401

            visible = cuda.get_device_count()
            if visible:
                cuda.device_synchronize(str(device_number(visible)))  # one that is counted may not answer
    except Exception as error:  # a missing package, library, driver or GPU: each raises something else
        raise HostError(_trouble(" ".join(str(error).split()))) from None
    if not visible:
        raise HostError(_trouble("no CUDA-capable device is detected"))
    return cuda, visible


def require_all_named(visible: int) -> None:
    """HostError where the list of GPUs names more than those that answer: CUDA stops reading at the first bad one."""
    given = os.environ.get(VISIBLE, "")
    named = [one.strip() for one in given.split(",")]
    named = named[: next((n for n, one in enumerate(named) if one.startswith("-")), len(named))]
    if given and "MIG" not in given and visible < len(named):  # of MIG's a process sees one, however many are named
        raise HostError(
            f"{VISIBLE} (or args.device_id) is '{given}', but {visible} of these {len(named)} GPUs answer, those before"
            f" '{named[visible]}': name GPUs that `nvidia-smi -L` lists, each once"
        )


def require_one_each(visible: int) -> None:
    """HostError where this process has no GPU of its own among the `visible` ones: NCCL numbers them by its rank on its
    node, too, and takes one process for each."""
    if started() > 1 and (number := local_rank()) >= visible:
        raise HostError(
            f"process {number} of this machine, counted from 0, sees {visible} GPU{'s' * (visible > 1)}: start one"
            " process for each GPU, and let each see all of its machine; with SLURM by --ntasks-per-node=N"
            " --gpus-per-node=N, neither --gpus-per-task nor --gpu-bind"
        )


def _trouble(reason: str) -> str:
    """What is wrong and what mends it, from what an import or CUDA says."""
    if missing := LOADER.match(reason):
        if missing[1] == DRIVER:
            return f"{DRIVER} is missing, which comes with NVIDIA's driver: install it"
        known = "cuda120" if missing[1] in {library.file for library in CUDA} else None
        mend = INSTALL.format(known) if known else "put its folder on LD_LIBRARY_PATH"
        return f"{missing[1]} is missing: {mend}"
    told = RUNTIME.search(reason)
    reason = told[1] if told else reason
    if "driver version is insufficient" in reason:
        return f"{reason}: install a newer NVIDIA driver, or an extra for an older CUDA (cuda116, cuda110)"
    visible = os.environ.get(VISIBLE)
    of = "" if visible is None else f" with {VISIBLE} (or args.device_id) '{visible}'"
    return f"{reason}{of}: see what `nvidia-smi -L` lists"


def gpus() -> list[Gpu]:
    """The GPUs that the driver shows to this process; HostError that says why there are none."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as error:
        raise HostError(_trouble(str(error))) from None

    def ask(function: str, *arguments: object) -> None:
        if (code := getattr(driver, function)(*arguments)) != OK:
            text = ctypes.c_char_p()
            driver.cuGetErrorString(code, ctypes.byref(text))
            raise HostError(_trouble((text.value or b"error %d" % code).decode()))

    def number(function: str, *arguments: object, kind: type = ctypes.c_int) -> int:
        value = kind()
        ask(function, ctypes.byref(value), *arguments)
        return value.value

    ask("cuInit", 0)
    found = []
    for index in range(number("cuDeviceGetCount")):
        device, name = number("cuDeviceGet", index), ctypes.create_string_buffer(256)
        ask("cuDeviceGetName", name, len(name), device)
        major, minor = (number("cuDeviceGetAttribute", which, device) for which in CAPABILITY)
        memory = number("cuDeviceTotalMem_v2", device, kind=ctypes.c_size_t)
        found.append(Gpu(name.value.decode(errors="replace"), (major, minor), memory))
    return found
