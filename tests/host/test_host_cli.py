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

from nnabla_detofa import cli, composition
from nnabla_detofa.errors import ConfigError, DataError
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
    monkeypatch.setattr(cli, "launch", lambda config: seen.append((config, Path.cwd())))
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

    def fail(config):
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
    start, shipped = tmp_path / "start", tmp_path / "shipped"
    for given, file in {
        "mine": start / "mine.yaml",
        "mine.yaml": start / "mine.yaml",
        str(start / "mine.yaml"): start / "mine.yaml",
        "detofa_demo": shipped / "detofa_demo.yaml",
        "detofa_demo.yaml": shipped / "detofa_demo.yaml",
        "conf/detofa_demo.yaml": shipped / "detofa_demo.yaml",
    }.items():
        assert composition.find_config(given) == file
    (start / "detofa_demo.yaml").touch()
    assert composition.find_config("detofa_demo") == start / "detofa_demo.yaml"
    with pytest.raises(ConfigError, match="unknown configuration 'other/detofa_demo'; known: detofa_demo.yaml"):
        composition.find_config("other/detofa_demo")


def test_ways_to_write_the_option(tmp_path):
    file = tmp_path / "start" / "mine.yaml"
    for arguments in (["-c", "mine", "a=1"], ["a=1", "--config", "mine"], ["--config=mine", "a=1"], ["a=1", "-c=mine"]):
        assert cli.split_arguments(arguments) == (file, ["a=1"])


def test_help_names_the_shipped_configurations(capfd):
    assert cli.main(["-c", "x", "--help"]) == cli.DONE
    assert "a shipped one: detofa_demo.yaml" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no configuration given: -c FILE; shipped: detofa_demo.yaml"),
        (["-c"], "-c must be given once, with one file"),
        (["-c", "mine", "-c", "mine"], "-c must be given once, with one file"),
        (
            ["-c", "detofa_dmo"],
            "unknown configuration 'detofa_dmo'; known: detofa_demo.yaml (did you mean 'detofa_demo.yaml'?)",
        ),
        (["--config-name", "other"], "unknown configuration 'other'; known: detofa_demo.yaml"),
        (["-c", "mine", "pruning=flop"], "unknown pruning 'flop'; known: flops, none (did you mean 'flops'?)"),
        (
            ["-c", "mine", "pruning.path_rati=.1"],
            "unknown key 'pruning.path_rati'; known: pruning.operation_ratio, pruning.operation_ratio_all,"
            " pruning.operation_ratio_per_bucket, pruning.path_ratio, pruning.path_strategy,"
            " pruning.paths_per_operation, pruning.paths_per_threshold, pruning.strategy"
            " (did you mean 'pruning.path_ratio'?)",
        ),
        (
            ["-c", "mine", "prunning.path_ratio=.1"],
            "unknown key 'prunning'; known: args, cost, dataloader, hparams, name, network, optimizer, path_filter,"
            " pruning, regularizer, sampler, search (did you mean 'pruning'?)",
        ),
        (["-c", "mine", "name=${nme}"], "hydra.run.dir: Interpolation key 'nme' not found"),
        (["-c", "mine", "hparams.epoch=${nme}"], "hparams.epoch: Interpolation key 'nme' not found"),
        (["-c", "mine", "hparams.epoch=???"], "hparams.epoch: Missing mandatory value: epoch"),
        (
            ["-c", "mine", "name=["],
            "cannot read the override 'name=[': no viable alternative at input '[';"
            " quote the value if it is meant as it stands: 'name=\"[\"'",
        ),
        (["-c", "mine", "name"], "cannot read the override 'name': Error parsing override 'name'"),
        (
            ["-c", "mine", "name=it's"],
            "cannot read the override 'name=it's': it has a character that must be in quotes;"
            """ quote the value if it is meant as it stands: 'name="it'"'"'s"'""",
        ),
        (
            ["-c", "mine", "name=a,b"],
            "the override 'name=a,b' has several values; in brackets they are a list, KEY=[A,B], and -m runs one after"
            " the other; quote the value if it is meant as it stands: 'name=\"a,b\"'",
        ),
        (
            ["-c", "mine", "pruning=134"],
            "the configuration cannot be composed: Config group override must be a string or a list. Got int",
        ),
        (
            ["-c", "mine", f"hparams.epoch={'9' * 5000}"],
            "the configuration cannot be composed: Exceeds the limit (4300) for integer string conversion:"
            " value has 5000 digits; use sys.set_int_max_str_digits() to increase the limit",
        ),
        (
            ["-c", "mine", "name=a\x0e${"],
            "cannot read the override 'name=a\\x0e${': it has a character that must be in quotes;"
            " quote the value if it is meant as it stands: 'name=\"a\\x0e${\"'",
        ),
        (["-c", "mine", "--bogus"], "unrecognized arguments: --bogus; -h lists the options"),
        (
            ["-c", "mine", "hydra.run.dir=/proc/x"],
            "the configuration cannot be composed: [Errno 2] No such file or directory: '/proc/x'",
        ),
        (["-c", "mine", "~nme"], "Could not delete from config. 'nme' does not exist."),
    ],
)
def test_wrong_input_is_one_line(capfd, arguments, said):
    assert answer(capfd, *arguments) == said


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
    "override",
    [
        *("hydra.output_subdir=null", "hydra.output_subdir=a/b", "hydra.run.dir=elsewhere", "hydra.job.chdir=false"),
        *("hydra/job_logging=disabled", "hydra.verbose=true", "hydra.verbose=[x]", "hydra.job.name=x"),
        *("hydra.run.dir=.", "hydra/hydra_logging=default", "hydra/job_logging=stdout", "hydra.searchpath=[]"),
    ],
)
def test_overrides_of_hydra(override):
    level = logging.getLogger().level
    assert cli.main(["-c", "mine", override]) == cli.DONE
    logging.getLogger().setLevel(level)


@pytest.mark.parametrize(
    "override",
    [
        *("hydra.run.dir=null", "hydra.launcher=null", "hydra/launcher=joblib", "hydra.mode=RUNN", "hydra=null"),
        *("hydra.sweeper=null", "hydra.job=null", "hydra.job_logging=3", "hydra.output_subdir=[1]"),
        *("hydra.searchpath=3", "hydra.verbose=[3]", "hydra.runtime=null", "hydra.job.env_set=3", "hydra.run=3"),
    ],
)
def test_overrides_of_hydra_that_cannot_be(monkeypatch, capfd, override):
    monkeypatch.setattr(cli, "launch", lambda _: None)
    code = cli.main(["-c", "mine", override])
    lines = capfd.readouterr().err.splitlines()
    assert (code, len(lines)) in {(cli.WRONG_INPUT, 1), (cli.DONE, 0)}


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


def test_unexpected_errors_keep_their_traceback(monkeypatch):
    def fail(_):
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(cli, "launch", fail)
    with pytest.raises(ZeroDivisionError, match="a mistake of ours"):
        cli.main(["-c", "mine"])


@pytest.mark.usefixtures("runs")
def test_mistakes_of_ours_are_not_taken_for_wrong_configurations(monkeypatch):
    def fail(_):
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(cli, "launch", fail)
    with pytest.raises(ValueError, match="^a mistake of ours$"):
        cli.main(["-c", "mine"])


def test_interrupted(monkeypatch, capfd):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "launch", interrupt)
    assert cli.main(["-c", "mine"]) == cli.INTERRUPTED == 75
    assert capfd.readouterr().err == "nnabla_detofa: interrupted; run the same command again to go on\n"
    assert Path.cwd().name == "start"


@pytest.mark.parametrize("number", STOP)
def test_a_signal_before_training_interrupts(monkeypatch, capfd, number):
    before = signal.getsignal(number)
    monkeypatch.setattr(cli, "launch", lambda _: os.kill(os.getpid(), number) or time.sleep(10))
    assert cli.main(["-c", "mine"]) == cli.INTERRUPTED
    assert capfd.readouterr().err == "nnabla_detofa: interrupted; run the same command again to go on\n"
    assert signal.getsignal(number) == before


SIGNALLED = """
import atexit, os, sys
from nnabla_detofa import cli, composition

def signal(*_):
    os.kill(os.getpid(), NUMBER)

class Finder:
    def find_spec(name, *_):
        if name == "nnabla":
            signal()

sys.meta_path.insert(0, Finder)
atexit.register(signal)
code = cli.main()
assert "nnabla_detofa.host.launch" in sys.modules, "half of it"
sys.exit(code)
"""


@pytest.mark.parametrize("number", STOP)
def test_a_signal_in_the_middle_of_importing_nnabla_and_one_on_the_way_out(number):
    Path("mine.yaml").write_text("name: trial\nhydra: {job: {chdir: true}}\n")
    command = [sys.executable, "-c", SIGNALLED.replace("NUMBER", str(int(number))), "-c", "mine"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.stderr == "nnabla_detofa: interrupted; run the same command again to go on\n"
    assert ended.returncode == cli.INTERRUPTED


@pytest.mark.parametrize("name", ["EROFS", "ENOSPC", "EACCES", "EISDIR"])
def test_a_disk_that_refuses_is_one_line(monkeypatch, capfd, name):
    def refuse(_):
        raise OSError(getattr(errno, name), "No", "/log/trial/.lock")

    monkeypatch.setattr(cli, "launch", refuse)
    assert answer(capfd, "-c", "mine") == (
        "cannot write /log/trial/.lock: No; results go to log/NAME in the folder where the command is started"
    )


def test_a_run_folder_that_cannot_be_made_is_one_line(capfd):
    Path("log").touch()
    said = answer(capfd, "-c", "mine")
    assert said.startswith("cannot write ") and "log" in said


def test_other_errors_of_the_system_keep_their_traceback(monkeypatch):
    def fail(_):
        raise ConnectionError(errno.ECONNREFUSED, "Connection refused")

    monkeypatch.setattr(cli, "launch", fail)
    with pytest.raises(ConnectionError):
        cli.main(["-c", "mine"])
