"""The command: which file `-c` means, what the runner gets, one line and exit code 2 for wrong input."""

import errno
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from nnabla_detofa.errors import ConfigError, DataError
from nnabla_detofa.launch import cli, composition
from nnabla_detofa.launch.arguments import split_arguments
from nnabla_detofa.signals import STOP

CONFIG = """
defaults:
  - pruning: flops
  - _self_
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
name: trial
hparams: {epoch: 1, pruning: "${pruning}"}
dataloader: {voc: {root: data/voc, years: [2007]}}
network: {toy: {pretrained: null}}
hydra:
  job: {chdir: true}
  run: {dir: "log/${name}"}
  output_subdir: .hidden
"""
INTERRUPTED = "nnabla_detofa: interrupted; run the same command again to go on\n"
FLOPS = "path_ratio: 0.25\noperation_ratio: 0.1\n"


@pytest.fixture(autouse=True)
def started_in_tmp_path(tmp_path, monkeypatch):
    """A folder to start in, with a configuration of the user's; the shipped ones lie elsewhere."""
    shipped = tmp_path / "shipped"
    (shipped / "pruning").mkdir(parents=True)
    (shipped / "detofa_demo.yaml").write_text(CONFIG)
    for option in ("flops", "none"):
        (shipped / "pruning" / f"{option}.yaml").write_text(FLOPS)
    start = tmp_path / "start"
    start.mkdir()
    (start / "mine.yaml").write_text(CONFIG)
    monkeypatch.chdir(start)
    for module in (cli, composition):
        monkeypatch.setattr(module, "SHIPPED", shipped)
    monkeypatch.setattr(sys, "argv", ["nnabla_detofa"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    level = logging.getLogger("nnabla").level
    yield
    logging.getLogger("nnabla").setLevel(level)
    GlobalHydra.instance().clear()


@pytest.fixture
def runs(monkeypatch):
    """What would be run: pairs of configuration and working folder."""
    seen = []
    monkeypatch.setattr(cli, "launch", lambda config, **_: seen.append((config, Path.cwd())))
    return seen


def answer(capfd, *arguments: str) -> str:
    """The one line on standard error of a command that must end with exit code 2."""
    assert cli.main(list(arguments)) == cli.WRONG_INPUT
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("nnabla_detofa: ")
    assert err.count("\n") == 1
    return err.removeprefix("nnabla_detofa: ").rstrip()


def test_a_run_gets_plain_data_and_its_own_folder(runs):
    assert cli.main(["-c", "mine.yaml", "pruning.path_ratio=0.4"]) == cli.DONE
    (config, folder), start = runs[0], Path.cwd()
    assert folder == start / "log" / "trial"
    assert type(config["hparams"]["pruning"]) is dict
    assert config["hparams"] == {"epoch": 1, "pruning": {"path_ratio": 0.4, "operation_ratio": 0.1}}


def test_paths_are_relative_to_where_the_command_is_started(runs, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    cli.main(["-c", "mine", "dataloader.voc.root=elsewhere", "network.toy.pretrained='~/w.h5'"])
    cli.main(["-c", "mine", "dataloader.voc.root=/data/voc"])
    start = Path.cwd()
    assert [config["dataloader"]["voc"]["root"] for config, _ in runs] == [f"{start}/elsewhere", "/data/voc"]
    assert [config["network"]["toy"]["pretrained"] for config, _ in runs] == ["/home/someone/w.h5", None]


def test_multirun_runs_every_combination_and_tells_every_failure(runs, capfd, monkeypatch):
    sweep = ["-c", "mine", "-m", "hydra.sweep.dir=log/many", "pruning=flops,none", "hparams.epoch=1,2"]
    assert cli.main(sweep) == cli.DONE
    assert [config["hparams"]["epoch"] for config, _ in runs] == [1, 2, 1, 2]

    def fail(config, **_):
        raise DataError(f"no data for {config['hparams']['epoch']}")

    monkeypatch.setattr(cli, "launch", fail)
    assert cli.main(sweep) == cli.WRONG_INPUT
    lines = [f"nnabla_detofa: no data for {epoch}" for epoch in (1, 2, 1, 2)]
    assert [line for line in capfd.readouterr().err.splitlines() if "no data" in line] == lines


def test_hydra_flags_still_work(capfd):
    for arguments in (["-c", "mine", "--cfg", "job", "-p", "pruning"], ["--config-name=detofa_demo", "--cfg=job"]):
        assert cli.main(arguments) == cli.DONE
        assert "path_ratio: 0.25" in capfd.readouterr().out


def test_which_file_is_meant(tmp_path):
    mine, shipped = tmp_path / "start" / "mine.yaml", tmp_path / "shipped" / "detofa_demo.yaml"
    for given in ("mine", "mine.yaml", str(mine)):
        assert composition.find_config(given) == mine
    for given in ("detofa_demo", "detofa_demo.yaml", "conf/detofa_demo.yaml"):
        assert composition.find_config(given) == shipped
    Path("detofa_demo.yaml").touch()
    assert composition.find_config("detofa_demo") == Path.cwd() / "detofa_demo.yaml"
    with pytest.raises(ConfigError, match="'other/detofa_demo'; known: detofa_demo.yaml"):
        composition.find_config("other/detofa_demo")


@pytest.mark.parametrize("arguments", ["-c mine a=1", "a=1 --config mine", "--config=mine a=1", "a=1 -c=mine"])
def test_ways_to_write_the_option(tmp_path, arguments):
    assert split_arguments(arguments.split()) == (tmp_path / "start" / "mine.yaml", ["a=1"])


def test_help_names_the_shipped_configurations(capfd):
    assert cli.main(["-c", "x", "--help"]) == cli.DONE
    assert "a shipped one: detofa_demo.yaml" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["-c FILE", "detofa_demo.yaml"]),
        (["exprot", "log/a"], ["command 'exprot'; known: -c FILE, check, ", "did you mean 'export'?"]),
        (["evaluat", "log/a", "-c", "mine"], ["command 'evaluat'", "did you mean 'evaluate'?"]),
        (["conf/detofa_demo.yaml"], ["command 'conf/detofa_demo.yaml'; known: -c FILE, "]),
        (["-c"], ["-c must be given once"]),
        (["-c", "mine", "-c", "mine"], ["-c must be given once"]),
        (["-c", "detofa_dmo"], ["'detofa_dmo'", "did you mean 'detofa_demo.yaml'?"]),
        (["--config-name", "other"], ["'other'", "detofa_demo.yaml"]),
        (["-c", "mine", "pruning=flop"], ["pruning 'flop'", "flops, none", "did you mean 'flops'?"]),
        (["-c", "mine", "pruning.path_rati=.1"], ["'pruning.path_rati'", "did you mean 'pruning.path_ratio'?"]),
        (["-c", "mine", "prunning.path_ratio=.1"], ["'prunning'", "did you mean 'pruning'?"]),
        (["-c", "mine", "name=${nme}"], ["hydra.run.dir", "'nme'"]),
        (["-c", "mine", "hparams.epoch=${nme}"], ["hparams.epoch: ", "'nme'"]),
        (["-c", "mine", "hparams.epoch=???"], ["hparams.epoch: ", "Missing"]),
        (["-c", "mine", "name=["], ["'name=['", "as it stands: 'name=\"[\"'"]),
        (["-c", "mine", "name"], ["'name'"]),
        (["-c", "mine", "name=it's"], ["in quotes", """as it stands: 'name="it'"'"'s"'"""]),
        (["-c", "mine", "name=a,b"], ["KEY=[A,B]", "-m", "as it stands: 'name=\"a,b\"'"]),
        (["-c", "mine", "pruning=134"], ["cannot be composed", "'pruning=134' gives the group 'pruning' an int"]),
        (["-c", "mine", "a=b", "=3"], ["'=3' gives the group '' an int", "as in pruning=flops"]),
        (["-c", "mine", f"hparams.epoch={'9' * 5000}"], ["cannot be composed", "5000 digits"]),
        (["-c", "mine", "name=a\x0e${"], ["'name=a\\x0e${'", "in quotes"]),
        (["-c", "mine", "--bogus"], ["--bogus", "-h"]),
        (["-c", "mine", "hydra.run.dir=/proc/x"], ["cannot be composed", "'/proc/x'"]),
        (["-c", "mine", "~nme"], ["'nme'"]),
        (["-c", "mine", "plan=maybe"], ["plan is 'maybe'", "true or false"]),
    ],
)
def test_wrong_input_is_one_line(capfd, arguments, words):
    said = answer(capfd, *arguments)
    assert [word for word in words if word not in said] == []


def test_a_folder_that_is_gone_is_one_line(tmp_path, monkeypatch, capfd):
    """As a shell stands in a folder that something else has deleted."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "is gone" in answer(capfd, "-c", "mine")


@pytest.mark.parametrize(
    "value",
    ["~/x", "/data/图片", "/data/set (1)", "/data/epoch=9", "#1", "a!", "a;b&c", "x[1]", "{x", 'a"b', "a'b", "é"],
)
def test_a_value_is_quoted_as_it_is_told(runs, capfd, value):
    """The value that a shell and Hydra make of the override that a line recommends."""
    told = answer(capfd, "-c", "mine", f"dataloader.voc.root={value}").partition("as it stands: ")[2]
    assert cli.main(["-c", "mine", *shlex.split(told)]) == cli.DONE
    assert runs[0][0]["dataloader"]["voc"]["root"] == str(Path(value).expanduser().absolute())


def test_a_key_that_the_code_reads_is_added(runs):
    more = ["dataloader.voc.augment.flip=0", "dataloader.voc.prefetch=2", "++hparams.warmup=1"]
    assert cli.main(["-c", "mine", *more]) == cli.DONE
    assert runs[0][0]["dataloader"]["voc"] == {
        **{"root": f"{Path.cwd()}/data/voc", "years": [2007]},
        **{"augment": {"flip": 0}, "prefetch": 2},
    }
    assert cli.main(["-c", "mine", "-m", "hydra.sweep.dir=log/many", "dataloader.voc.prefetch=2,3"]) == cli.DONE
    assert [config["dataloader"]["voc"]["prefetch"] for config, _ in runs] == [2, 2, 3]


@pytest.mark.parametrize("place", ["a b", "é", "100%", "#1", "x=y", "a+b", "q?", "[x]", "don't"])
@pytest.mark.parametrize("shipped", [True, False])
def test_folders_of_any_name(tmp_path, monkeypatch, runs, place, shipped):
    """The package, a configuration of one's own and the folder where it starts."""
    folder = tmp_path / place
    (tmp_path / ("shipped" if shipped else "start")).rename(folder)
    if shipped:
        for module in (cli, composition):
            monkeypatch.setattr(module, "SHIPPED", folder)
    else:
        monkeypatch.chdir(folder)
    Path("mine.yaml").write_text("defaults:\n  - detofa_demo\n  - _self_\nname: own\n")
    assert cli.main(["-c", str(Path("mine.yaml").absolute()), "pruning=none"]) == cli.DONE
    assert runs[0][0]["name"] == "own"
    assert runs[0][1] == Path.cwd() / "log" / "own"


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("override", "can_be"),
    {
        **dict.fromkeys(("hydra.output_subdir=null", "hydra.output_subdir=a/b", "hydra.run.dir=elsewhere"), True),
        **dict.fromkeys(("hydra/job_logging=disabled", "hydra.verbose=true", "hydra.verbose=[x]"), True),
        **dict.fromkeys(("hydra.run.dir=.", "hydra/hydra_logging=default", "hydra/job_logging=stdout"), True),
        **dict.fromkeys(("hydra.job.chdir=false", "hydra.job.name=x", "hydra.searchpath=[]"), True),
        **dict.fromkeys(("hydra.run.dir=null", "hydra.launcher=null", "hydra/launcher=joblib", "hydra=null"), False),
        **dict.fromkeys(("hydra.sweeper=null", "hydra.job=null", "hydra.job_logging=3", "hydra.mode=RUNN"), False),
        **dict.fromkeys(("hydra.searchpath=3", "hydra.verbose=[3]", "hydra.runtime=null", "hydra.run=3"), False),
        **dict.fromkeys(("hydra.job.env_set=3", "hydra.output_subdir=[1]"), False),
    }.items(),
)
def test_overrides_of_hydra(capfd, override, can_be):
    level = logging.getLogger().level
    code = cli.main(["-c", "mine", override])
    logging.getLogger().setLevel(level)
    lines = capfd.readouterr().err.splitlines()
    assert code == cli.DONE if can_be else (code, len(lines)) in {(cli.WRONG_INPUT, 1), (cli.DONE, 0)}


def test_the_process_is_as_before_afterwards(runs):
    before = sys.argv, os.environ.get("HYDRA_FULL_ERROR"), Path.cwd(), [signal.getsignal(one) for one in STOP]
    assert cli.main(["-c", "mine"]) == cli.DONE
    assert before == (
        *(sys.argv, os.environ.get("HYDRA_FULL_ERROR"), Path.cwd()),
        [signal.getsignal(one) for one in STOP],
    )
    assert runs


def test_in_another_thread(runs):
    """Where Python lets nobody set a signal's handler."""
    codes = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(["-c", "mine"])))
    thread.start()
    thread.join()
    assert codes == [cli.DONE]
    assert runs


def test_broken_yaml_names_file_and_line(capfd):
    Path("mine.yaml").write_text("name: trial\nhparams: [1,\nseed: 2\n")
    said = answer(capfd, "-c", "mine")
    assert "expected ',' or ']'" in said
    assert f'"{Path.cwd()}/mine.yaml", line 4' in said


def test_a_users_group_that_is_nowhere(capfd):
    Path("mine.yaml").write_text("defaults:\n  - sampler: flat\n")
    assert answer(capfd, "-c", "mine").startswith("In 'mine': Could not find 'sampler/flat'")


@pytest.mark.parametrize(
    "mistake", [ZeroDivisionError("ours"), ValueError("ours"), ConnectionError(errno.ECONNREFUSED, "ours")], ids=type
)
def test_mistakes_of_ours_keep_their_traceback(monkeypatch, mistake):
    def fail(*_, **__):
        raise mistake

    monkeypatch.setattr(cli, "launch", fail)
    with pytest.raises(type(mistake), match="ours"):
        cli.main(["-c", "mine"])


@pytest.mark.parametrize("number", STOP)
def test_a_signal_before_training_interrupts(monkeypatch, capfd, number):
    before = signal.getsignal(number)
    monkeypatch.setattr(cli, "launch", lambda *_, **__: os.kill(os.getpid(), number) or time.sleep(10))
    assert cli.main(["-c", "mine"]) == cli.INTERRUPTED
    assert capfd.readouterr().err == INTERRUPTED
    assert signal.getsignal(number) == before
    assert Path.cwd().name == "start"


SIGNALLED = """
import atexit, os, sys
from nnabla_detofa.launch import cli, composition

def signal(*_):
    os.kill(os.getpid(), NUMBER)

class Finder:
    def find_spec(name, *_):
        if name == "nnabla":
            signal()

sys.meta_path.insert(0, Finder)
atexit.register(signal)
code = cli.main()
assert "nnabla_detofa.launch.run" in sys.modules, "half of it"
sys.exit(code)
"""


@pytest.mark.parametrize("number", STOP)
def test_a_signal_in_the_middle_of_importing_nnabla_and_one_on_the_way_out(number):
    Path("mine.yaml").write_text("name: trial\nhydra: {job: {chdir: true}}\n")
    command = [sys.executable, "-c", SIGNALLED.replace("NUMBER", str(int(number))), "-c", "mine"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.stderr == INTERRUPTED
    assert ended.returncode == cli.INTERRUPTED == 75


@pytest.mark.parametrize("name", ["EROFS", "ENOSPC", "EACCES", "EISDIR"])
def test_a_disk_that_refuses_is_one_line(monkeypatch, capfd, name):
    def refuse(*_, **__):
        raise OSError(getattr(errno, name), "No", "/log/trial/.lock")

    monkeypatch.setattr(cli, "launch", refuse)
    assert answer(capfd, "-c", "mine").startswith("cannot write /log/trial/.lock: No; results go to log/NAME")


def test_a_log_that_cannot_be_opened_is_one_line(capfd):
    """As on a disk that has become read-only: before all else Hydra opens the log of a run folder that is there."""
    Path("logs.yaml").write_text(CONFIG.replace("  - override hydra/job_logging: none\n", ""))
    (log := Path("log/trial/logs.log")).mkdir(parents=True)
    said = answer(capfd, "-c", "logs", "hydra.job.name=logs")
    assert said.startswith(f"cannot write {log.absolute()}: Is a directory; results go to log/NAME")
    assert "cannot be composed" in answer(capfd, "-c", "logs", "hydra.job.name=none/logs")


def test_a_run_folder_that_cannot_be_made_is_one_line(capfd):
    Path("log").touch()
    said = answer(capfd, "-c", "mine")
    assert said.startswith("cannot write ") and "log" in said
