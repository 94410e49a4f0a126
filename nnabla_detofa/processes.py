"""Processes that a launcher started together, and how one of them ends them all (an addition; not in the paper).

What a launcher's variables say is known before MPI is started, and in a process that needs none MPI never is. An error
is told once: by the first process that meets it, which then has MPI end the others, wherever they wait.
"""

import os
import re
import signal
import sys
import time
from typing import Any

from .errors import HostError

# how Open MPI, MPICH (and Intel's MPI), MVAPICH and SLURM tell a process how many there are, and which it is; SLURM is
# asked last: inside a job of it, the step of another launcher is that of its daemons
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "SLURM_PROCID")
# 0 in SLURM's for all that an mpirun inside a job has started
LOCAL_RANKS = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "MV2_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
LOCAL_SIZES = (
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "MV2_COMM_WORLD_LOCAL_SIZE",
    "SLURM_STEP_TASKS_PER_NODE",  # 2(x3),1: of each machine
)

PATIENCE = 2.0  # seconds that a process leaves to those before it, which may meet the same and tell it
FIRST_TELLS = 10.0  # seconds
LONGEST = 50  # seconds until a process that cannot reach the others is gone itself


def started() -> int:
    """How many processes a launcher has started; 1 without a launcher."""
    return _first(SIZES, 1)


def rank() -> int:
    """Which of them this one is, from 0 on."""
    return _first(RANKS, 0) if started() > 1 else 0


def local_rank() -> int:
    """Which of those on its machine this one is, from 0 on; 0 where nothing tells."""
    return _first(LOCAL_RANKS, 0)


def require_alone(what: str) -> None:
    """HostError where a launcher has started several processes, each of which would do the same."""
    if (n := started()) > 1:
        raise HostError(f"{what} is one process's work, and {n} were started: leave the launcher out")


def by_srun() -> bool:
    """Whether SLURM itself started them, and no launcher inside a job of it."""
    return SIZES[0] not in os.environ and SIZES[-1] in os.environ


def cores() -> int:
    """The cores that are this process's own, at least 1.

    Those that it may run on; where its launcher has not bound it to fewer than itself, they are shared with the other
    processes of the machine.
    """
    visible, local = len(os.sched_getaffinity(0)), _first(LOCAL_SIZES, 1) if started() > 1 else 1
    if local == 1:
        return visible
    try:
        launcher = len(os.sched_getaffinity(os.getppid()))
    except OSError:  # another user's
        launcher = visible
    return max(1, min(visible, launcher // local))


def world() -> Any:
    """MPI's processes, as mpi4py has them; the first call starts MPI. ImportError where mpi4py finds no MPI."""
    try:
        from mpi4py import MPI
    except RuntimeError as error:  # as it says that there is no libmpi
        raise ImportError(str(error)) from error
    return MPI.COMM_WORLD


def may_tell(*, interrupted: bool = False) -> bool:
    """Whether it is this process that tells an error; of several it waits until one before it might have told it.

    An `interrupted` one waits too if it is the first: by a signal another may be ending all, which has told why. A
    process without a connection to the others leaves it to the first, which has none either, and lets it come first.
    """
    if started() == 1:
        return True
    if rank() == 0:
        time.sleep(PATIENCE if interrupted else 0)
        return True
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which the others end this one
    heard = _ended_by_launcher() or _connected()
    time.sleep(PATIENCE + min(rank() / 10, PATIENCE) if heard else FIRST_TELLS)
    return heard


def end_all(code: int) -> int:
    """End the processes with an exit code, this one too; returns it where this is the only one, or connected to none.

    Those that wait for this one in the middle of something would wait for ever.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if started() > 1 and _ended_by_launcher():
        os._exit(code)  # MPI's own end would wait for the others
    if started() > 1 and _connected():
        world().Abort(code)
    return code


def _ended_by_launcher() -> bool:
    """Whether the launcher ends all with the first that ends badly: Open MPI's does, in fewer words than its Abort."""
    return SIZES[0] in os.environ


def _connected() -> bool:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LONGEST)  # where the others never answer, the launcher ends them for this one
    try:
        return world().size > 1
    except ImportError:
        return False
    finally:
        signal.alarm(0)


def _first(names: tuple[str, ...], otherwise: int) -> int:
    given = (re.match("[0-9]+", os.environ.get(name, "")) for name in names)
    return next((int(one[0]) for one in given if one), otherwise)
