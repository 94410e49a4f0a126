"""How the jobs of a sweep end: what is wrong with one reaches the user, and submitit hears of USR2."""

import os
import pickle
import signal
import sys
import time
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import MissingConfigException

from nnabla_detofa.errors import ConfigError, DataError
from nnabla_detofa.launch import cli
from nnabla_detofa.launch.composition import message_of
from nnabla_detofa.launch.overrides import options_first
from nnabla_detofa.launch.sweeps import Ended, tell_and_end

submitit = pytest.importorskip("submitit")
CONFIG = """
defaults:
  - _self_
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
name: trial
seed: 0
hydra:
  job: {chdir: true}
  run: {dir: "log/${name}"}
  sweep: {dir: log, subdir: "${name}-${hydra.job.num}"}
"""
LOCAL = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=1"]  # of which each wish to end counts as its end
SUCCESS = "completed successfully"


@pytest.fixture(autouse=True)
def started_in_tmp_path(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["nnabla_detofa"])
    monkeypatch.setattr(submitit.core.core.Job, "_results_timeout_s", 0)  # no time for a slow disk
    yield
    GlobalHydra.instance().clear()


@pytest.fixture
def sweep(monkeypatch, capfd):
    """Runs a sweep whose jobs do `work(config)`; the exit code and our lines. The work is a function without a name
    in a module, which is sent to another process as it stands."""

    def run(work, *overrides):
        monkeypatch.setattr(cli, "launch", lambda config, **_: work(config))
        code = cli.main(["-c", "mine", *overrides])
        told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("nnabla_detofa: ")]
        return code, [line.removeprefix("nnabla_detofa: ") for line in told]

    return run


def logs():
    """All that submitit's jobs have said."""
    return "".join(file.read_text() for file in Path().glob("log/.submitit/*/*_log.*"))


def wrong():
    """Work that fails for one of two seeds."""

    def fail(config):
        if config["seed"] == 2:
            raise DataError(f"no data for {config['seed']}")

    return fail


def signals(number):
    """Work in whose middle its process gets a signal, but for the third time."""

    def work(_):
        (times := Path("times")).open("a").write("x")
        if times.stat().st_size < 3:
            os.kill(os.getpid(), number)
            time.sleep(60)

    return work


@pytest.mark.parametrize("launcher", [[], LOCAL])
def test_every_job_that_fails_is_told_once(sweep, launcher):
    code, told = sweep(wrong(), "-m", *launcher, "seed=1,2,3,2")
    assert (code, told) == (2, ["no data for 2"] * 2)
    jobs = [file.with_suffix(".err").read_text() + file.read_text() for file in Path().glob("log/.submitit/*/*.out")]
    assert sorted((text.count("nnabla_detofa: no data for 2"), SUCCESS in text) for text in jobs) == (
        [(0, True), (0, True), (1, False), (1, False)] if launcher else []
    )


def test_jobs_of_which_only_what_they_return_comes_back(sweep, monkeypatch):
    """As joblib's launcher has them, and others."""
    inside = BasicLauncher.launch

    def elsewhere(self, job_overrides, initial_job_idx):
        read, write = os.pipe()
        if not (pid := os.fork()):
            os.write(write, pickle.dumps(inside(self, job_overrides, initial_job_idx)))
            os._exit(0)
        os.close(write)
        os.waitpid(pid, 0)
        with os.fdopen(read, "rb") as stream:
            return pickle.load(stream)

    monkeypatch.setattr(BasicLauncher, "launch", elsewhere)
    assert sweep(wrong(), "-m", "seed=2,3") == (2, ["no data for 2"])


def test_usr2_queues_a_job_again(sweep):
    assert sweep(signals(signal.SIGUSR2), "-m", *LOCAL, "name=again") == (0, [])
    assert Path("log/again-0/times").read_text() == "xxx"
    assert logs().count("Requeued job") == 2


def test_a_job_that_submitit_does_not_queue_again(sweep):
    def work(_):
        os.kill(os.getpid(), signal.SIGUSR2)
        time.sleep(60)

    code, (told,) = sweep(work, "-m", *LOCAL, "name=never")
    assert code == 75
    assert told.startswith(cli.GO_ON) and "timed-out too many times" in told


def test_a_job_that_is_cancelled_is_not_queued_again_and_has_no_result(sweep):
    code, (told,) = sweep(signals(signal.SIGTERM), "-m", *LOCAL, "name=gone")
    assert code == 75
    assert told.startswith("a job of the sweep has no result: ") and told.endswith(cli.GO_ON)
    assert Path("log/gone-0/times").read_text() == "x"
    assert SUCCESS not in logs() and f"nnabla_detofa: {cli.GO_ON}" in logs()


def test_wrong_input_counts_more_than_what_would_go_on(capsys):
    assert tell_and_end([Ended(75, "one"), Ended(2, "two")]) == 2
    assert tell_and_end([Ended(75, "three")]) == 75
    assert capsys.readouterr().err == "nnabla_detofa: one\nnnabla_detofa: two\nnnabla_detofa: three\n"


def test_a_mistake_of_ours_keeps_its_traceback(sweep):
    def work(_):
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        sweep(work, "-m", *LOCAL)
    assert SUCCESS not in logs() and "in work" in logs()


def test_slurm_where_there_is_none(sweep, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    code, (told,) = sweep(wrong(), "-m", "hydra/launcher=submitit_slurm")
    assert code == 2
    assert "sbatch" in told


def test_a_launcher_that_is_not_installed():
    """Its extra is named, and what is there besides."""
    error = MissingConfigException("", "hydra/launcher/submitit_slurm", ["basic"])
    assert message_of(error) == (
        "unknown hydra/launcher 'submitit_slurm'; known: basic; pip install 'nnabla-detofa[slurm]' brings it"
    )
    assert "pip" not in message_of(MissingConfigException("", "hydra/launcher/basicc", ["basic"]))


def test_a_scheduler_that_refuses(sweep, monkeypatch, tmp_path):
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    code, (told,) = sweep(wrong(), "-m", "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu")
    assert code == 2
    assert "invalid partition specified: gpu" in told


def test_overrides_on_both_sides_of_an_option(sweep):
    seen = []
    assert sweep(lambda config: seen.append((config["name"], config["seed"])), "name=a,b", "-m", "seed=1,2") == (0, [])
    assert seen == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    arguments = ["a=1", "--config-name", "x", "b=2", "-m", "c=3", "--config-dir=y", "d=4"]
    assert options_first(arguments) == (
        ["--config-name", "x", "-m", "--config-dir=y"],
        ["a=1", "b=2", "c=3", "d=4"],
    )
    with pytest.raises(ConfigError, match="--bogus"):
        options_first(["--bogus"])
