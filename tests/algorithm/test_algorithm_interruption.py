"""Signals, a full disk and damage end a run where nothing is lost; the same command ends as if there had been none."""

import os
import random
import resource
import shutil
import signal
import time
from contextlib import contextmanager
from functools import wraps

import nnabla as nn
import numpy as np
import pytest
from experiments.reliability.ends import end_of

from nnabla_detofa import searching
from nnabla_detofa.host.lock import sole_session
from nnabla_detofa.signals import STOP
from nnabla_detofa.training.interruption import StopRequest
from nnabla_detofa.training.measuring import PathMeasurer
from nnabla_detofa.training.step import PathStep

TO_GO_ON = "nnabla_detofa: interrupted; run the same command again to go on"
HANDLERS = {one: signal.getsignal(one) for one in STOP}


@pytest.fixture
def after(monkeypatch):
    """Does something when the n-th call of a method is done; returns a list that grows with each call."""

    def patch(owner, method, call, do):
        original, calls = getattr(owner, method), []

        def counted(*arguments, **options):
            result = original(*arguments, **options)
            calls.append(method)
            if len(calls) == call:
                do()
            return result

        monkeypatch.setattr(owner, method, counted)
        return calls

    return patch


def terminate(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


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


def one_line(answer):
    """The one line of a command that must end with exit code 2."""
    assert (answer.code, len(answer.err)) == (2, 1), answer
    return answer.err[0].removeprefix("nnabla_detofa: ")


# -- whole runs -------------------------------------------------------------------------------------------------------


def test_a_run_that_was_stopped_everywhere_ends_as_one_that_was_not(command, finished, after, monkeypatch):
    """In the middle of an epoch, by a full disk, in measuring, in the search; what cannot change the result changes."""
    steps = after(PathStep, "train_on_batch", 1, terminate)
    answer = command()
    assert (answer.code, answer.err, len(steps)) == (75, [TO_GO_ON], 1)
    assert checkpoints(command, "warmup") == ["000000000", "000000001"]
    assert {one: signal.getsignal(one) for one in STOP} == HANDLERS

    content = command.results()
    with no_larger_files_than(10_000):
        answer = command("dataloader.voc.workers=1")
    assert one_line(answer) == (
        f"{command.folder}/checkpoint_warmup/000000002 cannot be written: File too large; what was saved before is as"
        " it was, and the same command goes on from there"
    )
    after_it = command.results()
    assert checkpoints(command, "warmup") == ["000000000", "000000001"]
    assert all(after_it[name] == content[name] for name in content if name.startswith("checkpoint"))

    paths = after(PathMeasurer, "loss", 13, lambda: terminate(signal.SIGUSR1))
    answer = command("args.print_frequency=1", "++dataloader.voc.prefetch=2")
    assert (answer.code, len(paths)) == (75, 13)
    assert "warmup: going on after step 1 of 2" in answer.out
    assert len((command.folder / "paths_warmup.csv").read_text().splitlines()) == 1 + 13

    steps = after(PathStep, "train_on_batch", 3, lambda: terminate(signal.SIGINT))
    answer = command("args.checkpoint_minutes=null")
    assert (answer.code, len(paths), len(steps)) == (75, 20, 3)
    assert checkpoints(command, "finetune") == ["000000004", "000000005"]

    stop_in_search(monkeypatch)
    answer = command("args.checkpoint_minutes=1e-9")
    assert (answer.code, answer.err) == (75, [TO_GO_ON])
    assert not (command.folder / "search.json").exists()
    monkeypatch.undo()
    assert command("args.checkpoint_steps=1").code == 0
    assert end_of(command.folder) == end_of(finished[0].folder)


def stop_in_search(monkeypatch):
    evolve = searching.evolve

    @wraps(evolve)
    def stopped(*arguments, progress=None, **options):
        def step(generation):
            if generation == 1:
                terminate()
            progress(generation)

        return evolve(*arguments, progress=progress and step, **options)

    monkeypatch.setattr(searching, "evolve", stopped)


def test_a_damaged_end_of_a_stage_is_made_again(again, finished):
    for place in ("checkpoint_warmup/000000002", "checkpoint_finetune/000000006"):
        (again.folder / place / "solver.h5").write_bytes(b"damaged")
    answer = again()
    assert (answer.code, answer.err) == (0, [])
    assert not [line for line in answer.out if ": done in " in line]
    assert [line for line in answer.out if "is damaged" in line] == [
        f"{again.folder}/{place} is damaged (the checksum of solver.h5 differs); going on from the one before it,"
        f" {before}"
        for place, before in (
            ("checkpoint_warmup/000000002", "000000000"),
            ("checkpoint_finetune/000000006", "000000004"),
        )
    ]
    assert end_of(again.folder) == end_of(finished[0].folder)


def test_an_image_that_is_deleted_in_mid_run_is_named(command, pictures, tmp_path, after):
    shutil.copytree(pictures, tmp_path / "digits")
    folders = [*(tmp_path / "digits").glob("*/VOC2007/JPEGImages")]  # of sets of other tests too
    after(PathStep, "train_on_batch", 1, lambda: [shutil.rmtree(folder) for folder in folders])
    said = one_line(command(f"dataloader.voc.root={tmp_path}/digits", "dataloader.voc.cache_megabytes=0"))
    assert any(said.startswith(f"cannot read the image {folder}/0000") for folder in folders)
    assert said.endswith(".jpg: No such file or directory")


def test_a_second_run_on_the_same_folder(command):
    with sole_session(command.folder):
        said = one_line(command())
    assert said.startswith(f"run folder {command.folder} is in use by process {os.getpid()} on ")
    assert {one.name for one in command.folder.iterdir() if one.name[0] != "."} <= {"nnabla_detofa.log"}


def test_a_place_where_nothing_can_be_written(command):
    command.folder.parent.touch()
    said = one_line(command())
    assert said.startswith("cannot write log/detofa_demo: Not a directory")
    assert said.endswith("; results go to log/NAME in the folder where the command is started")


# -- signals ----------------------------------------------------------------------------------------------------------


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


PATIENT = [signal.SIGUSR1, signal.SIGHUP, signal.SIGHUP]


@pytest.mark.parametrize("first", [[signal.SIGTERM], [signal.SIGINT], [*PATIENT, signal.SIGTERM]])
@pytest.mark.parametrize("last", [signal.SIGTERM, signal.SIGINT])
def test_a_second_wish_is_granted_at_once(waiting, first, last):
    process, errors = waiting
    for number in first:
        os.kill(process, number)
        assert os.read(errors, 1000).decode() == (
            f"\nnnabla_detofa: {number.name}: finishing what is in hand and saving; a second SIGTERM or Ctrl-C ends at"
            " once\n"
        )
    os.kill(process, last)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 75
    assert os.read(errors, 1000).decode() == (
        f"\nnnabla_detofa: {last.name}: ended at once; the same command goes on from the last checkpoint\n"
    )


def test_handlers_are_as_before_afterwards():
    with StopRequest() as stop:
        assert not stop.asked
        assert all(signal.getsignal(one) != HANDLERS[one] for one in STOP)
    assert {one: signal.getsignal(one) for one in STOP} == HANDLERS


# -- what decides a run's future --------------------------------------------------------------------------------------


def test_no_global_generator_decides_anything(ready):
    def states():
        return [np.random.get_state()[1].tolist(), random.getstate(), nn.random.prng.get_state()[1].tolist()]  # noqa: NPY002

    before = states()
    ready.train_on_batch(path=ready.space.largest())
    ready.measurer().loss(ready.space.smallest())
    assert states() == before
