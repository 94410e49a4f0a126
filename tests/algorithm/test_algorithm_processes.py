"""Processes with a mini-batch each equal one that accumulates theirs; their number decides no figure of a path."""

import shutil

import numpy as np
import pytest
from small_runs import TINY, Command, arrays, mpirun

from experiments.reliability.run_digest import digest_of
from nnabla_detofa.report.curves import read_curves

SIX = {**TINY, "hparams": {**TINY["hparams"], "batch_size_train": 24, "mini_batch_train": 4, "finetune": 3}}
BY_STEP = {**SIX, "args": {**TINY["args"], "checkpoint_steps": 1}}
BY_STEP |= {
    "path_filter": {**TINY["path_filter"], "second_measurement": False},
    "search": {"generations": 1, "population": 5},
}
ROUNDING = 5e-5  # of weights whose largest is near 1, after steps of 3e-3: Adam divides by small numbers
TRAINED = ["checkpoint_finetune", "weights.h5"]
MEASURED = ["paths_warmup.csv", "path_filter_warmup.h5", "pruned_space.json", "operations.csv", "thresholds.json"]
MEASURED += ["paths_final.csv", "path_filter_final.h5", "filter_quality.json"]
MEASURED += ["search.json", "winners.csv", "detectors.json", "resampled.npy", "statistics.h5"]
DIES = """
import os, signal, sys
from nnabla_detofa.launch import cli
from nnabla_detofa.training.step import PathStep
step, begun = PathStep.__call__, []
def dies(self, path):
    begun.append(path)
    if len(begun) == 3 and os.environ["OMPI_COMM_WORLD_RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, path)
PathStep.__call__ = dies
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory, pictures):
    """A run by one process, which accumulates six mini-batches."""
    mpirun()
    command = Command(tmp_path_factory.mktemp("alone"), pictures, tiny=BY_STEP)
    assert command().code == 0
    return command


@pytest.fixture(scope="module")
def by_two(tmp_path_factory, pictures):
    """The same run by two processes, and its answer."""
    command = Command(tmp_path_factory.mktemp("two"), pictures, tiny=BY_STEP)
    return command, command.by(2)


@pytest.fixture
def without(command, pictures):
    """A copy of a run's folder without some of its files."""

    def copy(run, files):
        shutil.copytree(run.folder, command.folder)
        for one in (command.folder / name for name in files):
            shutil.rmtree(one) if one.is_dir() else one.unlink()
        return Command(command.start, pictures, tiny=BY_STEP)

    return copy


def assert_as_accumulated(command, alone):
    """Weights, without running statistics, and the solver's state, of each step that is there."""
    places = [place.parent.relative_to(alone.folder) for place in alone.folder.glob("checkpoint_*/*/weights.h5")]
    assert len(places) > 2
    for file in (place / name for place in places for name in ("weights.h5", "solver.h5")):
        given, wanted = arrays(command.folder / file), arrays(alone.folder / file)
        assert given.keys() == wanted.keys()
        for name, values in wanted.items():
            if not name.endswith(("bn/_mean", "bn/_var")):
                np.testing.assert_allclose(given[name], values, rtol=0, atol=ROUNDING, err_msg=f"{file} {name}")


def test_processes_equal_accumulation(alone, by_two):
    command, answer = by_two
    assert (answer.code, answer.err) == (0, [])
    assert_as_accumulated(command, alone)
    curves, wanted = read_curves(command.folder), read_curves(alone.folder)
    assert len(wanted["finetune/loss"]) == 3  # an epoch is a step
    for name, points in wanted.items():
        np.testing.assert_allclose(curves[name], points, rtol=1e-4, err_msg=name)
    stages, digests = command.json("stages.json"), alone.json("stages.json")
    assert {name: one["digest"] for name, one in stages.items() if name != "report"} == {
        name: one["digest"] for name, one in digests.items() if name != "report"
    }


def test_two_processes_repeat_themselves_to_the_last_bit(by_two, without):
    again = without(by_two[0], TRAINED)
    assert again.by(2).ran == ["finetune"]
    assert digest_of(again.folder) == digest_of(by_two[0].folder)


def test_a_killed_process_takes_the_others_with_it_and_another_number_goes_on(alone, without):
    command = without(alone, TRAINED)
    ended = command.by(3, script=("-c", DIES))
    assert ended.code == 137
    answer = command.by(2)
    assert (answer.code, answer.err, answer.ran) == (0, [], ["finetune"])
    assert any("finetune: going on after step" in line for line in answer.out)  # 1, where the first still wrote 2
    assert_as_accumulated(command, alone)


def test_a_signal_to_one_process_is_a_wish_of_all(alone, without):
    command = without(alone, TRAINED)
    answer = command.by(2, script=("-c", DIES.replace("SIGKILL", "SIGUSR1")))
    own = [line for line in answer.err if line.startswith("nnabla_detofa:")]  # mpirun may have a word of its own
    assert (answer.code, len(own)) == (75, 1)
    assert max(one.name for one in (command.folder / "checkpoint_finetune").iterdir()) == "000000004"


@pytest.mark.parametrize("n", [2, 3])
def test_figures_of_paths_do_not_depend_on_the_number_of_processes(alone, without, n):
    command = without(alone, MEASURED)
    answer = command.by(n)
    assert (answer.code, answer.err) == (0, [])
    assert "evaluate" in answer.ran and "warmup" in answer.kept and "finetune" in answer.kept
    assert digest_of(command.folder) == digest_of(alone.folder)
