"""The same command again, and with something changed: what is kept, what is done anew, and what is another run."""

import re
import shutil

import numpy as np
import pytest
from small_runs import BEFORE_PRUNING, CHECKPOINTS, PRUNING, SEARCH, STAGES, changed

from experiments.reliability.run_digest import digest_of
from nnabla_detofa.algorithm import IDENTITY
from nnabla_detofa.path_filter import PathFilter
from nnabla_detofa.training import run_identity
from nnabla_detofa.training.measuring import PathMeasurer


@pytest.fixture
def relabelled(pictures, tmp_path):
    """The override for a copy of the pictures in which one box of a split's image is another, or none is."""

    def change(split=None):
        root = tmp_path / "changed"
        shutil.copytree(pictures, root)
        for devkit in root.glob("*/VOC2007") if split else ():  # other tests have other sets made
            name = (devkit / "ImageSets" / "Main" / f"{split}.txt").read_text().split()[0]
            file = devkit / "Annotations" / f"{name}.xml"
            file.write_text(re.sub(r"<xmin>\d+<", "<xmin>1<", file.read_text(), count=1))
        return f"dataloader.voc.root={root}"

    return change


def test_the_same_command_again_changes_nothing(again, relabelled):
    """On a copy of the data too, and where main effects of the filter are "auto", which is what the run said."""
    before = again.results()
    answer = again(relabelled(), "path_filter.network.main_effects=auto")
    assert (answer.code, answer.kept, answer.ran) == (0, STAGES, [])
    assert not [line for line in answer.out if "waiting for images" in line]
    assert again.results() == before
    assert not (again.folder / "previous").exists()


def test_other_budgets_search_and_evaluate_alone(again, ready):
    before = again.results()
    limits = [float(np.floor(ready.budgets.edges[2])), float(np.floor(ready.budgets.edges[4]))]
    answer = again(f"search.budgets={limits}".replace(" ", ""))
    assert (answer.code, answer.ran) == (0, SEARCH)
    found = again.json("summary.json")["pareto"]
    assert [one["budget"] for one in found] == limits
    assert all(one["flops"] <= one["budget"] for one in found)
    results = {"winners.csv", "search.json", "detectors.json", "resampled.npy", "statistics.h5"}
    results |= {"summary.json", "pareto.csv", "pareto.png", "report.html"}
    after, aside = again.results(), again.folder / "previous" / "1"
    files = {name for name in before if "detectors/" not in name}
    assert {name for name in files if after[name] != before[name]} == results | {"stages.json"}
    assert {file.name for file in aside.iterdir()} == results | {"stages.json", "detectors"}
    assert all((aside / name).read_bytes() == before[name] for name in results)


def test_another_assessment_of_the_filter_searches_nothing_again(again, finished):
    """Without the second measurement, which stays where it is, and in four folds of four paths a bucket: one of each
    is tested, so that no ranking is defined."""
    theirs = finished[0].json("summary.json")
    answer = again("path_filter.folds=4", "path_filter.second_measurement=false")
    assert (answer.code, answer.ran) == (0, ["filter_quality", "report", "page"])
    ours = again.json("summary.json")
    assert ours["pareto"] == theirs["pareto"]
    assert set(ours["filter_quality"]) == {"filter", "same_images"} < set(theirs["filter_quality"])
    assert set(ours["seconds"]) == {*STAGES[: STAGES.index("report")]} - {"paths_final_again"}
    assert ours["filter"]["kendall_tau"] is None and "NaN" not in (again.folder / "summary.json").read_text()
    assert any(line.startswith("  same images: path filter undefined / undefined, ") for line in answer.out)
    name = "paths_final_again.csv"
    assert again.results()[name] == finished[0].results()[name]
    answer = again()
    assert (answer.code, answer.ran) == (0, ["filter_quality", "report", "page"])
    assert digest_of(again.folder) == digest_of(finished[0].folder)


@pytest.mark.parametrize(
    ("overrides", "ran", "expected", "absent"),
    [
        (["pruning=flops"], [*PRUNING, "finetune"], "random 30% of bucket", "lowest"),
        (
            ["pruning=flops_score_per_bucket", "pruning.path_strategy=uniform"],
            [*PRUNING, "finetune"],
            "lowest 30% of bucket",
            "lowest 10% of all",
        ),
        (["pruning=none"], [*PRUNING, "finetune"], "", " "),
        (["pruning.path_ratio=0.4"], ["finetune"], "lowest 10% of all", "random"),
        (
            ["path_filter.network.main_effects=false"],
            ["path_filter_warmup", *PRUNING, "finetune"],
            "lowest 10% of all",
            "random",
        ),
    ],
    ids=["flops", "uniform paths", "none", "path ratio", "filter"],
)
def test_what_decides_the_pruned_space_keeps_what_came_before(
    again, finished, interrupt, overrides, ran, expected, absent
):
    interrupt(PathMeasurer, "loss")
    before = finished[0].results()
    answer = again(*overrides)
    assert (answer.code, answer.ran) == (75, ran)
    assert answer.kept == [stage for stage in [*BEFORE_PRUNING, *PRUNING] if stage not in ran]
    reasons = {row["reason"] for row in again.rows("operations.csv")}
    assert any(reason.startswith(expected) for reason in reasons)
    assert not any(absent in reason for reason in reasons)
    aside = again.folder / "previous" / "1"
    lost = {"weights.h5", "pareto.csv", "pareto.png", "summary.json", "report.html", f"{CHECKPOINTS[-1]}/weights.h5"}
    lost |= {"operations.csv", "thresholds.json"} if "operations" in ran else set()
    assert all((aside / name).read_bytes() == before[name] for name in lost)
    scores = again.json("thresholds.json")[2]  # of the bucket with most paths: of the filter, or uniform ones
    uniform = np.allclose(np.quantile(scores, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.08)
    assert uniform == ("pruning.path_strategy=uniform" in overrides)
    for one, ratio in ((finished[0], 0.25), (again, 0.4 if ran == ["finetune"] else 0.25)):
        accepted = 4 + len(one.json(f"{CHECKPOINTS[-1]}/state.json")["sampler"]["queue"])  # of 256 for four steps
        assert accepted / 256 == pytest.approx(1 - ratio, abs=0.1)
    design = PathFilter.load(again.folder / "path_filter_warmup.h5").design
    assert design.main_effects is ("path_filter_warmup" not in ran)


def test_another_cost_keeps_the_warm_up_alone(again, interrupt):
    interrupt(PathMeasurer, "loss")
    before = again.results()
    answer = again("cost=memory")
    assert (answer.code, answer.kept, answer.ran) == (75, ["warmup"], [])
    aside = again.folder / "previous" / "1" / "paths_warmup.csv"
    assert aside.read_bytes() == before["paths_warmup.csv"]
    assert (again.folder / "paths_warmup.csv").read_text().startswith("bucket,flops,cost,loss,")


def test_other_annotations_to_test_on_are_evaluated_anew(again, relabelled):
    answer = again(relabelled("test"))
    assert (answer.code, answer.ran) == (0, ["evaluate", "report", "export", "page"])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (None, "dataloader.digest was '"),  # other annotations to train on
        ("path_filter.n_buckets=4", "n_buckets was 5 and is 4"),
        ("hparams.seed=1", "seed was 0 and is 1"),
        ("hparams.warmup=2", "epochs was [0, 1] and is [0, 2]"),
    ],
)
def test_what_decides_the_first_stage_is_another_run(again, relabelled, override, said):
    before = again.results()
    refusal = again(override or relabelled("trainval")).refusal
    assert refusal.startswith(f"run folder {again.folder} belongs to another configuration: ")
    assert said in refusal or " more; " in refusal
    assert again.results() == before
    assert not (again.folder / "previous").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("seed", 1), ("finetune", 3), ("loss_weights", [1, 1, 1]), ("schedule.factor", 0.2)),
        *(("batch_size_train", 8), ("mini_batch_train", 8), ("identity.network.ofa_resnet50_centernet.head", 4)),
        *(("identity.optimizer.train.alpha", 1), ("identity.dataloader.voc.image_size", 64)),
    ],
)
def test_what_a_run_is_known_by(ready, key, value):
    before = run_identity(ready, *IDENTITY)
    ready.options = changed(ready.options, key, value)
    assert run_identity(ready, *IDENTITY) != before


def test_a_sampler_that_goes_by_the_cost_depends_on_it(command, interrupt):
    interrupt(PathMeasurer, "loss")
    assert command("sampler=balanced").ran == ["warmup"]
    assert "cost.name was 'flops' and is 'parameters'" in command("sampler=balanced", "cost=parameters").refusal


def test_another_seed_is_another_run(command, finished, interrupt):
    interrupt(PathMeasurer, "loss", call=5)
    assert command("hparams.seed=1").code == 75
    ours, theirs = (one.measured("paths_warmup.csv") for one in (command, finished[0]))
    assert len(ours[1]) == 4 and not np.array_equal(ours[1], theirs[1][:4])
    assert {row["loss"] for row in ours[0]}.isdisjoint(row["loss"] for row in theirs[0])
