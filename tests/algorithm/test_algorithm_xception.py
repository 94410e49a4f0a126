"""The whole method for OFA-Xception on a few pictures: another family is another network, and nothing else."""

import json

import numpy as np
import pytest
from small_runs import LOADER, NETWORK, STAGES, TINY, Command

from nnabla_detofa import Detector
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import NETWORKS

SPACE = {"width_scale": 0.0625, "channel_divisor": 4, "middle_blocks": 3, "kernels": [3, 5], "expands": [0.5, 1.0]}
PHASES = {
    "fullnet": {"epochs": 1, "depths": [3], "kernels": [5], "expands": [1.0], "rate": 0.05},
    "depth": {"epochs": 1, "kernels": [5], "expands": [1.0], "rate": 0.02},
    "expand": {"epochs": 1, "rate": 0.02},
}
IMAGES = {"classes": [0, 1, 7], "n_train": 60, "n_test": 12, "image_size": 32}
PRETRAINED = {
    "network": {"ofa_xception_classifier": {"n_classes": 3, "space": SPACE}},
    "dataloader": {"image_folder": {"generate": IMAGES, "held_out": 16, "image_size": 32, "workers": 0}},
    "hparams": {f"{kind}_{split}": 8 for kind in ("batch_size", "mini_batch") for split in ("train", "valid")},
    "path_filter": TINY["path_filter"],
    "args": TINY["args"],
}
SMALL = {
    **TINY,
    "network": {"ofa_xception_centernet": {**NETWORK, "space": SPACE}},
    "dataloader": {"voc": LOADER},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, pictures):
    chosen = ["network=ofa_xception_centernet_small"]
    command = Command(tmp_path_factory.mktemp("xception"), pictures, tiny=SMALL, chosen=chosen)
    return command, command()


def test_every_stage_is_done_and_kept_the_second_time(run):
    command, answer = run
    assert answer.code == 0 and answer.ran == STAGES, answer.err
    assert command().kept == STAGES


def test_tables_name_depths_and_genotypes_are_the_hosts(run):
    command, _ = run
    space = SearchSpace.ofa_xception(**SPACE)
    table, paths = command.measured("paths_final.csv")
    assert space.contains(paths).all() and "middle2_kernel0" in table[0]
    operations = command.rows("operations.csv")
    assert {(row["depth"], row["expand"]) for row in operations} == {
        ("1", ""),
        *((depth, expand) for depth in "23" for expand in ("0.5", "1.0")),
    }
    pruned = SearchSpace.from_dict(command.json("pruned_space.json"), within=space)
    assert pruned.size() < space.size()
    for row in command.rows("pareto.csv"):
        genotype = json.loads(row["genotype"])
        assert set(genotype) == {"ks", "e", "d"} and pruned.contains(space.from_genotype(genotype)[None]).all()


def test_detectors_that_leave_the_run_answer(run):
    command, _ = run
    row = command.rows("pareto.csv")[0]
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    found = [
        Detector.load(command.folder / row["file"] / f"detector.{suffix}").detect(image)
        for suffix in ("nnp", "h5", "onnx")
    ]
    for one in found[1:]:
        np.testing.assert_allclose(one.score, found[0].score, rtol=1e-3)
        np.testing.assert_allclose(one.box, found[0].box, atol=1e-2)


def test_a_classifier_is_pretrained_in_phases_and_a_detector_begins_from_it(tmp_path, pictures):
    chosen = ["network=ofa_xception_classifier_small", "hparams=ofa_xception_pretrain"]
    tiny = {**PRETRAINED, "hparams": {**PRETRAINED["hparams"], "phases": PHASES}}
    classes = [*(f"hparams.phases.{name}" for name in ("kernel", "depth_first", "expand_first"))]
    command = Command(tmp_path, pictures, "demo_pretrain", tiny, removed=classes, chosen=chosen)
    answer = command()
    assert answer.code == 0 and "expand" in answer.ran, answer.err
    file = tmp_path / "log" / "demo_pretrain" / "weights.h5"
    space = SearchSpace.ofa_xception(**SPACE)
    given = {"space": SPACE, "genotype": space.genotype(space.smallest()), "pretrained": str(file)}
    network = NETWORKS["ofa_xception_centernet"].TrainNet(3, **{**NETWORK, **given})
    assert {name.split("/")[0] for name in network.transfer.new} == {"neck", "heads"}
