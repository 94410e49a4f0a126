"""Algorithm 1 from the command: what a run leaves, and what its code and its rehearsal must be."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from small_runs import CHECKPOINTS, STAGES, arrays
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from nnabla_detofa import algorithm
from nnabla_detofa.space import SearchSpace

FILES = {
    *("paths_warmup.csv", "paths_final.csv", "paths_final_again.csv", "operations.csv", "pareto.csv", "pareto.png"),
    *("path_filter_warmup.h5", "path_filter_final.h5", "weights.h5", "pruned_space.json", "thresholds.json"),
    *("winners.csv", "search.json", "detectors.json", "filter_quality.json", "summary.json", "stages.json"),
    "resampled.npy",
    "statistics.h5",
    "report.html",
    *(f"{checkpoint}/{file}" for checkpoint in CHECKPOINTS for file in ("weights.h5", "solver.h5", "state.json")),
}
OPERATION = ("stage", "layer", "depth", "width", "expand")


@pytest.fixture
def pruned(finished, ready):
    return SearchSpace.from_dict(finished[0].json("pruned_space.json"), within=ready.space)


def test_the_algorithm_fits_on_a_few_pages():
    assert len(Path(algorithm.__file__).read_text().splitlines()) <= 150


def test_a_run_tells_its_stages_and_leaves_its_files(finished):
    command, answer = finished
    assert (answer.code, answer.err) == (0, [])
    assert answer.ran == STAGES
    detectors = {file for file in command.results() if file.startswith("detectors/")}
    assert set(command.results()) - detectors == FILES
    assert {Path(file).name for file in detectors} == {f"detector.{kind}" for kind in ("json", "onnx", "nnp", "h5")}
    assert any(line.startswith("  same images: path filter") for line in answer.out)
    assert any(line.startswith("  other images: path filter") for line in answer.out)
    assert answer.out[-2].startswith("largest path of the pruned space ")
    assert answer.out[-1] == f"report: {command.folder / 'report.html'}"
    waited = [re.fullmatch(r"(\w+): (\d+\.\d)% of the time went by in waiting for images", line) for line in answer.out]
    shares = {match[1]: float(match[2]) for match in waited if match}
    assert list(shares) == ["warmup", "finetune"]
    assert all(0 < share < 100 for share in shares.values())  # without workers images are made while it waits


@pytest.mark.parametrize("name", ["paths_warmup.csv", "paths_final.csv", "paths_final_again.csv"])
def test_measured_paths(finished, ready, pruned, name):
    space, cost, budgets = ready.space, ready.flops, ready.budgets
    table, paths = finished[0].measured(name)
    assert list(table[0]) == ["bucket", "flops", "loss", *space.family.gene_names]
    assert (space if name == "paths_warmup.csv" else pruned).contains(paths).all()
    np.testing.assert_array_equal([int(row["flops"]) for row in table], cost(paths))
    np.testing.assert_array_equal([int(row["bucket"]) for row in table], budgets.bucket(cost(paths)))
    assert len(np.unique(paths, axis=0)) == len(paths)
    assert np.bincount(budgets.bucket(cost(paths)), minlength=5).tolist() == [4] * 5
    losses = np.array([float(row["loss"]) for row in table])
    assert np.isfinite(losses).all() and (losses > 0).all() and len(np.unique(losses)) > 1


def test_the_second_measurement_is_of_the_same_paths_on_other_images(finished):
    (first, paths), (second, again) = (finished[0].measured(f"paths_final{name}.csv") for name in ("", "_again"))
    np.testing.assert_array_equal(paths, again)
    assert all(a["loss"] != b["loss"] for a, b in zip(first, second, strict=True))


def test_operations(finished, ready, pruned):
    space = ready.space
    table = finished[0].rows("operations.csv")
    assert tuple(table[0]) == (*OPERATION, "flops", "score", "bucket", "kept", "reason")
    assert len(table) == len({tuple(row[key] for key in OPERATION) for row in table}) == space.n_operations
    assert {row["kept"] for row in table} == {"True", "False"}
    assert sum(row["kept"] == "True" for row in table) == pruned.n_operations < space.n_operations
    assert all(row["reason"] for row in table if row["kept"] == "False")
    scores = np.array([[float(row[key]) for key in ("score", "flops", "bucket")] for row in table])
    assert (scores[:, 0] > 0).all() and (scores[:, 0] < 1).all() and (scores[:, 1] > 0).all()
    assert set(scores[:, 2]) <= set(range(5))
    assert space.includes(pruned)
    guarded = sum(row["reason"].startswith("kept: ") for row in table)
    (line,) = [line for line in finished[1].out if line.startswith("operations: ") and " kept, " in line]
    numbers = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", line)]
    assert numbers == [pruned.n_operations, len(table), guarded, pruned.size(), space.size()]


def test_found_paths_keep_their_budgets_and_the_pruned_space(finished, ready, pruned):
    space, cost, budgets = ready.space, ready.flops, ready.budgets
    table, summary = finished[0].rows("pareto.csv"), finished[0].json("summary.json")
    assert list(table[0]) == ["budget", "flops", "score", "ap", "ap_low", "ap_high", "on_front", "file", "genotype"]
    assert [float(row["budget"]) for row in table] == budgets.edges[1:].tolist()
    for bucket, (row, entry) in enumerate(zip(table, summary["pareto"], strict=True)):
        path = np.array([entry["path"]], np.int8)
        np.testing.assert_array_equal(space.from_genotype(json.loads(row["genotype"])), path[0])
        assert pruned.contains(path).all()
        flops = cost(path)[0]
        assert float(row["flops"]) == entry["flops"] == flops <= entry["budget"]
        assert budgets.bucket(flops) == entry["bucket"] <= bucket
        assert (float(row["score"]), float(row["ap"])) == (entry["score"], entry["ap"])
        assert [float(row["ap_low"]), float(row["ap_high"])] == entry["ap_interval"]
        assert (row["on_front"], row["file"]) == (str(entry["on_front"]), entry["file"])


def test_what_a_run_measured_is_what_it_chose_from(finished, ready):
    command, answer = finished
    found, (table, paths) = command.json("search.json"), command.measured("winners.csv")
    figures, costs = np.array([float(row["held_out_ap"]) for row in table]), ready.flops(paths)
    assert len(np.unique(paths, axis=0)) == len(paths)
    for one in found:
        assert one["held_out_ap"] == np.max(figures, where=costs <= one["budget"], initial=0)
        assert figures[paths.tolist().index(one["path"])] == one["held_out_ap"]
    lower = sum(one["bucket"] < bucket for bucket, one in enumerate(found))
    assert f"search: under {lower} of 5 budgets the best path on 16 held-out images is of a lower bucket" in answer.out


def test_summary(finished, ready, pruned):
    summary = finished[0].json("summary.json")
    assert (summary["seed"], summary["dataset"], summary["strategy"]) == (0, "VOC2007 trainval", "flops_score_all")
    assert (summary["space_size"], summary["pruned_space_size"]) == (ready.space.size(), pruned.size())
    assert list(summary["seconds"]) == STAGES[: STAGES.index("report")]
    assert all(seconds >= 0 for seconds in summary["seconds"].values())
    assert 0 < summary["path_pruning_share"] < 1
    assert set(summary["filter"]) >= {"precision", "accuracy", "recall", "recall_over_all", "kendall_tau"}
    assert all(0 <= summary["filter"][name] <= 1 for name in ("precision", "accuracy", "recall"))
    assert -1 <= summary["filter"]["kendall_tau"] <= 1
    assert set(summary["filter_quality"]["other_images"]) == {"path filter", "FLOPs", "ridge regression"}
    contract = {"budget", "flops", "score", "ap", "path"}
    known = {"ap_interval", "ap_per_class", "on_front", "equal_to", "file"}
    assert all(set(row) == contract | known | {"bucket", "held_out_ap"} for row in summary["pareto"])
    assert all(type(row["flops"]) is int and 0 <= row["ap"] <= 1 and 0 < row["score"] < 1 for row in summary["pareto"])
    assert summary["largest"]["flops"] == ready.flops.range(pruned)[1]
    assert summary["largest"]["name"] == "largest path of the pruned space"
    assert 0 <= summary["largest"]["ap"] <= 1


def test_the_share_of_draws_that_thresholds_reject(finished):
    command, answer = finished
    summary, state = command.json("summary.json"), command.json(f"{CHECKPOINTS[-1]}/state.json")["sampler"]
    assert sum(state["drawn"]) == 256 and len(state["queue"]) + 4 == 256 - sum(state["rejected"])  # of four steps
    assert summary["rejected_share"] == sum(state["rejected"]) / 256
    for share, drawn, rejected in zip(
        summary["rejected_share_per_bucket"], state["drawn"], state["rejected"], strict=True
    ):
        assert share == (rejected / drawn if drawn else None)
    (line,) = [line for line in answer.out if line.startswith("path pruning rejected ")]
    assert f" {100 * summary['rejected_share']:.3g} % " in line


def test_the_weights_are_those_of_the_last_checkpoint_and_load_by_name(finished, tiny):
    folder = finished[0].folder
    stored = arrays(folder / CHECKPOINTS[-1] / "weights.h5")
    assert (arrays(folder / "weights.h5").keys()) == stored.keys()
    network = tiny(pretrained=str(folder / "weights.h5"), stem_activation="relu", seed=1)
    assert network.transfer.new == network.transfer.left_out == []
    for name, parameter in network.get_parameters().items():
        np.testing.assert_array_equal(parameter.d, stored[name], err_msg=name)


def test_curves_hold_the_losses(finished):
    points = {}
    for file in (finished[0].folder / "tensorboard").iterdir():
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                points.setdefault(value.tag, {})[event.step] = value.tensor.float_val[0]
    steps = {"warmup": [2], "finetune": [4, 6]}  # an epoch has 44 images in batches of 16
    terms = ("loss", "heatmap", "size", "offset")
    assert set(points) == {f"{stage}/{name}" for stage in steps for name in (*terms, "learning_rate")}
    for stage, expected in steps.items():
        losses = {term: points[f"{stage}/{term}"] for term in terms}
        assert all(sorted(curve) == expected for curve in losses.values())
        assert all(value > 0 for curve in losses.values() for value in curve.values())
        for step in expected:
            weighted = losses["heatmap"][step] + 0.1 * losses["size"][step] + losses["offset"][step]
            assert losses["loss"][step] == pytest.approx(weighted, rel=1e-5)


# -- the rehearsal: plan and run are one list -------------------------------------------------------------------------


def test_a_rehearsal_names_the_stages_of_the_run_and_writes_nothing(ready, finished):
    def there():
        return {file: file.stat().st_mtime_ns for file in ready.folder.path.rglob("*")}

    command, before = finished[0], there()
    planned = ready.rehearse(algorithm.train_and_search)
    assert there() == before
    stages = command.json("stages.json")
    assert list(stages) == STAGES
    assert list(planned) == [stage for stage in STAGES if stage in planned]
    assert set(planned) == {"warmup", "finetune", "search", "evaluate", *(s for s in STAGES if s.startswith("paths_"))}
    for stage in ("warmup", "finetune"):
        first, last = stages[stage]["inputs"]["epochs"]
        assert planned[stage].steps == (last - first) * ready.trainer.steps_an_epoch
        assert planned[stage].batch == 16
    for stage in ("paths_warmup", "paths_final", "paths_final_again"):
        # a path that is drawn twice is measured once
        assert len(command.rows(f"{stage}.csv")) * 16 <= planned[stage].images == 20 * 16
    assert 0 < len(command.rows("winners.csv")) * (8 + 16) <= planned["search"].images == 5 * (8 + 16)
