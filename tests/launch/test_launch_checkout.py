"""A checkout of sony/nnabla-nas, which PyPI's wheel is a part of: registration and both launchers, without mocks.

`make test-host HOST=FOLDER` runs this; where no folder is named, it is skipped.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
HOST = Path(os.environ.get("HOST") or "/nowhere")
LAUNCHER = "python -m nnabla_detofa.host main.py"
pytestmark = pytest.mark.skipif(
    not (HOST / "main.py").is_file(), reason="HOST names no checkout of sony/nnabla-nas: make test-host HOST=FOLDER"
)

NETWORK = "network.ofa_resnet50_centernet"
SMALL = [
    *(f"{NETWORK}.neck=[8,8]", f"{NETWORK}.head=8", f"{NETWORK}.n_classes=3"),
    *(f"++{NETWORK}.space.width_scale=0.0625", f"++{NETWORK}.space.depths=[0,1]"),
    *("dataloader.voc.generate.n_train=40", "dataloader.voc.generate.n_test=8", "dataloader.voc.held_out=16"),
    *("hparams.batch_size_train=8", "hparams.mini_batch_train=8", "hparams.warmup=1", "hparams.finetune=1"),
    *("hparams.batch_size_valid=8", "hparams.mini_batch_valid=8", "path_filter.paths_per_bucket=4"),
    *("path_filter.bn_images=8", "path_filter.validation_images=8", "path_filter.fit.epochs=2", "path_filter.folds=2"),
    *("path_filter.second_measurement=false", "search.generations=2", "pruning.paths_per_operation=5"),
]
REGISTRATION = """
import nnabla_detofa
nnabla_detofa.register()
from nnabla_detofa.host import repair
from nnabla_nas import contrib, dataset, runner
print(repair(), contrib.ofa_resnet50.__file__)
print(contrib.ofa_mbv3.SearchNet.__module__, contrib.ofa_resnet50_centernet.__name__, runner.DetOFASearcher.__name__)
print(dataset.voc.__name__, dataset.coco.__name__)
"""


def started(*command: str) -> str:
    """The output of a command that is started in the checkout and ends well."""
    environment = {**os.environ, "PYTHONPATH": str(HOST), "PYTHONWARNINGS": "ignore", "HYDRA_FULL_ERROR": "1"}
    done = subprocess.run([sys.executable, *command], cwd=HOST, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def device() -> str:
    """The host's name of the device that is there."""
    asked = "from nnabla_detofa.host.device import open_device; print(open_device()[0].ctx.backend[0].split(':')[0])"
    return started("-c", asked).split()[-1]


def results(folder: Path) -> dict[str, object]:
    """The detectors that a run found."""
    found: dict[str, object] = {file.name: file.read_text() for file in folder.glob("*.csv")}
    return found | {name: json.loads((folder / f"{name}.json").read_text()) for name in ("search", "detectors")}


def test_registration_leaves_a_complete_host_as_it_is():
    assert started("-c", REGISTRATION).splitlines() == [
        f"False {HOST.resolve()}/nnabla_nas/contrib/classification/ofa/networks/ofa_resnet50.py",
        "nnabla_nas.contrib.classification.ofa.networks.ofa_mbv3 nnabla_detofa.supernet.detector DetOFASearcher",
        "nnabla_detofa.data.voc nnabla_detofa.data.coco",
    ]


def test_the_hosts_own_launcher_and_ours_find_the_same(tmp_path):
    where = [f"dataloader.voc.root={tmp_path}/digits", f"args.context={device()}"]
    launcher = ["-m", "nnabla_detofa.host", "main.py", "--config-name", "detofa_demo"]
    started(*launcher, *SMALL, *where, f"hydra.run.dir={tmp_path}/theirs")
    started("-m", "nnabla_detofa.cli", "-c", "detofa_demo", *SMALL, *where, f"hydra.run.dir={tmp_path}/ours")
    assert results(tmp_path / "theirs") == results(tmp_path / "ours")


def test_configurations_of_the_host_compose_as_before():
    assert "algorithm: DartsSearcher" in started("-m", "nnabla_detofa.host", "main.py", "--cfg", "job")


def test_printed_commands_compose():
    text = (REPOSITORY / "README.md").read_text().replace("\\\n", " ")
    printed = re.findall(rf"^{re.escape(LAUNCHER)}.*", text, re.MULTILINE)
    assert printed
    for command in printed:
        assert "algorithm: " in started(*shlex.split(command, comments=True)[1:], "--cfg", "job", "--resolve")
