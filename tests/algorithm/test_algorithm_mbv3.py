"""The whole method for OFA-MobileNetV3 on a few pictures: another family is another network, and nothing else."""

import json

import numpy as np
import pytest
from small_runs import LOADER, NETWORK, STAGES, TINY, Command

from nnabla_detofa import Detector
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import NETWORKS

SPACE = {"width_scale": 0.125, "channel_divisor": 4, "depths": [1, 2], "kernels": [3, 5], "expands": [3, 6]}
SMALL = {
    **TINY,
    "network": {"ofa_mbv3_centernet": {**NETWORK, "space": SPACE}},
    "dataloader": {"voc": LOADER},
}


@pytest.fixture(scope="module", params=["flops", "latency"])
def run(request, tmp_path_factory, pictures):
    chosen = ["network=ofa_mbv3_centernet_small", f"cost={request.param}"]
    timing = {"cost": {"repetitions": 1, "warm_up": 0, "check_paths": 2}} if request.param == "latency" else {}
    start = tmp_path_factory.mktemp(request.param)
    command = Command(start, pictures, tiny={**SMALL, **timing}, chosen=chosen)
    return command, command(), request.param


def test_every_stage_is_done_and_kept_the_second_time(run):
    command, answer, cost = run
    stages = [*(["latency"] if cost == "latency" else []), *STAGES]
    assert answer.code == 0 and answer.ran == stages, answer.err
    assert command().kept == stages


def test_tables_name_kernels_and_genotypes_are_the_hosts(run):
    command, _, _ = run
    space = SearchSpace.ofa_mbv3(**SPACE)
    table, paths = command.measured("paths_final.csv")
    assert space.contains(paths).all() and "stage4_kernel1" in table[0]
    operations = command.rows("operations.csv")
    assert {row["kernel"] for row in operations} == {"3", "5"} and {row["depth"] for row in operations} == {"1", "2"}
    pruned = SearchSpace.from_dict(command.json("pruned_space.json"), within=space)
    for row in command.rows("pareto.csv"):
        genotype = json.loads(row["genotype"])
        assert set(genotype) == {"ks", "e", "d"} and pruned.contains(space.from_genotype(genotype)[None]).all()


def test_detectors_that_leave_the_run_answer(run):
    command, _, _ = run
    row = command.rows("pareto.csv")[0]
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    found = [
        Detector.load(command.folder / row["file"] / f"detector.{suffix}").detect(image) for suffix in ("nnp", "h5")
    ]
    np.testing.assert_allclose(found[0].box, found[1].box, atol=1e-2)


def test_pre_training_opens_kernels_and_a_detector_begins_with_it(tmp_path, pictures):
    phases = {
        "fullnet": {"epochs": 1, "depths": [2], "kernels": [5], "expands": [6], "rate": 0.05, "ramp": 1},
        "kernel": {"epochs": 1, "depths": [2], "expands": [6], "rate": 0.02},
        "expand": {"epochs": 1, "rate": 0.02},
    }
    images = {"classes": [0, 1, 7], "n_train": 60, "n_test": 12, "image_size": 32}
    tiny = {
        "network": {"ofa_mbv3_classifier": {"n_classes": 3, "space": SPACE, "drop_rate": 0.1}},
        "dataloader": {"image_folder": {"generate": images, "held_out": 16, "image_size": 32, "workers": 0}},
        "hparams": {
            "phases": phases,
            **{f"{k}_{s}": 8 for k in ("batch_size", "mini_batch") for s in ("train", "valid")},
        },
        "path_filter": {**TINY["path_filter"], "second_measurement": False},
        "args": {"context": "cpu"},
    }
    shipped = [
        f"hparams.phases.{name}" for name in ("fullnet", "depth", "expand_first", "expand", "width_first", "width")
    ]
    chosen = ["network=ofa_mbv3_classifier_small"]
    command = Command(tmp_path, pictures, "demo_pretrain", tiny, removed=shipped, chosen=chosen)
    answer = command()
    assert answer.code == 0 and [one for one in answer.ran if "top1" not in one][:3] == [*phases], answer.err
    assert any(line.startswith("expand: the channels of") for line in answer.out)  # which smaller expands lead with
    network = NETWORKS["ofa_mbv3_centernet"].SearchNet(
        3, **{**NETWORK, "space": SPACE}, pretrained=str(command.folder / "weights.h5")
    )
    assert {name.split("/")[0] for name in network.transfer.loaded} == {"first_conv", "blocks"}
