"""A run folder has one session at a time; who holds it is told, and whoever died holds nothing."""

import errno
import fcntl
import json
import os
import re
import socket
import subprocess
import sys

import pytest

from nnabla_detofa.errors import RunFolderError, refusals_of_the_disk
from nnabla_detofa.host.lock import LOCK, sole_session

HOLDER = """
import sys
from pathlib import Path
from nnabla_detofa.host.lock import sole_session
with sole_session(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def another(tmp_path):
    """A process that holds the folder until its standard input is closed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@pytest.fixture
def no_locks(monkeypatch):
    """A file system without locks."""

    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


def signed(folder, **holder):
    (folder / LOCK).write_text(json.dumps({"pid": 1, "host": socket.gethostname(), "since": "yesterday", **holder}))


def refusal(folder):
    with pytest.raises(RunFolderError) as caught, sole_session(folder):
        pytest.fail("two sessions in one folder")
    return str(caught.value)


def test_a_second_process_is_refused_by_name(another, tmp_path):
    said = refusal(tmp_path)
    start = f"run folder {tmp_path} is in use by process {another.pid} on {socket.gethostname()} since "
    assert said.startswith(start)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d; wait for its end, or give this run its own with name=NEW_NAME",
        said.removeprefix(start),
    )


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_it_is_free_when_its_holder(another, tmp_path, end):
    if end == "ends":
        another.stdin.close()
    else:
        another.kill()
    another.wait()
    with sole_session(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_it_is_free_after_an_error(tmp_path):
    folder = tmp_path / "log" / "trial"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), sole_session(folder):
            raise KeyboardInterrupt
    assert (folder / LOCK).read_text() == "{}"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 3}', "\0" * 9])
def test_what_the_file_says_does_not_matter_where_there_are_locks(tmp_path, text):
    (tmp_path / LOCK).write_text(text)
    with sole_session(tmp_path):
        refusal(tmp_path)


def test_without_locks_a_living_process_of_this_machine_is_refused(tmp_path, another, no_locks):  # noqa: ARG001
    signed(tmp_path, pid=another.pid)
    assert f"is in use by process {another.pid} on " in refusal(tmp_path)
    another.kill()
    another.wait()
    with sole_session(tmp_path):
        pass
    with sole_session(tmp_path):  # whoever ended it left no name
        pass


@pytest.mark.parametrize("holder", [{}, {"pid": None}, {"pid": 2**40}, {"pid": os.getpid()}])
def test_without_locks_a_holder_that_cannot_be_is_none(tmp_path, no_locks, holder):  # noqa: ARG001
    signed(tmp_path, **{"pid": 2**22 + 1, **holder})
    with sole_session(tmp_path):
        pass


def test_without_locks_nobody_can_tell_of_another_machine(tmp_path, no_locks):  # noqa: ARG001
    signed(tmp_path, host="elsewhere")
    said = refusal(tmp_path)
    assert "process 1 on elsewhere since yesterday; " in said
    assert said.endswith(f"; if it is not so any more, delete {tmp_path / LOCK}")


def test_a_folder_in_its_place(tmp_path):
    (tmp_path / LOCK).mkdir()
    with pytest.raises(RunFolderError) as caught, refusals_of_the_disk(), sole_session(tmp_path):
        pass
    assert str(caught.value).startswith(f"cannot write {tmp_path / LOCK}: Is a directory; ")


def test_other_errors_are_not_hidden(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"), sole_session(tmp_path):
        pass
