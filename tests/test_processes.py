"""What launchers say of their processes; one of them tells an error and ends the others."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from nnabla_detofa import processes
from nnabla_detofa.errors import HostError
from nnabla_detofa.processes import LOCAL_SIZES, RANKS, SIZES, require_alone


@pytest.fixture(autouse=True)
def unlaunched(monkeypatch):
    for name in {*SIZES, *RANKS, *LOCAL_SIZES}:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slept(monkeypatch):
    """Seconds that were waited for other processes; nothing waits, ends or is sent signals."""
    seconds = []
    monkeypatch.setattr(processes.time, "sleep", seconds.append)
    handler = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    yield seconds
    signal.signal(signal.SIGTERM, handler[0])
    signal.signal(signal.SIGALRM, handler[1])


@pytest.fixture
def connect(monkeypatch):
    """Puts a world of so many processes in the place of MPI's; returns the codes it was aborted with."""

    def join(size):
        codes = []
        monkeypatch.setattr(processes, "world", lambda: SimpleNamespace(size=size, Abort=codes.append))
        return codes

    return join


def launched(monkeypatch, number, size, rank):
    monkeypatch.setenv(SIZES[number], str(size))
    monkeypatch.setenv(RANKS[number], str(rank))


def test_without_a_launcher_there_is_one_and_mpi_is_not_started():
    assert (processes.started(), processes.rank(), processes.cores()) == (1, 0, len(os.sched_getaffinity(0)))
    assert processes.may_tell()
    assert processes.end_all(2) == 2
    assert "mpi4py" not in sys.modules


def test_the_work_of_one_process_is_refused_to_several(monkeypatch):
    require_alone("export")
    launched(monkeypatch, 0, 2, 1)
    with pytest.raises(HostError, match="export .* 2 "):
        require_alone("export")


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_launchers_say_how_many_and_which(monkeypatch, number):
    launched(monkeypatch, number, 4, 3)
    assert (processes.started(), processes.rank()) == (4, 3)
    assert processes.by_srun() == (SIZES[number] == "SLURM_STEP_NUM_TASKS")


def test_a_launcher_inside_a_job_step_comes_first(monkeypatch):
    launched(monkeypatch, 0, 4, 3)
    launched(monkeypatch, 3, 2, 1)  # the step of its daemons
    assert (processes.started(), processes.rank(), processes.by_srun()) == (4, 3, False)


def test_a_step_of_one_task_is_no_group(monkeypatch):
    launched(monkeypatch, 3, 1, 7)
    assert (processes.started(), processes.rank()) == (1, 0)


@pytest.mark.parametrize(
    ("own", "launcher", "local", "cores"),
    [
        (8, 8, "2", 4),  # not bound
        (4, 8, "2", 4),  # bound to its own
        (8, 16, "4(x2),1", 4),  # bound to a socket that two share
        (1, 1, "3", 1),
        (8, None, "2", 4),  # a launcher of another user
    ],
)
def test_cores_are_shared_by_the_processes_of_a_machine(monkeypatch, own, launcher, local, cores):
    def affinity(process):
        if process and launcher is None:
            raise PermissionError
        return set(range(launcher if process else own))

    monkeypatch.setattr(processes.os, "sched_getaffinity", affinity)
    launched(monkeypatch, 3, 8, 0)
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", local)
    assert processes.cores() == cores


def test_the_first_tells_at_once_and_the_others_after_it(monkeypatch, slept):
    for rank in range(3):
        launched(monkeypatch, 0, 3, rank)
        assert processes.may_tell()
    assert slept[0] == 0 and 1 < slept[1] < slept[2]


def test_the_first_waits_where_a_signal_may_be_anothers_end(monkeypatch, slept):
    launched(monkeypatch, 0, 3, 0)
    assert processes.may_tell(interrupted=True)
    assert slept == [processes.PATIENCE]


def test_where_the_launcher_does_not_end_the_others_mpi_does(monkeypatch, slept, connect):
    codes = connect(2)
    launched(monkeypatch, 1, 2, 1)
    assert processes.may_tell() and len(slept) == 1
    processes.end_all(75)
    assert codes == [75]


def test_who_is_connected_to_none_leaves_it_to_the_first(monkeypatch, slept, connect):
    codes = connect(1)
    launched(monkeypatch, 3, 2, 1)
    assert not processes.may_tell() and slept
    assert processes.end_all(2) == 2
    assert codes == []


@pytest.mark.parametrize("error", [ImportError("No module named mpi4py"), RuntimeError("cannot load MPI library")])
def test_a_world_without_mpi(monkeypatch, slept, error):
    class Broken:
        def __getattr__(self, name):
            raise error

    monkeypatch.setitem(sys.modules, "mpi4py", Broken())
    with pytest.raises(ImportError, match=str(error)):
        processes.world()
    launched(monkeypatch, 3, 2, 1)
    assert not processes.may_tell() and slept


def test_under_open_mpi_the_process_just_ends():
    """Where an end that MPI is told of would wait for the others."""
    code = "from nnabla_detofa import processes; print('told', end=''); processes.end_all(2); print('never')"
    environment = {**os.environ, SIZES[0]: "2", RANKS[0]: "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "told")
