"""Algorithm 1 from the command: its files, its stages, and what a change or an interruption does to them."""

import csv
import json

import h5py
import numpy as np
import pytest
from nnabla_detofa.training.report import write_pareto
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from nnabla_detofa.space import Budgets, SearchSpace
from nnabla_detofa.training import SupernetRunner
from nnabla_detofa.training.measuring import PathMeasurer
from nnabla_detofa.training.trainer import SupernetTrainer

BEFORE_PRUNING = ["warmup", "paths_warmup", "path_filter_warmup"]
PRUNING = ["operations", "thresholds"]
AFTER_PRUNING = ["finetune", "paths_final", "path_filter_final"]
QUALITY = ["paths_final_again", "filter_quality"]
SEARCH = ["search", "evaluate", "report"]
STAGES = BEFORE_PRUNING + PRUNING + AFTER_PRUNING + QUALITY + SEARCH
CHECKPOINTS = [f"checkpoint_warmup/{step:09d}" for step in (0, 2)] + [f"checkpoint_finetune/{n:09d}" for n in (4, 6)]
FILES = {
    *("paths_warmup.csv", "paths_final.csv", "paths_final_again.csv", "operations.csv", "pareto.csv", "pareto.png"),
    *("path_filter_warmup.h5", "path_filter_final.h5", "weights.h5", "pruned_space.json", "thresholds.json"),
    "data.json",
    *("winners.csv", "search.json", "detectors.json", "filter_quality.json", "summary.json", "stages.json"),
    *(f"{checkpoint}/{file}" for checkpoint in CHECKPOINTS for file in ("weights.h5", "solver.h5", "state.json")),
}
OPERATION = ("stage", "layer", "depth", "width", "expand")
ONE_MEASUREMENT = "path_filter.second_measurement=false"


def rows(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def arrays(file):
    """Every array of an HDF5 file by name."""
    found = {}

    def take(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(file) as content:
        content.visititems(take)
    return found


def ran(answer):
    """The stages of a command that were run, not kept."""
    return [line.split(":")[0] for line in answer.out if ": done in " in line]


def kept(answer):
    return [line.split(":")[0] for line in answer.out if line.endswith(": kept, its inputs are unchanged")]


def measured_paths(command, name):
    """Rows of a table of measured paths, and the paths as an array."""
    table = rows(command.folder / name)
    return table, np.array([list(row.values())[3:] for row in table]).astype(np.int8)


def timeless(value):
    """Without the figures that are times: they alone may differ between equal runs."""
    if isinstance(value, dict):
        times = ("seconds", "path_pruning_share", "sums")
        return {key: timeless(inner) for key, inner in value.items() if key not in times}
    return value


def assert_equal_runs(ours, theirs):
    """Every result is the same to the last bit."""
    ours_, theirs_ = ours.results(), theirs.results()
    assert ours_.keys() == theirs_.keys()
    for name in ours_:
        if name.endswith(".json"):
            assert timeless(ours.json(name)) == timeless(theirs.json(name)), name
        elif name.endswith(".h5"):
            mine, other = arrays(ours.folder / name), arrays(theirs.folder / name)
            assert mine.keys() == other.keys()
            for array in mine:
                np.testing.assert_array_equal(mine[array], other[array], err_msg=f"{name} {array}")
        else:
            assert ours_[name] == theirs_[name], name


@pytest.fixture
def stop_before(monkeypatch):
    """Makes the n-th call of a method, or none, a Ctrl-C; returns a list that grows with each call let through."""

    def patch(owner, method, *, call=1):
        calls, original = [], getattr(owner, method)
        original = getattr(original, "original", original)

        def counted(*arguments, **options):
            if len(calls) + 1 == call:
                raise KeyboardInterrupt
            calls.append(method)
            return original(*arguments, **options)

        counted.original = original
        monkeypatch.setattr(owner, method, counted)
        return calls

    return patch


@pytest.fixture
def space(tiny):
    return tiny().space


@pytest.fixture
def cost(tiny):
    return tiny().flops(32)


@pytest.fixture
def budgets(cost):
    return Budgets.equal_width(cost)


@pytest.fixture
def pruned(finished, space):
    return SearchSpace.from_dict(finished[0].json("pruned_space.json"), within=space)


# -- the files of a run -----------------------------------------------------------------------------------------------


def test_a_run_tells_its_stages_and_leaves_its_files(finished):
    command, answer = finished
    assert (answer.code, answer.err) == (0, [])
    assert ran(answer) == STAGES
    assert set(command.results()) == FILES
    assert any(line.startswith("  same images: path filter") for line in answer.out)
    assert any(line.startswith("  other images: path filter") for line in answer.out)
    assert answer.out[-1].startswith("largest path of the pruned space ")


@pytest.mark.parametrize("name", ["paths_warmup.csv", "paths_final.csv", "paths_final_again.csv"])
def test_measured_paths(finished, space, pruned, cost, budgets, name):
    table, paths = measured_paths(finished[0], name)
    assert list(table[0]) == ["bucket", "flops", "loss", *space.structure.gene_names]
    assert (space if name == "paths_warmup.csv" else pruned).contains(paths).all()
    np.testing.assert_array_equal([int(row["flops"]) for row in table], cost(paths))
    np.testing.assert_array_equal([int(row["bucket"]) for row in table], budgets.bucket(cost(paths)))
    assert len(np.unique(paths, axis=0)) == len(paths)
    assert np.bincount(budgets.bucket(cost(paths)), minlength=5).tolist() == [4] * 5
    losses = np.array([float(row["loss"]) for row in table])
    assert np.isfinite(losses).all() and (losses > 0).all() and len(np.unique(losses)) > 1


def test_the_second_measurement_is_of_the_same_paths_on_other_images(finished):
    tables = [measured_paths(finished[0], name) for name in ("paths_final.csv", "paths_final_again.csv")]
    (first, paths), (second, paths_again) = tables
    np.testing.assert_array_equal(paths, paths_again)
    assert all(a["loss"] != b["loss"] for a, b in zip(first, second, strict=True))


def test_the_line_about_operations_counts_those_kept_by_guards(finished, space, pruned):
    reasons = [row["reason"] for row in rows(finished[0].folder / "operations.csv")]
    guarded = sum(reason.startswith("kept: ") for reason in reasons)
    assert (
        f"operations: {pruned.allowed.sum()} of {len(reasons)} kept, {guarded} of them by guards;"
        f" {pruned.size():,} of {space.size():,} paths"
    ) in finished[1].out


def test_operations(finished, space, pruned):
    table = rows(finished[0].folder / "operations.csv")
    assert tuple(table[0]) == (*OPERATION, "flops", "score", "bucket", "kept", "reason")
    assert len(table) == len({tuple(row[key] for key in OPERATION) for row in table}) == space.allowed.sum()
    assert {row["kept"] for row in table} == {"True", "False"}
    assert sum(row["kept"] == "True" for row in table) == pruned.allowed.sum() < space.allowed.sum()
    assert all(row["reason"] for row in table if row["kept"] == "False")
    assert all(
        0 < float(row["score"]) < 1 and float(row["flops"]) > 0 and int(row["bucket"]) in range(5) for row in table
    )
    assert not (pruned.allowed & ~space.allowed).any()


def test_found_paths_keep_their_budgets_and_the_pruned_space(finished, space, pruned, cost, budgets):
    table, summary = rows(finished[0].folder / "pareto.csv"), finished[0].json("summary.json")
    assert list(table[0]) == ["budget", "flops", "score", "ap", "genotype"]
    assert [float(row["budget"]) for row in table] == budgets.edges[1:].tolist()
    for bucket, (row, entry) in enumerate(zip(table, summary["pareto"], strict=True)):
        path = np.array([entry["path"]], np.int8)
        np.testing.assert_array_equal(space.from_genotype(json.loads(row["genotype"])), path[0])
        assert pruned.contains(path).all()
        flops = cost(path)[0]
        assert float(row["flops"]) == entry["flops"] == flops <= entry["budget"]
        assert budgets.bucket(flops) == entry["bucket"] <= bucket
        assert (float(row["score"]), float(row["ap"])) == (entry["score"], entry["ap"])


def test_summary(finished, space, pruned, cost):
    summary = finished[0].json("summary.json")
    assert (summary["seed"], summary["dataset"], summary["strategy"]) == (0, "VOC2007 trainval", "flops_score_all")
    assert (summary["space_size"], summary["pruned_space_size"]) == (space.size(), pruned.size())
    assert list(summary["seconds"]) == STAGES[:-1]
    assert all(seconds >= 0 for seconds in summary["seconds"].values())
    assert 0 < summary["path_pruning_share"] < 1
    assert set(summary["filter"]) >= {"precision", "accuracy", "recall", "recall_over_all", "kendall_tau"}
    assert all(0 <= summary["filter"][name] <= 1 for name in ("precision", "accuracy", "recall"))
    assert -1 <= summary["filter"]["kendall_tau"] <= 1
    assert set(summary["filter_quality"]["other_images"]) == {"path filter", "FLOPs", "ridge regression"}
    contract = {"budget", "flops", "score", "ap", "path"}
    assert all(set(row) == contract | {"bucket", "held_out_ap"} for row in summary["pareto"])
    assert all(type(row["flops"]) is int and 0 <= row["ap"] <= 1 and 0 < row["score"] < 1 for row in summary["pareto"])
    assert summary["largest"]["flops"] == cost.range(pruned)[1]
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
    assert line.startswith(f"path pruning rejected {100 * summary['rejected_share']:.3g} % of the draws (genes; in ")


def test_the_weights_are_those_of_the_last_checkpoint_and_load_by_name(finished, tiny):
    folder = finished[0].folder
    stored = arrays(folder / CHECKPOINTS[-1] / "weights.h5")
    assert (arrays(folder / "weights.h5").keys()) == stored.keys()
    network = tiny(pretrained=folder / "weights.h5", stem_activation="relu", seed=1)
    assert network.transfer.new == network.transfer.left_out == []
    for name, parameter in network.get_parameters().items():
        np.testing.assert_array_equal(parameter.d, stored[name], err_msg=name)


def test_the_figure_is_a_picture(finished):
    picture = (finished[0].folder / "pareto.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 5000


def test_the_figure_takes_any_front(tmp_path, space, cost):
    rows = [{"budget": 3e6, "flops": 2e6, "score": 0.5, "ap": ap, "path": space.smallest().tolist()} for ap in (0.1, 0)]
    pictures = set()
    for front in ([0], [0, 2], [0, 1, 2]):
        largest = {"name": "largest path", "flops": 4e6, "ap": 0.2}
        write_pareto(tmp_path, space, rows, largest, front=np.array(front), metric="voc07", cost=cost)
        pictures.add((tmp_path / "pareto.png").read_bytes())
    assert len(pictures) == 3
    assert {file.name for file in tmp_path.iterdir()} == {"pareto.csv", "pareto.png"}


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


# -- the same command again -------------------------------------------------------------------------------------------


def test_the_same_command_again_changes_nothing(again):
    before = again.results()
    answer = again()
    assert (answer.code, kept(answer), ran(answer)) == (0, STAGES, [])
    assert again.results() == before
    assert not (again.folder / "previous").exists()


def test_other_budgets_search_and_evaluate_alone(again, budgets):
    before = again.results()
    limits = [float(np.floor(budgets.edges[2])), float(np.floor(budgets.edges[4]))]
    answer = again(f"search.budgets={limits}".replace(" ", ""))
    assert (answer.code, ran(answer)) == (0, SEARCH)
    found = again.json("summary.json")["pareto"]
    assert [one["budget"] for one in found] == limits
    assert all(one["flops"] <= one["budget"] for one in found)
    changed = {
        "winners.csv",
        "search.json",
        "detectors.json",
        "summary.json",
        "pareto.csv",
        "pareto.png",
        "stages.json",
    }
    after = again.results()
    assert {name for name in before if after[name] != before[name]} == changed
    aside = again.folder / "previous" / "1"
    assert {file.name: file.read_bytes() for file in aside.iterdir() if file.name != "stages.json"} == {
        name: before[name] for name in changed - {"stages.json"}
    }


def test_without_the_second_measurement_and_back(again, finished):
    answer = again(ONE_MEASUREMENT)
    assert ran(answer) == ["filter_quality", "report"]
    assert "paths_final_again.csv" not in again.results()
    assert set(again.json("summary.json")["filter_quality"]) == {"filter", "same_images"}
    answer = again()
    assert ran(answer) == [*QUALITY, "report"]
    assert_equal_runs(again, finished[0])
    assert kept(again()) == STAGES


def test_other_folds_search_nothing_again(again, finished):
    answer = again("path_filter.folds=3")
    assert (answer.code, ran(answer)) == (0, ["filter_quality", "report"])
    theirs = finished[0].json("summary.json")
    assert again.json("summary.json")["pareto"] == theirs["pareto"]
    assert again.json("summary.json")["filter_quality"] != theirs["filter_quality"]


# -- pruning ----------------------------------------------------------------------------------------------------------


def test_pruning_by_flops_drops_a_share_of_each_bucket_at_random(again, finished):
    answer = again("pruning=flops", ONE_MEASUREMENT)
    assert (answer.code, kept(answer)) == (0, BEFORE_PRUNING)
    reasons = {row["reason"] for row in rows(again.folder / "operations.csv")}
    assert any(reason.startswith("random 30% of bucket") for reason in reasons)
    assert not any(reason.startswith("lowest") for reason in reasons)
    summary, before = again.json("summary.json"), finished[0].json("summary.json")
    assert (before["strategy"], summary["strategy"]) == ("flops_score_all", "flops")
    assert summary["pruned_space_size"] != before["pruned_space_size"]
    aside = again.folder / "previous" / "1"
    for name in ("operations.csv", "weights.h5", "pareto.csv", "pareto.png", "summary.json"):
        assert (aside / name).read_bytes() == finished[0].results()[name]


def test_pruning_by_score_in_each_bucket_and_paths_at_random(again, stop_before):
    stop_before(PathMeasurer, "loss")
    answer = again("pruning=flops_score_per_bucket", "pruning.path_strategy=uniform")
    assert (answer.code, kept(answer), ran(answer)) == (75, BEFORE_PRUNING, [*PRUNING, "finetune"])
    reasons = {row["reason"] for row in rows(again.folder / "operations.csv")}
    assert any(reason.startswith("lowest 30% of bucket") for reason in reasons)
    assert not any(reason.startswith("lowest 10% of all") for reason in reasons)
    scores = again.json("thresholds.json")[2]  # of the bucket with most paths: not the filter's, but uniform ones
    np.testing.assert_allclose(np.quantile(scores, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.08)


def test_another_share_of_paths_needs_no_other_path_filter(again, finished, stop_before):
    stop_before(PathMeasurer, "loss")
    answer = again("pruning.path_ratio=0.4")
    assert (answer.code, kept(answer), ran(answer)) == (75, [*BEFORE_PRUNING, *PRUNING], ["finetune"])
    for one, ratio in ((finished[0], 0.25), (again, 0.4)):
        accepted = 4 + len(one.json(f"{CHECKPOINTS[-1]}/state.json")["sampler"]["queue"])  # of 256 for four steps
        assert accepted / 256 == pytest.approx(1 - ratio, abs=0.1)
    name = f"{CHECKPOINTS[-1]}/weights.h5"
    assert (again.folder / "previous" / "1" / name).read_bytes() == finished[0].results()[name]


def test_paths_are_pruned_where_operations_are_not(again, stop_before):
    stop_before(PathMeasurer, "loss")
    answer = again("pruning=none")
    assert (answer.code, kept(answer), ran(answer)) == (75, BEFORE_PRUNING, [*PRUNING, "finetune"])
    assert all(row["kept"] == "True" and not row["reason"] for row in rows(again.folder / "operations.csv"))


# -- one seed, and interruptions --------------------------------------------------------------------------------------


def test_an_interrupted_run_ends_as_if_it_had_not_been(command, finished, stop_before):
    """In another folder and three sessions: the same files to the last bit, and nothing is measured twice."""
    stop_before(PathMeasurer, "loss", call=8)
    answer = command()
    assert (answer.code, answer.err) == (75, ["nnabla_detofa: interrupted; run the same command again to go on"])
    assert len(rows(command.folder / "paths_warmup.csv")) == 7

    measured = stop_before(PathMeasurer, "loss", call=None)
    stop_before(SupernetTrainer, "train_on_batch", call=4)  # in the middle of the second epoch of fine-tuning
    answer = command()
    assert (answer.code, kept(answer)) == (75, ["warmup"])
    assert len(measured) == 20 - 7
    assert command.json("checkpoint_finetune/000000004/state.json")["step"] == 4

    trained = stop_before(SupernetTrainer, "train_on_batch", call=None)
    answer = command()
    assert answer.code == 0
    assert "finetune: going on after step 2 of 4" in answer.out
    assert len(trained) == 2
    assert_equal_runs(command, finished[0])


def test_another_seed_is_another_run(command, finished, stop_before):
    stop_before(SupernetRunner, "measured", call=2)
    assert command("hparams.seed=1").code == 75
    ours, theirs = (measured_paths(one, "paths_warmup.csv") for one in (command, finished[0]))
    assert not np.array_equal(ours[1], theirs[1])
    assert {row["loss"] for row in ours[0]}.isdisjoint(row["loss"] for row in theirs[0])
