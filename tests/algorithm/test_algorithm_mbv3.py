"""The whole method for OFA-MobileNetV3 on a few pictures: another family is another network, and nothing else."""

import json

import numpy as np
import pytest
from small_runs import LOADER, NETWORK, STAGES, TINY, Command

from nnabla_detofa import Detector
from nnabla_detofa.space import SearchSpace

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
