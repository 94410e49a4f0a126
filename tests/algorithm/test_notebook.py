"""`nnabla_detofa.run`: as the command, from a script or a notebook, in any thread; the process is as before."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from small_runs import settled
from threadpoolctl import ThreadpoolController

import nnabla_detofa
from nnabla_detofa.errors import ConfigError, DataError
from nnabla_detofa.launch.composition import compose, plain
from nnabla_detofa.launch.run import launch
from nnabla_detofa.report import plan
from nnabla_detofa.searcher import DetOFASearcher
from nnabla_detofa.signals import STOP
from nnabla_detofa.training import Run
from nnabla_detofa.training.step import PathStep


@pytest.fixture
def runs():
    """The runs that would be made, their settings checked."""
    with settled(DetOFASearcher) as seen:
        yield seen


def state():
    """The state of the process that a run could change."""
    return {
        "argv": list(sys.argv),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "handlers": [signal.getsignal(one) for one in STOP],
        "job": HydraConfig.instance().cfg,
        "hydra": GlobalHydra.instance().hydra,
    }


def without_hydra(composed):
    return OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])


def test_a_run_is_the_commands(tiny_overrides, monkeypatch):
    """It gives the run's summary, and raises an interrupt once all is saved."""
    step, before, summary = PathStep.__call__, state(), {"seed": 0}

    def interrupted(self, path):
        os.kill(os.getpid(), signal.SIGINT)
        return step(self, path)

    monkeypatch.setattr(PathStep, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        nnabla_detofa.run("detofa_demo", tiny_overrides)
    assert state() == before
    assert Path("log/detofa_demo/checkpoint_warmup/000000001").is_dir()
    with settled(DetOFASearcher) as seen:
        assert nnabla_detofa.run("detofa_demo", [*tiny_overrides, "name=other"]) == {}
        (seen[0].folder / "summary.json").write_text(json.dumps(summary))
        assert nnabla_detofa.run("detofa_demo", [*tiny_overrides, "name=other"]) == summary
    assert state() == before


def test_ways_to_give_a_configuration(tiny_overrides, runs):
    composed = compose("detofa_demo", tiny_overrides)
    own = plain(without_hydra(composed), Path.cwd())
    Path("mine.yaml").write_text("defaults:\n  - detofa_demo\n  - _self_\n")
    for config, given in (
        ("detofa_demo", tiny_overrides),
        (Path("mine.yaml"), tiny_overrides),
        ({"defaults": ["detofa_demo", "_self_"]}, tiny_overrides),
        (composed, []),
        (own, []),
    ):
        nnabla_detofa.run(config, [*given, "search.generations=7"])
    own["hparams"]["search"] = {**own["search"], "generations": 7}
    launch(own)
    assert {run.folder.path for run in runs} == {Path.cwd() / "log" / "detofa_demo"}
    options = [run.options.model_dump(exclude={"args": {"comm", "event"}}) for run in runs]
    assert options[0]["search"]["generations"] == 7
    assert len(options) == 6 and all(one == options[0] for one in options)


@pytest.mark.parametrize("options", [(), ("--cfg", "job")])  # Hydra leaves a job behind that it only prints
def test_the_command_leaves_the_process_as_it_was(command, runs, options):
    before = state()
    assert command(*options).code == 0
    assert len(runs) == (not options)
    assert state() == before


@pytest.mark.parametrize(
    ("override", "folder"),
    [
        ("hydra.run.dir=elsewhere/${name}", "elsewhere/trial"),
        ("hydra.output_subdir=null", "log/trial"),
        ("hydra.output_subdir=a/b", "log/trial"),
    ],
)
def test_hydras_own_overrides(tiny_overrides, runs, override, folder):
    nnabla_detofa.run("detofa_demo", [*tiny_overrides, "name=trial", override])
    assert runs[0].folder.path == Path.cwd() / folder
    (log,) = (Path.cwd() / folder).glob("log*.txt")
    assert log.read_text() == ""  # the host's line about a mode of its own is not there


def test_in_another_thread_and_beside_someone_elses_hydra(tiny_overrides, runs):
    hydra.initialize(version_base=None, config_path=None)
    before = state()
    thread = threading.Thread(target=lambda: nnabla_detofa.run("detofa_demo", tiny_overrides))
    thread.start()
    thread.join()
    assert len(runs) == 1
    assert state() == before
    GlobalHydra.instance().clear()


def test_blas_has_one_thread_meanwhile(tiny_overrides, monkeypatch):
    (blas,) = [one for one in ThreadpoolController().lib_controllers if "numpy" in one.filepath]
    before, seen = blas.num_threads, []
    monkeypatch.setattr(DetOFASearcher, "algorithm", staticmethod(lambda _: seen.append(blas.num_threads)))
    monkeypatch.setattr(DetOFASearcher, "lines", staticmethod(lambda _: ()))
    monkeypatch.setattr(Run, "rehearse", lambda *_: {})
    monkeypatch.setattr(plan, "measure_pace", lambda *_: seen.append(blas.num_threads) or plan.Pace(1, 1, 1))
    blas.set_num_threads(3)
    try:
        nnabla_detofa.run("detofa_demo", tiny_overrides)
        launch(plain(without_hydra(compose("detofa_demo", [*tiny_overrides, "name=other"])), Path.cwd()), plan=True)
        assert (seen, blas.num_threads) == ([1, 1], 3)
    finally:
        blas.set_num_threads(before)
    assert not Path("log/other").exists()


@pytest.mark.parametrize(
    ("config", "more", "error", "said"),
    [
        ("detofa_dmo", [], ConfigError, "'detofa_dmo'; .*did you mean 'detofa_demo.yaml'"),
        ("detofa_demo", ["hydra.mode=MULTIRUN"], ConfigError, "hydra.mode"),
        ("detofa_demo", ["plan=true"], ConfigError, "plan=true"),
        ("detofa_demo", ["~dataloader.voc.generate", "dataloader.voc.root=no"], DataError, "no VOC2007 in .*/no"),
        ({"name": object()}, [], ConfigError, "name: .*'object'"),
    ],
)
def test_wrong_input_raises(tmp_path, monkeypatch, config, more, error, said):
    monkeypatch.chdir(tmp_path)
    before = state()
    with pytest.raises(error, match=said):
        nnabla_detofa.run(config, more)
    assert state() == before
