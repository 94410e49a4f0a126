"""A run of oblong images, from the data to boxes in pictures: height before width throughout."""

import json

import numpy as np
import onnx
import pytest
from small_runs import LOADER, STAGES, TINY, Command, settled

from nnabla_detofa import Detector
from nnabla_detofa.data.voc import DataLoader
from nnabla_detofa.deploy.front import front_of_folder
from nnabla_detofa.deploy.nnp import NnpMaps
from nnabla_detofa.searcher import DetOFASearcher
from nnabla_detofa.space import CostModel
from nnabla_detofa.tasks.centernet import detect
from nnabla_detofa.training.path_statistics import STATISTICS, read

SIZE, STRIDE = (32, 64), 4
OBLONG = {**LOADER, "image_size": [*SIZE], "generate": {**LOADER["generate"], "image_size": [40, 60]}}


@pytest.fixture(scope="module")
def oblong(tmp_path_factory, pictures):
    """A command whose run is done, with its answer."""
    command = Command(tmp_path_factory.mktemp("oblong"), pictures, tiny={**TINY, "dataloader": {"voc": OBLONG}})
    return command, command()


@pytest.fixture(scope="module")
def front(oblong):
    return front_of_folder(oblong[0].folder)


def test_it_runs_to_its_end_and_says_its_size(oblong):
    command, answer = oblong
    assert (answer.code, answer.err, answer.ran) == (0, [], STAGES)
    assert command.json("summary.json")["test"]["image_size"] == [*SIZE]
    assert read(command.folder / STATISTICS).about["image_size"] == [*SIZE]
    assert "at 32 × 64 pixels" in " ".join((command.folder / "report.html").read_text().split())


def test_costs_are_those_of_the_oblong_detector(front):
    network = front._network
    for one in front.rows:
        costs, path = front.described(one)["costs"], one.detector.genes[None]
        assert costs["flops"] == network.flops(SIZE)(path)[0] == one.detector.flops
        for name in ("parameters", "memory"):
            assert costs[name] == CostModel.of(network.network_layers(SIZE), name)(path)[0]


def test_its_files_take_images_of_that_height_and_width(oblong, front):
    for one in front.rows:
        folder = oblong[0].folder / "detectors" / one.folder
        assert json.loads((folder / "detector.json").read_text())["image_size"] == [*SIZE]
        model = onnx.load(folder / "detector.onnx")
        given = [axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
        assert given == ["n", *SIZE, 3]
        assert {one.key: one.value for one in model.metadata_props}["image_size"] == "[32, 64]"
        maps = NnpMaps(folder / "detector.nnp")(np.zeros((1, 3, *SIZE), np.float32))
        assert [one.shape for one in maps] == [(1, n, SIZE[0] // STRIDE, SIZE[1] // STRIDE) for n in (3, 2, 2)]


@pytest.mark.parametrize("name", ["detector.onnx", "detector.nnp"])
def test_boxes_in_a_picture_are_those_of_the_network(oblong, front, pictures, name):
    test, one = DataLoader(False, False, 4, root=pictures, **OBLONG), front.rows[-1]
    detector = Detector.load(oblong[0].folder / "detectors" / one.folder / name)
    assert detector.image_size == SIZE
    wanted = detect(front.network_of(one), test.batches(np.arange(4)))
    for number in range(4):
        found, own = detector.detect(test.dataset.images[number].file), (wanted.image == number) & (wanted.score > 0)
        np.testing.assert_allclose(found.score, wanted.score[own], rtol=1e-4)
        steady = np.abs(np.diff(wanted.score[own], prepend=2, append=-1)) > 1e-5
        steady = steady[1:] & steady[:-1]  # others may change places
        assert steady.mean() > 0.5
        boxes = wanted.box[own] - test.dataset.origin
        np.testing.assert_allclose(found.box[steady], boxes[steady], rtol=1e-3, atol=0.05)


def test_a_plan_says_the_costs_of_the_oblong_network(oblong, front):
    command, _ = oblong
    answer = command("plan=true", "name=planned")
    low, high = front._network.flops(SIZE).range(front._network.space)
    assert answer.code == 0
    assert any(f"{low:,.0f} to {high:,.0f} MACs" in line for line in answer.out)


def test_a_square_told_as_height_and_width_is_the_same_run(again):
    told = [f"dataloader.voc.{key}image_size=[32,32]" for key in ("", "generate.")]
    answer = again(*told)
    assert (answer.code, answer.ran, answer.kept) == (0, [], STAGES)


@pytest.mark.parametrize("value", ["[32,48]", "[32]", "[32,32,32]", "[0,32]", "0", "32x64", "[32,a]", "null"])
def test_what_no_size_can_be_is_refused_in_a_line(command, value):
    refusal = command(f"dataloader.voc.image_size={value}").refusal
    assert refusal.startswith("dataloader.voc.image_size is ") and "[height, width]" in refusal


def test_turned_images_are_another_run(oblong):
    assert oblong[0]("dataloader.voc.image_size=[64,32]").refusal


def test_batches_and_targets_are_oblong(command):
    with settled(DetOFASearcher) as ready:
        assert command("dataloader.voc.image_size=[64,32]").code == 0
    (run,) = ready
    assert run.image_size == (64, 32)
    batch = run.data["train"].next()
    assert batch["inputs"][0].shape[2:] == (64, 32) and batch["targets"][0].shape[2:] == (16, 8)
    assert run.model.target_shapes(run.image_size, 10) == run.data["train"].target_shapes()
