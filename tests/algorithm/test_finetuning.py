"""Fine-tuning: one found detector is trained on, judged before and behind it, and leaves the run as it came."""

import json
import re
import shutil

import numpy as np
import pytest
from small_runs import BATCHES, LOADER, Command, arrays

from experiments.reliability.run_digest import digest_of
from nnabla_detofa.detection import paired_difference
from nnabla_detofa.report.finished_runs import ALONE
from nnabla_detofa.search_stages import BEFORE, ONLY
from nnabla_detofa.training.step import PathStep

STAGES = ["before", "finetune", "evaluate", "report", "export", "page"]
TINY = {
    "dataloader": {"voc": {key: value for key, value in LOADER.items() if key not in ("image_size", "output_stride")}},
    "hparams": {**BATCHES, "finetune": 12},
    "optimizer": {"train": {"alpha": 1e-2, "grad_clip": 5.0}},
    "path_filter": {"evaluation_bn_images": 8},
    "args": {"context": "cpu"},
}
SHAPE = {"stem_pool": False, "stem_activation": "relu"}
HEATMAP = "heads/heatmap/output/conv"


@pytest.fixture
def tune(tmp_path, pictures):
    """The command in an empty folder."""
    return Command(tmp_path, pictures, "finetune", TINY, chosen=["dataloader=digits"])


@pytest.fixture(scope="session")
def detectors(finished):
    """The folders of detectors that a run has found, the smallest first."""
    return sorted((finished[0].folder / "detectors").iterdir())


@pytest.fixture(scope="session")
def tuned(tmp_path_factory, pictures, detectors):
    """A fine-tuning of the smallest that is done, with its answer; not to be run again."""
    start = tmp_path_factory.mktemp("tuned")
    command = Command(start, pictures, "finetune", TINY, chosen=["dataloader=digits"])
    return command, command(f"detector={detectors[0]}")


def said(folder):
    return json.loads((folder / "detector.json").read_text())


def first_checkpoint(command):
    return arrays(min(command.folder.glob("checkpoint_finetune/*/weights.h5")))


def test_a_detector_is_trained_judged_and_exported_again(tuned, detectors):
    command, answer = tuned
    assert (answer.code, answer.err, answer.ran) == (0, [], STAGES)
    summary = command.json("summary.json")
    (after,), before, old = summary["pareto"], summary["largest"], said(detectors[0])
    assert before["ap"] == pytest.approx(old["ap"], abs=1e-4)
    assert before["name"] == "before fine-tuning" and after["path"] == before["path"] == old["path"]
    assert after["gain"] == [*paired_difference(*np.load(command.folder / "resampled.npy").astype(float))]
    (folder,) = (command.folder / "detectors").iterdir()
    new = said(folder)
    assert {key for key in old if new[key] != old[key]} <= {
        *("rank", "name", "budgets", "ap", "ap_interval", "ap_per_class", "on_front", "digest", "seed"),
    }
    assert new["ap"] == after["ap"]
    weights, last = arrays(command.folder / "weights.h5"), arrays(folder / "detector.h5")
    trained = [name for name in weights if not name.endswith(("_mean", "_var"))]
    assert all(np.array_equal(weights[name], last[name]) for name in trained)
    assert not any(np.array_equal(value, arrays(detectors[0] / "detector.h5")[name]) for name, value in last.items())
    line = answer.out[-2]
    for figure in (before["ap"], after["ap"]):
        assert f"{100 * figure:.2f} %" in line
    assert answer.out[-1].endswith("report.html")
    assert (command.folder / "report.html").read_text().count('href="detectors/') == 4  # of the new one alone


def test_what_leaves_a_run_is_what_the_next_begins_with(tuned, tune):
    (folder,) = (tuned[0].folder / "detectors").iterdir()
    others = "path_filter.evaluation_bn_images=3"  # statistics of other images, which decide what comes after it alone
    answer = tune(f"detector={folder / 'detector.h5'}", "hparams.finetune=0", others)
    assert (answer.code, answer.ran) == (0, STAGES)
    summary = tune.json("summary.json")
    assert summary["largest"]["ap"] == pytest.approx(tuned[0].json("summary.json")["pareto"][0]["ap"], abs=1e-6)
    first, last = first_checkpoint(tune), arrays(tune.folder / "weights.h5")
    for name, value in arrays(folder / "detector.h5").items():
        np.testing.assert_array_equal(value, first[name])
        np.testing.assert_array_equal(value, last[name])


def test_a_stopped_run_ends_as_one_that_was_not(tuned, tune, detectors, interrupt):
    given = f"detector={detectors[0]}"
    steps = interrupt(PathStep, "__call__", call=3)
    assert (tune(given).code, len(steps)) == (75, 2)
    interrupt(PathStep, "__call__", call=None)
    answer = tune(given)
    assert (answer.code, answer.kept, answer.ran) == (0, ["before"], STAGES[1:])
    assert digest_of(tune.folder) == digest_of(tuned[0].folder)
    (tune.folder / "before.npy").unlink()  # judged again, though the weights were trained since
    shutil.rmtree(tune.folder / "detectors")
    assert tune(given).ran == ["before", "export"]
    assert digest_of(tune.folder) == digest_of(tuned[0].folder)
    (folder,) = (tune.folder / "detectors").iterdir()
    exported = {file.name: file.read_bytes() for file in folder.iterdir()}
    shutil.rmtree(folder)
    assert tune.run("export", str(tune.folder)).code == 0
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == exported


def test_it_is_not_compared_with_searches(tuned, finished):
    said = tuned[0].run("compare", str(finished[0].folder), str(tuned[0].folder)).refusal
    assert said.startswith(f"{tuned[0].folder} trained one path")
    assert ALONE == (BEFORE, ONLY)


def test_a_plan_of_it(tune, detectors):
    answer = tune(f"detector={detectors[0]}", "plan=true")
    assert (answer.code, answer.err) == (0, [])
    told = dict(line.strip().split(maxsplit=1) for line in answer.out if line.startswith("  "))
    assert told["images"] == "60 to train on of VOC2007 trainval; 12 to test on of VOC2007 test"  # held-out ones too
    costs = said(detectors[0])["costs"]
    assert told["FLOPs"] == f"{costs['flops']:,} MACs" and told["parameters"] == f"{costs['parameters']:,}"
    assert told["finetune"].startswith("12 epochs, 36 steps of 16 images: about ")
    assert not (tune.start / "log").exists()


def test_the_detectors_image_size_is_taken_and_said(tune, detectors):
    answer = tune(f"detector={detectors[0]}", "dataloader.voc.image_size=64", "plan=true")
    assert any("image_size is 64, and 32 is taken" in line for line in answer.out)
    assert not any("output_stride" in line for line in answer.out)


# ---- classes


@pytest.mark.parametrize(
    ("classes", "labels", "line"),
    [
        ([7, 0], [2, 0], "kept: 7, 0; new: none; left out: 1"),
        ([1, 8], [1, None], "kept: 1; new: 8; left out: 0, 7"),
        ([8, 3, 5], [None] * 3, "kept: none; new: 8, 3, 5; left out: 0, 1, 7, so that this head is made new"),
    ],
)
def test_classes_of_the_same_name_keep_their_part_of_the_head(tune, detectors, tmp_path, classes, labels, line):
    generated = [
        f"++dataloader.voc.generate.classes={sorted({0, 1, 7, *classes})}",
        f"dataloader.voc.root={tmp_path}/d",
    ]
    more = (f"dataloader.voc.classes={classes}", "hparams.finetune=1", "path_filter.evaluation_bn_images=4")
    answer = tune(f"detector={detectors[0]}", *generated, *more)
    assert (answer.code, answer.err) == (0, [])
    assert any(one.endswith(line) for one in answer.out)
    old, new = arrays(detectors[0] / "detector.h5"), first_checkpoint(tune)
    for name in (f"{HEATMAP}/_W", f"{HEATMAP}/_b"):
        for row, label in zip(new[name], labels, strict=True):
            equal = [np.array_equal(row, one) for one in old[name]]
            assert equal == [number == label for number in range(3)]
    known = labels.count(None) < len(labels)
    for name in old.keys() - {f"{HEATMAP}/_W", f"{HEATMAP}/_b"}:
        hidden = name.startswith("heads/heatmap")
        assert np.array_equal(old[name], new[name]) is (known or not hidden), name
    summary = tune.json("summary.json")
    judged = None not in labels
    assert answer.ran == STAGES[not judged :]
    assert summary["largest"]["name"] == ("before fine-tuning" if judged else "the only path")
    assert ("gain" in summary["pareto"][0]) is judged
    assert summary["classes"] == said(next((tune.folder / "detectors").iterdir()))["classes"] == [*map(str, classes)]


# ---- as the host has it


def test_a_path_of_a_supernet_is_trained_alone(finished, command, detectors):
    file, described = finished[0].folder / "weights.h5", said(detectors[0])
    genotype = json.dumps(described["genotype"]).replace('"', "")
    network = "network.ofa_resnet50_centernet"
    more = ("args.search=false", f"{network}.genotype={genotype}", "hparams.warmup=0", "hparams.finetune=0")
    answer = command(*more, f"{network}.pretrained={file}", "args.save_nnp=true")
    assert (answer.code, answer.ran) == (0, STAGES)
    assert {line.split(" has no effect")[0] for line in answer.out if " has no effect" in line} == {
        *("args.save_nnp", "pruning")
    }
    (after,), before = (command.json("summary.json")[key] for key in ("pareto", "largest"))
    assert after["path"] == described["path"]
    assert (after["ap"], after["gain"]) == (before["ap"], [0, 0])  # both with statistics that were estimated
    stored = arrays(file)
    for name, value in first_checkpoint(command).items():
        np.testing.assert_array_equal(value, stored[name][tuple(slice(n) for n in value.shape)])
    old, new = arrays(detectors[0] / "detector.h5"), arrays(next(command.folder.glob("detectors/*/detector.h5")))
    assert all(np.array_equal(old[name], new[name]) for name in old if not name.endswith(("_mean", "_var")))
    assert (next(command.folder.glob("detectors/*")) / "detector.nnp").is_file()


# ---- what cannot be


@pytest.fixture
def copied(tmp_path, detectors):
    """A copy of a detector's folder, to be damaged."""
    return shutil.copytree(detectors[0], tmp_path / "copied")


def changed(folder, **values):
    """The description with other values, and no checksums that would tell."""
    (folder / "sums.json").unlink()
    (folder / "detector.json").write_text(json.dumps({**said(folder), **values}))


@pytest.mark.parametrize(
    ("damage", "of"),
    [
        (shutil.rmtree, "is not there"),
        (lambda folder: (folder / "detector.json").unlink(), "has no detector.json"),
        (lambda folder: (folder / "detector.h5").unlink(), "has no detector.h5.* export RUN"),
        (lambda folder: (folder / "detector.h5").write_bytes(b"no"), "is damaged .*detector.h5"),
        (lambda folder: changed(folder) or (folder / "detector.h5").write_bytes(b"no"), "detector.h5 cannot be read"),
        (lambda folder: changed(folder) or (folder / "detector.json").write_text("{"), "detector.json cannot be read"),
        (lambda folder: changed(folder, stride="4"), "describes no detector"),
        (lambda folder: changed(folder, network={}), "describes no detector.* one name"),
        (lambda folder: changed(folder, mean=[0, 0, 0]), "normalises pictures otherwise"),
        (lambda folder: changed(folder, network={"centernet": {}}), "unknown network 'centernet'"),
        (lambda folder: changed(folder, network={"ofa_resnet50_centernet": {"neck": [8]}}), "lacks genotype"),
        (lambda folder: changed(folder, stride=8), "output stride is 4 and dataloader's output_stride is 8"),
    ],
)
def test_what_is_no_detector(tune, copied, damage, of):
    damage(copied)
    assert re.search(of, tune(f"detector={copied}").refusal)
    assert not (tune.folder / "stages.json").exists()


def test_a_data_set_of_another_task(tmp_path, detectors):
    loader = {"classes": [0, 1], "n_train": 20, "n_test": 4, "image_size": 32}
    tiny = {**TINY, "dataloader": {"image_folder": {"generate": loader, "held_out": 4, "workers": 0}}}
    tune = Command(tmp_path, tmp_path / "digits", "finetune", tiny, chosen=["dataloader=digit_folders"])
    assert "for detection and the data set for classification" in tune(f"detector={detectors[0]}").refusal


def test_a_detector_of_another_task(tune, copied):
    genotype = said(copied)["genotype"]
    space = said(copied)["network"]["ofa_resnet50_centernet"]["space"]
    changed(copied, network={"ofa_resnet50_classifier": {"space": space, "genotype": genotype, **SHAPE}})
    assert "for classification and the data set for detection" in tune(f"detector={copied}").refusal


@pytest.mark.parametrize(
    ("overrides", "of"),
    [
        (["detector=null"], r"no detector is given: detector=RUN/detectors/RANK-COST"),
        (["detector=[1]"], "detector is .1."),
        (["+network.ofa_resnet50_centernet.genotype={d: []}"], r"network \(ofa_resnet50_centernet\) is given too"),
        (["network.ofa_resnet50_centernet.genotype={d: []}"], "network.ofa_resnet50_centernet"),
        (["hparams.phases={all: {}}"], "hparams.phases opens choices"),
        (["args.algorithm=OFAPretrainer"], "OFAPretrainer"),
        (["hparams.batch_size_train=64"], "at most 60, the number of training images"),
    ],
)
def test_what_cannot_be_fine_tuned(tune, detectors, overrides, of):
    assert re.search(of, tune(f"detector={detectors[0]}", *overrides).refusal)


def test_a_run_of_another_detector_has_another_folder(tuned, tune, detectors):
    shutil.copytree(tuned[0].folder, tune.folder)
    assert "belongs to another configuration" in tune(f"detector={detectors[-1]}").refusal
