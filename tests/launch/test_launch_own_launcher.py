"""Our configuration runs under both launchers: ours, and the host's own."""

import subprocess
import sys

import pytest
from nnabla_nas import runner
from omegaconf import OmegaConf

import nnabla_detofa
from nnabla_detofa import processes
from nnabla_detofa.host.communicator import open_communicator
from nnabla_detofa.launch import cli
from nnabla_detofa.launch.__main__ import start

SMALL = [
    "args.context=cpu",
    "network.ofa_resnet50_centernet.n_classes=3",  # what our launcher finds out by itself, the host asks for
    "hparams.mini_batch_train=16",
    "dataloader.voc.generate.n_train=40",
    "dataloader.voc.generate.n_test=8",
    "dataloader.voc.held_out=16",
    "hparams.batch_size_valid=4",
    "hparams.mini_batch_valid=4",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
]


@pytest.fixture
def ran(monkeypatch, tmp_path):
    """The runners that were built and run, in a folder of the test's own; running does nothing."""
    nnabla_detofa.register()
    ran = []
    monkeypatch.setattr(runner.DetOFASearcher, "run", lambda each: ran.append(each))
    monkeypatch.setattr(sys, "argv", ["nnabla_detofa"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.chdir(tmp_path)
    yield ran
    for each in ran:
        each.monitor.close()


@pytest.fixture
def host_launch():
    """The host's own launcher, as it is once our parts are registered."""
    nnabla_detofa.register()
    from nnabla_nas.utils.cli import cli as host

    return lambda config, **_: host.main(OmegaConf.create(config))


def test_both_launchers_build_the_same_runner(ran, host_launch, monkeypatch):
    assert cli.main(["-c", "detofa_demo", *SMALL]) == cli.DONE
    monkeypatch.setattr(cli, "launch", host_launch)
    assert cli.main(["-c", "detofa_demo", *SMALL]) == cli.DONE
    ours, theirs = ran
    assert type(ours) is type(theirs) is runner.DetOFASearcher
    assert ours.model.space == theirs.model.space
    assert set(ours.model.get_parameters()) == set(theirs.model.get_parameters())
    assert [len(ours.dataloader[part]) for part in ("train", "valid", "test")] == [
        len(theirs.dataloader[part]) for part in ("train", "valid", "test")
    ]
    assert ours.hparams == theirs.hparams


@pytest.mark.usefixtures("host_launch")
def test_the_hosts_launcher_has_processes_on_a_cpu():
    from nnabla_nas.utils.cli import cli as host

    assert host.CommunicatorWrapper is open_communicator


def test_a_process_of_the_hosts_that_fails_ends_all(tmp_path, monkeypatch):
    script = tmp_path / "main.py"
    script.write_text("raise ArithmeticError")
    ended = []
    monkeypatch.setattr(sys, "argv", ["python"])
    monkeypatch.setattr(processes, "end_all", ended.append)
    for n in (1, 2):
        monkeypatch.setattr(processes, "started", lambda n=n: n)
        with pytest.raises(ArithmeticError):
            start([str(script)])
    assert ended == [1]


def test_a_script_of_the_hosts_gets_our_configurations(tmp_path, monkeypatch, capfd):
    script = tmp_path / "main.py"
    script.write_text("import sys\nprint(*sys.argv[1:])\n")
    monkeypatch.setattr(sys, "argv", ["python"])
    start([str(script), "a=1"])
    assert capfd.readouterr().out == f"--config-dir {cli.SHIPPED} a=1\n"
    start([str(script), "--config-dir=mine"])
    assert capfd.readouterr().out == "--config-dir=mine\n"
    start([str(script), "a=1", "-m", "b=1,2", "--config-dir=mine"])
    assert capfd.readouterr().out == "-m --config-dir=mine a=1 b=1,2\n"
    with pytest.raises(SystemExit, match="--bogus"):
        start([str(script), "--bogus"])
    for wrong in ([], [str(tmp_path / "nowhere.py")]):
        with pytest.raises(SystemExit, match="usage"):
            start(wrong)


def test_its_former_name():
    ended = subprocess.run([sys.executable, "-m", "nnabla_detofa.host"], capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("usage")
