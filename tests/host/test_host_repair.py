"""The repair puts stand-ins where the host's folder is missing, and leaves a complete host alone."""

import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from nnabla_detofa.errors import HostError
from nnabla_detofa.host.cuda_libraries import NVIDIA_DRIVER, find
from nnabla_detofa.host.repair import NETWORKS, PACKAGE, MissingModule, repair

FOLDER = Path("contrib", "classification", "ofa", "networks")

PROBE = """
import sys
from nnabla_detofa.host import Model, Runner, repair
from nnabla_nas import contrib
assert contrib.__file__.startswith(sys.argv[1]), contrib.__file__
print(repair(), type(contrib.ofa_resnet50).__name__, getattr(contrib.ofa_resnet50, "__file__", None))
try:
    print(contrib.ofa_mbv3.SearchNet)
except Exception as error:
    print(type(error).__name__, error)
"""


def copy_of_the_host(folder: Path, *, complete: bool) -> Path:
    source = Path(importlib.util.find_spec("nnabla_nas").origin).parent
    copy = folder / "nnabla_nas"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", "networks"))
    if complete:  # as in the git repository: modules in a folder without __init__.py
        (copy / FOLDER).mkdir()
        for network in NETWORKS:
            (copy / FOLDER / f"{network}.py").write_text("SearchNet = 'the real one'\n")
    return copy


def probe(folder: Path) -> list[str]:
    path = os.pathsep.join([str(folder), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # nnabla's own lines are kept off the terminal
    return done.stdout.splitlines()


def test_incomplete_host_imports_and_its_missing_networks_raise_on_use(tmp_path):
    copy_of_the_host(tmp_path, complete=False)
    state, used = probe(tmp_path)
    assert state == "True MissingModule None"
    assert used.startswith(f"HostError {PACKAGE}.ofa_mbv3.SearchNet is not available")


def test_complete_host_is_left_as_it_is(tmp_path):
    copy = copy_of_the_host(tmp_path, complete=True)
    state, used = probe(tmp_path)
    assert state == f"False module {copy / FOLDER / 'ofa_resnet50.py'}"
    assert used == "the real one"


LATER = """
import sys
import nnabla_detofa.launch.run
assert not [name for name in sys.modules if name.startswith("sklearn")]
from nnabla_nas.dataset.cifar10 import train_test_split
from nnabla_nas.utils.estimator.latency import MLPRegressor
print(sorted(map(len, train_test_split([1, 2, 3, 4], test_size=1))), MLPRegressor(hidden_layer_sizes=(7,)))
import sklearn.model_selection, sklearn.neural_network
assert sklearn.model_selection.train_test_split is not train_test_split
"""


def test_the_host_gets_scikit_learn_when_it_calls_it():
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[1, 3] MLPRegressor(hidden_layer_sizes=(7,))\n"), done.stderr


def test_repair_is_idempotent():
    first = repair()
    modules = {name: module for name, module in sys.modules.items() if name.startswith(PACKAGE)}
    assert repair() == first
    assert {name: module for name, module in sys.modules.items() if name.startswith(PACKAGE)} == modules


def test_stand_in_bears_introspection():
    module = MissingModule("some.network")
    assert isinstance(module, ModuleType)
    assert not hasattr(module, "__file__")
    assert inspect.getmodule(module) is module
    with pytest.raises(HostError, match=r"some\.network\.SearchNet is not available"):
        _ = module.SearchNet


def test_host_that_is_not_installed(monkeypatch):
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(HostError, match="pip install nnabla-nas"):
        repair()


LAUNCHER = """
import importlib.util, sys
import nnabla_detofa
nnabla_detofa.register()
from nnabla_nas.utils.cli import cli
context = cli.get_extension_context("cpu", device_id="0", type_config="float")
print(cli.StreamEventHandler(int(context.device_id)).default_stream_synchronize(), context.backend)
print("nnabla_ext.cuda" in sys.modules)
"""


@pytest.mark.skipif(importlib.util.find_spec("nnabla_ext.cuda") is not None, reason="CUDA's extension is installed")
def test_the_hosts_launcher_starts_without_cuda():
    said = subprocess.run([sys.executable, "-c", LAUNCHER], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["None ['cpu:float']", "False"]


@pytest.mark.skipif(find(NVIDIA_DRIVER) is not None, reason="a driver is installed")
def test_it_starts_with_the_extension_and_no_driver(tmp_path):
    (folder := tmp_path / "nnabla_ext" / "cuda").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('libcuda.so.1')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", LAUNCHER], capture_output=True, text=True, check=True, env=environment)
    assert said.stdout.splitlines() == ["None ['cpu:float']", "False"]
