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

import numpy as np
import pytest

from nnabla_detofa.guided_sampling import guide
from nnabla_detofa.path_filter import PathFilter
from nnabla_detofa.space import ClassifierLayers, CostModel, SearchSpace

REPOSITORY = Path(__file__).parents[2]
HOST = Path(os.environ.get("HOST") or "/nowhere")
LAUNCHER = "python -m nnabla_detofa.launch main.py"
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
        "nnabla_nas.contrib.classification.ofa.networks.ofa_mbv3 ofa_resnet50_centernet DetOFASearcher",
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
    text = (REPOSITORY / "docs" / "cluster.md").read_text().replace("\\\n", " ")
    printed = re.findall(rf"^{re.escape(LAUNCHER)}.*", text, re.MULTILINE)
    assert printed
    for command in printed:
        assert "algorithm: " in started(*shlex.split(command, comments=True)[1:], "--cfg", "job", "--resolve")


GUIDED = """
import json, runpy, sys
import nnabla_detofa
nnabla_detofa.register()
from nnabla_nas import contrib
name, folder = sys.argv[1:]
build, drawn = getattr(contrib, name).SearchNet, []
def noting(**options):
    network = build(**options)
    sample = network.sample_active_subnet
    network.sample_active_subnet = lambda: drawn.append(sample())
    return network
getattr(contrib, name).SearchNet = noting
sys.argv = ["main.py", "--config-dir", folder, "--config-name", name]
runpy.run_path("main.py", run_name="__main__")
print(json.dumps(drawn))
"""
OFA = """
name: guided
args:
  {context: cpu, device_id: "-1", type_config: float, search: true, algorithm: OFASearcher, output_path: ".",
   save_nnp: false, no_visualize: true, print_frequency: 1}
dataloader:
  image_folder:
    {root: FOLDER/digits, image_size: 32, held_out: 8, workers: 0,
     generate: {classes: [0, 1], n_train: 40, n_test: 8, image_size: 32, scale: [0.4, 0.6]}}
network:
  NAME:
    {num_classes: 2, NETWORK,
     guide: {path_filter: FOLDER/path_filter.h5, pruned_space: FOLDER/pruned_space.json, image_size: 32}}
optimizer:
  train: &solver {name: Nesterov, lr: 0.01, momentum: 0.9}
  train_no_decay: *solver
hparams:
  {task: all, epoch: 2, batch_size_train: 8, mini_batch_train: 8, batch_size_valid: 8, mini_batch_valid: 8,
   input_shapes: [[3, 32, 32]], target_shapes: [[1]], train_image_size_list: [32], valid_image_size_list: [32],
   valid_genotypes: [], valid_ce_loss: true, lambda_kd: 0, loss_weights: null, no_decay_keys: ["_b$"],
   validation_frequency: 1}
hydra: {job: {chdir: true}, run: {dir: FOLDER/log}}
"""
OFA_NETWORKS = {
    "ofa_mbv3": (
        SearchSpace.ofa_mbv3(depths=(2, 3), kernels=(3, 5), expands=(3, 4), width_scale=0.25),
        "width_mult: 0.25, depth_candidates: [2, 3], op_candidates: [MB3 3x3, MB3 5x5, MB4 3x3]",
    ),
    "ofa_resnet50": (
        SearchSpace.ofa_resnet50(depths=(0, 1), widths=(0.1, 0.2), expands=(0.25, 0.5)),
        "depth_list: [0, 1], width_mult_list: [0.1, 0.2], expand_ratio_list: [0.25, 0.5]",
    ),
}


class Drawn:
    """In a network's place: what is set is nobody's."""

    def set_active_subnet(self, **genotype):
        """Do nothing."""


@pytest.mark.parametrize("name", OFA_NETWORKS)
def test_the_hosts_ofa_searcher_trains_what_a_path_filter_accepts(name, tmp_path):
    space, options = OFA_NETWORKS[name]
    rng = np.random.default_rng(0)
    pruned = space.restrict(rng.random(space.n_operations) > 0.1)
    files = {"path_filter": str(tmp_path / "path_filter.h5"), "pruned_space": str(tmp_path / "pruned_space.json")}
    path_filter = PathFilter(space.token_layout(), 5, rng=rng, main_effects=False, dim=8, heads=2, layers=1, hidden=8)
    path_filter.save(files["path_filter"], space={**space.family.to_dict(), "cost": "flops"})
    Path(files["pruned_space"]).write_text(json.dumps(pruned.to_dict()))
    text = OFA.replace("NAME", f"guided_{name}").replace("NETWORK", options).replace("FOLDER", str(tmp_path))
    (tmp_path / f"guided_{name}.yaml").write_text(text)
    drawn = json.loads(started("-c", GUIDED, f"guided_{name}", str(tmp_path)).splitlines()[-1])
    assert len(drawn) == 2 * (40 - 8) // 8
    assert pruned.contains(np.array([*map(space.from_genotype, drawn)])).all()
    cost = CostModel.of(ClassifierLayers(space, image_size=32, n_classes=2), "flops")
    alone = Drawn()
    guide(alone, cost, rng=np.random.default_rng(0), **files)
    assert drawn == [alone.sample_active_subnet() for _ in drawn]
