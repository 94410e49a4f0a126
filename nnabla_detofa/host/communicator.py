"""Communicators of a run's processes: nnabla's with CUDA, and one of ours on a CPU (an addition; not in the paper)."""

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import nnabla as nn
import numpy as np
from nnabla_nas.utils.helper import CommunicatorWrapper, create_float_context

from ..errors import DetOFAError, HostError
from ..processes import by_srun, started, world
from .quiet import quiet

INSTALL = "pip install 'nnabla-detofa[mpi]'"
SPIN, LONGEST_NAP = 1e-3, 5e-3  # seconds
PARCEL = 1 << 24  # values


class MpiCommunicator:
    """Processes of MPI behind the calls of the host's CommunicatorWrapper, which has none on a CPU.

    Args:
        context: nnabla's, of all arrays.
        group: a communicator of mpi4py.
    """

    def __init__(self, context: nn.Context, group: Any):
        self.ctx, self.ctx_float = context, create_float_context(context)
        self.n_procs, self.rank, self._group = group.size, group.rank, group
        self.comm = self  # where the host's has nnabla's own

    def barrier(self) -> None:
        """Wait for the others."""
        _wait(self._group.Ibarrier())

    def all_reduce(self, arrays: list[nn.NdArray], division: bool, inplace: bool) -> None:  # noqa: ARG002
        """Each array becomes the sum over all processes, or the mean with `division`; added up in single precision.

        Arrays that are marked as zero on all processes are left so: the solver does not touch such a parameter.
        """
        from mpi4py import MPI

        zero = np.array([array.zeroing for array in arrays])
        _wait(self._group.Iallreduce(MPI.IN_PLACE, zero, MPI.LAND))
        for some in _in_parcels([array.data for array, marked in zip(arrays, zero, strict=True) if not marked]):
            summed = np.concatenate([values.ravel() for values in some], dtype=np.float32, casting="unsafe")
            self._group.Allreduce(MPI.IN_PLACE, summed, MPI.SUM)
            if division:
                summed /= self.n_procs
            for values, part in zip(some, np.split(summed, np.cumsum([one.size for one in some])[:-1]), strict=True):
                values[...] = part.reshape(values.shape)


def _wait(request: Any) -> None:
    """Wait with little of a core: the others may need it, and signals are heard meanwhile."""
    since, nap = time.monotonic(), 0.0
    while not request.Test():
        if time.monotonic() - since > SPIN:
            nap = min(LONGEST_NAP, nap + 1e-4)
        time.sleep(nap)


def _in_parcels(arrays: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Arrays one after the other, PARCEL values at a time or a little more: each parcel costs a wait and a copy."""
    some: list[np.ndarray] = []
    n_values = 0
    for array in arrays:
        some.append(array)
        n_values += array.size
        if n_values >= PARCEL:
            yield some
            some, n_values = [], 0
    if some:
        yield some


def open_communicator(context: nn.Context) -> Any:
    """The communicator of all processes that a launcher has started, the host's or ours.

    HostError, the same on all, where they cannot talk: each would do the same alone.
    """
    n = started()
    with quiet():
        communicator = CommunicatorWrapper(context)
    if communicator.n_procs >= n:
        return communicator
    if not context.backend[0].startswith("cpu"):
        raise HostError(
            f"{n} processes were started, but nnabla offers no communicator on '{context.backend[0]}': all would do the"
            " same; it needs MPI's library and NCCL; start one process, or use args.context=cpu"
        )
    try:
        group = world()
    except ImportError as error:
        raise HostError(
            f"{n} processes were started, which talk through mpi4py, and that is not usable ({error}): {INSTALL}"
        ) from None
    if group.size == n:
        return MpiCommunicator(context, group)
    if by_srun():
        raise HostError(f"srun started {n} processes without connecting them: start them by srun --mpi=pmix -n {n}")
    raise HostError(
        f"{n} processes were started and MPI connects {group.size}: the launcher is of another MPI than mpi4py's;"
        f" {INSTALL} brings both, and .../bin/mpirun beside this Python is the launcher"
    )


def require_same(communicator: Any, what: str, value: str, remedy: str, error: type[DetOFAError] = HostError) -> None:
    """`error`, on all processes, where the `value` of one differs from the first one's; all have to ask."""
    n, rank = communicator.n_procs, communicator.rank
    if n == 1:
        return
    own = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint8).astype(np.float32)
    firsts = _sum(communicator, own if rank == 0 else np.zeros_like(own))
    differs = np.zeros(n, np.float32)
    differs[rank] = not np.array_equal(own, firsts)
    if others := np.flatnonzero(_sum(communicator, differs)).tolist():
        named = f"process {others[0]} has" if len(others) == 1 else f"processes {', '.join(map(str, others))} have"
        raise error(f"{named} other {what} than process 0: {remedy}")


def _sum(communicator: Any, values: np.ndarray) -> np.ndarray:
    array = nn.NdArray.from_numpy_array(values)
    communicator.all_reduce([array], division=False, inplace=False)
    return array.data.copy()
