"""Processes that do not fit together are refused; an error of one or of all is one line, and ends all of them."""

import os

import numpy as np
import pytest
from filelock import FileLock
from small_runs import Command, pictures  # noqa: F401 - a fixture

from nnabla_detofa import processes
from nnabla_detofa.errors import ConfigError, DataError, HostError, RunFolderError, WeightsError
from nnabla_detofa.host.cpu import NoStreamEvent
from nnabla_detofa.launch import cli, run, sweeps
from nnabla_detofa.launch.commands import COMMANDS, call
from nnabla_detofa.signals import Stopped

IN_ORDER = [
    HostError,
    ConfigError,
    RunFolderError,
    DataError,
    WeightsError,
]  # versions, settings, folder, data, weights
FAILS = """
import os, sys
from nnabla_detofa.errors import DataError
from nnabla_detofa.launch import cli
import nnabla_detofa.host  # quietly
from nnabla_detofa.launch import run
asked = run._require_same_data
def fails(*given):
    if os.environ["OMPI_COMM_WORLD_RANK"] == "1":
        raise DataError("only here")
    asked(*given)
run._require_same_data = fails
sys.exit(cli.main())
"""


class Other:
    """Stands in for a communicator of two processes, of which this is the first, and the other differs at one check."""

    n_procs, rank = 2, 0

    def __init__(self, check):
        self.comm, self._sums = self, 2 * check

    def barrier(self):
        """None to wait for."""

    def all_reduce(self, arrays, **_):
        self._sums -= 1
        if not self._sums:
            arrays[0].data += np.array([0, 1], np.float32)


@pytest.fixture
def command(tmp_path, pictures):  # noqa: F811
    return Command(tmp_path, pictures)


@pytest.mark.parametrize("check", range(1, 6))
def test_processes_that_differ_are_refused_at_the_start(command, monkeypatch, check):
    monkeypatch.setattr(run, "open_device", lambda **_: (Other(check), NoStreamEvent()))
    errors = []
    for module in (cli, sweeps):
        monkeypatch.setattr(module, "message_of", lambda error: errors.append(error) or str(error))
    assert "process 1 has other" in command("hparams.mini_batch_train=8").refusal
    assert [type(error) for error in errors] == [IN_ORDER[check - 1]]
    assert not list(command.folder.glob("checkpoint_*"))


def test_a_process_that_does_not_see_the_run_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "FOLDER_SECONDS", 0)
    seen = []
    monkeypatch.setattr(run, "require_same", lambda *given: seen.append(given[2]))
    other = Other(0)
    for other.rank in (1, 0):
        run._require_same_folder(other, tmp_path)
        (tmp_path / ".lock").write_text("7\nhere\n")
    other.rank = 1
    run._require_same_folder(other, tmp_path)
    assert seen == ["", "7\nhere\n", "7\nhere\n"]


def test_one_process_looks_for_nothing(tmp_path):
    other = Other(0)
    other.n_procs, other.rank = 1, 0
    run._require_same_folder(other, tmp_path / "nowhere")


@pytest.mark.parametrize(("rank", "lines"), [(0, 1), (1, 0)])
def test_a_stop_on_which_all_agreed_is_told_by_the_first(monkeypatch, capsys, rank, lines):
    def stop(_):
        raise Stopped

    monkeypatch.setattr(cli, "run_or_plan", stop)
    monkeypatch.setattr(processes, "rank", lambda: rank)
    assert cli.main(["-c", "detofa_demo"]) == 75
    assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize("tells", [True, False])
def test_a_defect_keeps_its_traceback_and_ends_all(monkeypatch, capsys, tells):
    def fail(_):
        raise ZeroDivisionError("a defect")

    codes = []
    monkeypatch.setattr(cli, "run_or_plan", fail)
    for name, answer in {"started": lambda: 2, "may_tell": lambda: tells, "end_all": codes.append}.items():
        monkeypatch.setattr(processes, name, answer)
    with pytest.raises(ZeroDivisionError):
        cli.main(["-c", "detofa_demo"])
    assert codes == [1]
    assert ("a defect" in capsys.readouterr().err) == tells


def test_only_the_first_has_hydra_write_files(monkeypatch):
    given = []
    for rank in (0, 1):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        with cli.output_folder(kept=True) as overrides:
            given.append(overrides)
    assert given == [[], cli.WITHOUT_FILES]


# -- with mpirun ----------------------------------------------------------------------------------------------------


def test_what_all_meet_is_told_once(command):
    refusal = command.by(3).refusal
    assert "hparams.batch_size_train" in refusal and "processes (3)" in refusal
    assert not command.folder.exists() or not list(command.folder.glob("checkpoint_*"))


def test_what_the_first_alone_meets_ends_the_others(command):
    command.folder.mkdir(parents=True)
    with FileLock(command.folder / ".lock"):
        (command.folder / ".lock").write_text(f"{os.getpid()}\nhere\n")
        assert f"in use by process {os.getpid()}" in command.by(2, "hparams.mini_batch_train=8").refusal


def test_what_another_alone_meets_ends_all(command):
    assert command.by(2, "hparams.mini_batch_train=8", script=("-c", FAILS)).refusal == "only here"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_commands_beside_a_run_are_of_one_process(monkeypatch, command):
    done = []
    monkeypatch.setitem(COMMANDS, command, lambda arguments: done.append(arguments) or cli.DONE)
    assert call(command, ["x"]) == cli.DONE
    monkeypatch.setenv(processes.SIZES[0], "2")
    if command == "device":
        assert call(command, ["y"]) == cli.DONE
    else:
        with pytest.raises(HostError, match=command):
            call(command, ["y"])
    assert done == [["x"], ["y"]][: 1 + (command == "device")]
