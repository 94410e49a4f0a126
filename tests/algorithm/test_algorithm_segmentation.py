"""The whole method for semantic segmentation on a few pictures, and what leaves the run."""

import json

import cv2
import numpy as np
import pytest
from small_runs import DIGITS, NETWORK, STAGES, TINY, Command

from nnabla_detofa import Detector
from nnabla_detofa.data.voc_masks import VocMaskOptions
from nnabla_detofa.deploy import Exported, Segmenter
from nnabla_detofa.errors import WeightsError
from nnabla_detofa.segmentation import IGNORED, in_region

LOADER = {"generate": DIGITS, "image_size": 32, "output_stride": 2, "held_out": 16, "workers": 0}
FEW = 3  # of some ten thousand pixels, nearly of two classes: they fall to either side where sums are rounded otherwise
SMALL = {
    **TINY,
    "network": {"ofa_resnet50_segmenter": {**NETWORK, "neck": [8, 8, 8]}},
    "dataloader": {"voc_masks": LOADER},
}


@pytest.fixture(scope="module")
def segmented(tmp_path_factory, pictures):
    command = Command(tmp_path_factory.mktemp("segmented"), pictures, "segment_demo", SMALL)
    return command, command()


@pytest.fixture(scope="module")
def test_split(segmented, pictures):
    """The data set that the run was tested on, whose pictures are of the configuration's options too."""
    settings = segmented[0].json("stages.json")["warmup"]["inputs"]["dataloader"]["voc_masks"]
    options = VocMaskOptions.of("dataloader.voc_masks", {**settings, "root": pictures})
    return options.read("test", options.trained_classes())


def plain_miou(found, dataset):
    """Of maps, found for each image, by a plain count; and what FEW pixels count for."""
    counts = np.zeros((4, 4), int)
    for image, classes in zip(dataset.images, found, strict=True):
        for one, other in zip(classes.ravel(), image.classes().ravel(), strict=True):
            if other != IGNORED:
                counts[other, one] += 1
    unions = counts.sum(axis=0) + counts.sum(axis=1) - np.diag(counts)
    shares = [right / union for right, union in zip(np.diag(counts), unions, strict=True) if union]
    return np.mean(shares), FEW / unions[unions > 0].min() / len(shares)


def test_every_stage_is_done_and_kept_the_second_time(segmented):
    command, answer = segmented
    assert answer.code == 0 and answer.ran == STAGES, answer.err
    summary = command.json("summary.json")
    assert summary["metric"] == "miou" and summary["classes"] == ["background", "0", "1", "7"]
    assert any("mIoU (%)" in line for line in answer.out)
    assert command().kept == STAGES


@pytest.mark.parametrize("suffix", ["onnx", "nnp"])
def test_the_figure_is_that_of_the_files_by_a_plain_count(segmented, test_split, suffix):
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
    command, _ = segmented
    for row in command.rows("pareto.csv"):
        segmenter = Segmenter.load(command.folder / row["file"] / f"detector.{suffix}")
        found = [segmenter.segment(image.file) for image in test_split.images]
        miou, few = plain_miou(found, test_split)
        assert float(row["ap"]) == pytest.approx(miou, abs=few)
        assert float(row["ap_low"]) <= float(row["ap"]) <= float(row["ap_high"])


def test_classes_of_the_onnx_file_are_those_between_its_cells(segmented, test_split):
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = segmented[0].folder / segmented[0].rows("pareto.csv")[0]["file"]
    session = onnxruntime.InferenceSession(folder / "detector.onnx", providers=["CPUExecutionProvider"])
    segmenter = Segmenter.load(folder)
    for image in test_split.images[:3]:
        pixels = np.ascontiguousarray(cv2.imread(str(image.file))[..., ::-1])
        _, classes = session.run(None, {"images": pixels[None]})
        assert (classes[0] == segmenter.segment(pixels)).mean() > 0.99


def test_evaluate_says_what_the_run_says(segmented, test_split):
    command, _ = segmented
    row = command.rows("pareto.csv")[0]
    out = command.start / "evaluated.json"
    place = str(command.folder / row["file"])
    answer = command.run("evaluate", place, "-c", "segment_demo", *command._tiny, "--json", str(out))
    assert answer.code == 0, answer.err
    segmenter = Segmenter.load(place)
    miou, few = plain_miou([segmenter.segment(image.file) for image in test_split.images], test_split)
    said = json.loads(out.read_text())["ap"]
    assert said == pytest.approx(miou, abs=1e-6)
    assert said == pytest.approx(float(row["ap"]), abs=few)
    answer = command.run("evaluate", place, "-c", "detofa_demo")
    assert "segmentation" in answer.refusal


def test_detect_draws_classes_and_writes_their_regions(segmented, test_split):
    command, _ = segmented
    place = str(command.folder / command.rows("pareto.csv")[0]["file"])
    files = [str(image.file) for image in test_split.images[:4]]
    answer = command.run("detect", place, *files, "--json", "found.json", "--out", "drawn")
    assert answer.code == 0, answer.err
    rows = json.loads((command.start / "found.json").read_text())
    segmenter = Segmenter.load(place)
    for image in test_split.images[:4]:
        assert cv2.imread(str(command.start / "drawn" / f"{image.id}.jpg")).shape == (384, 384, 3)
        classes = segmenter.segment(image.file)
        own = {row["category_id"]: row for row in rows if row["image_id"] == int(image.id)}
        assert set(own) == set(np.unique(classes)) - {0}
        for label, row in own.items():
            np.testing.assert_array_equal(in_region(row["segmentation"]), classes == label)
    assert "--threshold" in command.run("detect", place, files[0], "--threshold", "0.5").refusal


def test_a_segmenter_is_no_detector(segmented):
    place = segmented[0].folder / segmented[0].rows("pareto.csv")[0]["file"]
    assert isinstance(Exported.load(place), Segmenter)
    with pytest.raises(WeightsError, match=r"Segmenter\.load"):
        Detector.load(place)


def test_weights_of_losses_are_refused(segmented):
    assert "hparams.loss_weights" in segmented[0]("hparams.loss_weights=[1,1,1]").refusal
