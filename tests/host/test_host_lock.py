"""A run folder has one session at a time; who holds it is told, and whoever died holds nothing."""

import errno
import fcntl
import os
import socket
import subprocess
import sys

import pytest

from nnabla_detofa.errors import RunFolderError, refusals_of_the_disk
from nnabla_detofa.host.lock import LOCK, WITHOUT_LOCKS, sole_session

HOLDER = """
import errno, fcntl, sys
from pathlib import Path
from nnabla_detofa.host.lock import sole_session

def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")

if len(sys.argv) > 2:
    fcntl.flock = flock
with sole_session(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=["locks", "no locks"])
def another(request, tmp_path, monkeypatch):
    """A process that holds the folder until its standard input is closed, where there are locks and where not."""

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    without = request.param == "no locks"
    if without:
        monkeypatch.setattr(fcntl, "flock", flock)
    command = [sys.executable, "-c", HOLDER, str(tmp_path), *["without"] * without]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def refusal(folder):
    with pytest.raises(RunFolderError) as caught, sole_session(folder):
        pytest.fail("two sessions in one folder")
    return str(caught.value)


def test_a_second_process_is_refused_by_name(another, tmp_path):
    said = refusal(tmp_path)
    assert f"{tmp_path} is in use by process {another.pid} on {socket.gethostname()}; " in said
    assert "name=NEW_NAME" in said


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_it_is_free_when_its_holder(another, tmp_path, end):
    if end == "ends":
        another.stdin.close()
    else:
        another.kill()
    another.wait()
    with sole_session(tmp_path):
        pass


@pytest.mark.parametrize(("job", "restarts", "free"), [("7", "1", True), ("7", "0", False), ("8", "1", False)])
def test_a_job_that_is_queued_again_takes_over_from_itself(tmp_path, monkeypatch, job, restarts, free):
    """Killed on a machine that is not this one, where a file takes the lock's place."""

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    with sole_session(tmp_path):
        left = (tmp_path / WITHOUT_LOCKS).read_text()
    (tmp_path / WITHOUT_LOCKS).write_text(left.replace(socket.gethostname(), "another"))
    monkeypatch.setenv("SLURM_JOB_ID", job)
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    if free:
        with sole_session(tmp_path):
            pass
    else:
        assert "is in use by process" in refusal(tmp_path)


def test_it_is_free_after_an_error(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), sole_session(tmp_path / "log" / "trial"):
            raise KeyboardInterrupt


@pytest.mark.parametrize("text", ["", "{", '{"pid": 3}', "\0" * 9])
def test_what_the_file_says_does_not_matter_where_there_are_locks(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    with sole_session(tmp_path):
        assert str(os.getpid()) in refusal(tmp_path)


@pytest.mark.parametrize("another", ["no locks"], indirect=True)
def test_without_locks_nobody_can_tell_of_another_machine(another, tmp_path):
    another.kill()
    another.wait()
    (tmp_path / WITHOUT_LOCKS).write_text("1\nelsewhere\n")
    assert refusal(tmp_path).endswith(f"delete {tmp_path / WITHOUT_LOCKS}")


def test_a_folder_in_its_place(tmp_path):
    (tmp_path / LOCK).mkdir()
    with pytest.raises(RunFolderError, match="cannot write"), refusals_of_the_disk(), sole_session(tmp_path):
        pass


def test_other_errors_are_not_hidden(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), sole_session(tmp_path):
        pass
