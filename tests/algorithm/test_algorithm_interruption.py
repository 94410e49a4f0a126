"""Signals, a full disk and damage end a run where nothing is lost; the same command ends as if there had been none."""

import os
import random
import resource
import signal
import time
from contextlib import contextmanager
from types import SimpleNamespace

import nnabla as nn
import numpy as np
import pytest

from experiments.reliability.run_digest import digest_of
from nnabla_detofa import search_stages
from nnabla_detofa.host.lock import sole_session
from nnabla_detofa.search_stages import EVALUATED, evaluated
from nnabla_detofa.signals import STOP, Stopped
from nnabla_detofa.tasks import Task
from nnabla_detofa.training import measurer
from nnabla_detofa.training.interruption import StopRequest
from nnabla_detofa.training.measuring import PathMeasurer
from nnabla_detofa.training.session import Processes, Session
from nnabla_detofa.training.step import PathStep

HANDLERS = {one: signal.getsignal(one) for one in STOP}


@pytest.fixture
def signalled(monkeypatch):
    """Sends a signal when the n-th call is done; returns a list that grows with each call."""

    def patch(owner, method, call, number=signal.SIGTERM):
        original, calls = getattr(owner, method), []

        def counted(*arguments, **options):
            result = original(*arguments, **options)
            calls.append(method)
            if len(calls) == call:
                os.kill(os.getpid(), number)
            return result

        monkeypatch.setattr(owner, method, counted)
        return calls

    return patch


def checkpoints(command, stage):
    return sorted(one.name for one in (command.folder / f"checkpoint_{stage}").iterdir())


@contextmanager
def no_larger_files_than(n_bytes):
    """As on a disk that is full: what is larger cannot be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_run_that_was_stopped_everywhere_ends_as_one_that_was_not(command, finished, signalled, monkeypatch):
    """In the middle of an epoch, by a full disk, in measuring, in the search; what cannot change the result changes."""
    steps = signalled(PathStep, "__call__", 1)
    answer = command()
    assert (answer.code, len(answer.err), len(steps)) == (75, 1, 1) and "run the same command again" in answer.err[0]
    assert checkpoints(command, "warmup") == ["000000000", "000000001"]
    assert {one: signal.getsignal(one) for one in STOP} == HANDLERS

    content = command.results()
    with no_larger_files_than(10_000):
        said = command("dataloader.voc.workers=1").refusal
    assert said.startswith(f"{command.folder}/checkpoint_warmup/000000002 cannot be written: File too large; ")
    after_it = command.results()
    assert checkpoints(command, "warmup") == ["000000000", "000000001"]
    assert all(after_it[name] == content[name] for name in content if name.startswith("checkpoint"))

    paths = signalled(PathMeasurer, "loss", 13, signal.SIGUSR1)
    answer = command("args.print_frequency=1", "++dataloader.voc.prefetch=2")
    assert (answer.code, len(paths)) == (75, 13)
    assert "warmup: going on after step 1 of 2" in answer.out
    assert len(command.rows("paths_warmup.csv")) == 13

    steps = signalled(PathStep, "__call__", 3, signal.SIGINT)
    answer = command("args.checkpoint_minutes=null")
    assert (answer.code, len(paths), len(steps)) == (75, 20, 3)  # nothing was measured twice
    assert checkpoints(command, "finetune") == ["000000004", "000000005"]

    evolve = search_stages.evolve

    def stopped(*arguments, progress=None, **options):
        if progress is not None:  # the rehearsal has none
            os.kill(os.getpid(), signal.SIGTERM)
        return evolve(*arguments, progress=progress, **options)

    monkeypatch.setattr(search_stages, "evolve", stopped)
    assert command("args.checkpoint_minutes=1e-9").code == 75
    assert not (command.folder / "search.json").exists()
    monkeypatch.undo()

    assessed = signalled(Task, "assess", 2)
    assert (command("args.checkpoint_steps=1").code, len(assessed)) == (75, 2)
    assert not (command.folder / EVALUATED).exists()
    assert command("args.checkpoint_steps=1").code == 0
    found = evaluated(command.json(EVALUATED))
    assert len(assessed) == len({tuple(one.genes) for one in found}) > 2  # nor evaluated
    assert digest_of(command.folder) == digest_of(finished[0].folder)


def test_a_damaged_end_of_a_stage_is_made_again(again, finished):
    places = {"checkpoint_warmup/000000002": "000000000", "checkpoint_finetune/000000006": "000000004"}
    for place in places:
        (again.folder / place / "solver.h5").write_bytes(b"damaged")
    answer = again()
    assert (answer.code, answer.err, answer.ran) == (0, [], [])
    damaged = [line for line in answer.out if "is damaged" in line]
    for line, (place, before) in zip(damaged, places.items(), strict=True):
        assert line.startswith(f"{again.folder}/{place} ") and "solver.h5" in line and line.endswith(before)
    assert digest_of(again.folder) == digest_of(finished[0].folder)


def test_a_second_run_on_the_same_folder_and_a_place_where_nothing_can_be_written(command):
    with sole_session(command.folder):
        assert f"{command.folder} is in use by process {os.getpid()} " in command().refusal
    assert {one.name for one in command.folder.iterdir() if one.name[0] != "."} <= {"nnabla_detofa.log"}
    (command.start / "log/file").touch()
    assert command("name=file").refusal.startswith("cannot write log/file: ")


@pytest.fixture
def waiting():
    """A process that is asked to stop and never does; its id, and the reading end of its standard error."""
    read, write = os.pipe()
    process = os.fork()
    if not process:
        os.dup2(write, 2)
        with StopRequest():
            os.write(2, b"ready")
            while True:
                time.sleep(0.01)
    os.close(write)
    assert os.read(read, 100) == b"ready"
    yield process, read
    os.close(read)


@pytest.mark.parametrize("number", STOP)
def test_the_end_of_a_session_tells_what_came(number):
    session = Session(None, Processes(SimpleNamespace(n_procs=1, rank=0)), seed=0)
    with pytest.raises(Stopped) as caught, session.stop:
        session.pause()
        os.kill(os.getpid(), number)
        session.pause()
    assert caught.value.numbers == (number,)


PATIENT = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGHUP]


@pytest.mark.parametrize("first", [[signal.SIGTERM], [signal.SIGINT], [*PATIENT, signal.SIGTERM]])
@pytest.mark.parametrize("last", [signal.SIGTERM, signal.SIGINT])
def test_a_second_wish_is_granted_at_once(waiting, first, last):
    _granted(waiting, first, last)


@pytest.fixture
def in_slurm(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_ID", "0")


@pytest.mark.usefixtures("in_slurm")  # before `waiting`
def test_slurm_and_srun_together_are_one_wish(request):
    _granted(request.getfixturevalue("waiting"), [signal.SIGTERM, signal.SIGTERM], signal.SIGTERM)


def _granted(waiting, first, last):
    process, errors = waiting
    for number in first:
        os.kill(process, number)
        assert os.read(errors, 1000).decode().startswith(f"\nnnabla_detofa: {number.name}: finishing ")
    os.kill(process, last)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 75
    assert os.read(errors, 1000).decode().startswith(f"\nnnabla_detofa: {last.name}: ended at once")


def test_no_global_generator_decides_anything(ready):
    def states():
        return [np.random.get_state()[1].tolist(), random.getstate(), nn.random.prng.get_state()[1].tolist()]  # noqa: NPY002

    before = states()
    ready.step(ready.space.largest())
    measurer(ready).loss(ready.space.smallest())
    assert states() == before
