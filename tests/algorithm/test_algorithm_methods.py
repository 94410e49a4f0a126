"""The methods that DetOFA is compared with: what each trains, and one search, evaluation and report for all."""

import csv
import json

import h5py
import numpy as np
import pytest
from nnabla_detofa.training.shrinking import ShrinkingRunner

from experiments import compare_runs
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.training.measuring import PathMeasurer
from nnabla_detofa.training.trainer import SupernetTrainer

SEARCH = ["paths_final", "path_filter_final", "filter_quality", "search", "evaluate", "report"]
QUICK = ("path_filter.second_measurement=false", "hparams.finetune=1")


def ran(answer):
    """The stages of a command that were run, not kept."""
    return [line.split(":")[0] for line in answer.out if ": done in " in line]


def weights(folder):
    """Every parameter of the last checkpoint in `folder`, or of the file of weights itself."""
    file = folder if folder.suffix else max(folder.glob("*/weights.h5"))
    found = {}
    with h5py.File(file) as content:
        content.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


@pytest.fixture
def trained_paths(monkeypatch):
    """The paths of every training step, in order."""
    seen, train_on_batch = [], SupernetTrainer.train_on_batch

    def note(self, key="train", *, path):
        seen.append(path)
        return train_on_batch(self, key, path=path)

    monkeypatch.setattr(SupernetTrainer, "train_on_batch", note)
    return seen


def test_ofa_trains_the_whole_space_without_a_filter_and_is_searched_as_detofa(command, finished, tiny, trained_paths):
    answer = command("method=ofa", "path_filter.second_measurement=false")
    assert (answer.code, ran(answer)) == (0, ["warmup", "finetune", *SEARCH])
    ours, theirs = command.json("summary.json"), finished[0].json("summary.json")
    assert (ours["strategy"], ours["sampler"], ours["path_pruning_share"]) == ("none", "genes", 0.0)
    assert ours["rejected_share"] is ours["rejected_share_per_bucket"] is None
    assert ours["largest"]["name"] == "largest path"
    assert ours["pruned_space_size"] == ours["space_size"] == theirs["space_size"]
    assert [row["budget"] for row in ours["pareto"]] == [row["budget"] for row in theirs["pareto"]]
    for key in ("dataset", "test", "metric", "cost"):
        assert ours[key] == theirs[key]
    assert set(ours["filter_quality"]) == {"filter", "same_images"}
    assert tiny().space.contains(np.array(trained_paths)).all() and len(trained_paths) == 6
    mine, other = (weights(one.folder / "checkpoint_warmup") for one in (command, finished[0]))
    for name, values in mine.items():  # the warm-up is the same, so that methods differ in what comes after it alone
        np.testing.assert_array_equal(values, other[name], err_msg=name)
    assert any(
        not np.array_equal(values, weights(finished[0].folder / "weights.h5")[name]) for name, values in mine.items()
    )


def test_comp_ofa_trains_its_space_under_the_budgets_of_ofas(command, finished):
    answer = command("method=compofa", *QUICK)
    assert (answer.code, ran(answer)) == (0, ["warmup", "finetune", *SEARCH])
    ours, theirs = command.json("summary.json"), finished[0].json("summary.json")
    assert ours["space_size"] < theirs["space_size"]
    budgets = [row["budget"] for row in theirs["pareto"]]
    assert [row["budget"] for row in ours["pareto"]] == budgets
    space = SearchSpace.comp_ofa(**{key: value for key, value in _space(command).items() if key != "name"})
    assert space.contains(np.array([row["path"] for row in ours["pareto"]], np.int8)).all()


def _space(command):
    settings = command.json("stages.json")["warmup"]["settings"]
    return settings["network"]["ofa_resnet50_centernet"]["space"]


def test_full_network_training_leaves_one_detector(command, finished, tiny, trained_paths, tmp_path):
    answer = command("method=fullnet", *QUICK)
    assert (answer.code, ran(answer)) == (0, ["warmup", "finetune", "evaluate", "report"])
    largest = tiny().space.largest()
    assert len(trained_paths) == 4 and all(np.array_equal(path, largest) for path in trained_paths)
    summary = command.json("summary.json")
    (found,), alone = summary["pareto"], summary["largest"]
    assert (found["path"], found["flops"], found["ap"]) == (alone["path"], alone["flops"], alone["ap"])
    assert found["path"] == largest.tolist()
    assert found["budget"] == found["flops"] == tiny().flops(32)(largest[None])[0]
    assert found["bucket"] == 4
    assert found["score"] is found["held_out_ap"] is summary["filter"] is summary["filter_quality"] is None
    with (command.folder / "pareto.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["score"], float(row["ap"])) == ("", found["ap"])
    assert (command.folder / "pareto.png").read_bytes().startswith(b"\x89PNG")
    runs = [f"DetOFA={finished[0].folder}", f"Fullnet={command.folder}", f"--out={tmp_path}/compared"]
    assert compare_runs.main(runs) == 0
    assert f"| Fullnet | 1 |{' – |' * 5} {100 * found['ap']:.2f} |" in (tmp_path / "compared/comparison.md").read_text()


def test_progressive_shrinking_opens_depth_then_expand_then_width(command, tiny, trained_paths, monkeypatch):
    rates = []
    schedule = ShrinkingRunner._schedule

    def note(self):
        rate = schedule(self)
        return lambda epoch: (rates.append((epoch, rate(epoch))), rate(epoch))[1]

    monkeypatch.setattr(ShrinkingRunner, "_schedule", note)
    answer = command("method=ofa_ps", "hparams.warmup=0", *QUICK)
    assert (answer.code, ran(answer)) == (0, ["depth", "expand", "width", *SEARCH])
    space = tiny().space
    depth, expand = space.only(widths=[1.0], expands=[0.35]), space.only(widths=[1.0])
    paths = np.array(trained_paths)
    assert len(paths) == 6  # two steps an epoch
    assert depth.contains(paths[:2]).all() and expand.contains(paths[2:4]).all() and space.contains(paths[4:]).all()
    assert not depth.contains(paths[2:4]).all() and not expand.contains(paths[4:]).all()
    steps = [rate for epoch, rate in rates if epoch % 0.5 == 0.25]
    assert steps == [*steps[:2]] * 3 and steps[0] != steps[1]  # each phase has the whole schedule
    sorted_maps = [line for line in answer.out if line.endswith(" maps sorted by importance")]
    assert [line.split(":")[0] for line in sorted_maps] == ["expand", "width"]  # more depths open no smaller numbers
    summary = command.json("summary.json")
    assert summary["pruned_space_size"] == summary["space_size"] == space.size()
    assert "warmup" not in summary["seconds"] and {"depth", "expand", "width"} < set(summary["seconds"])
    last = weights(command.folder / "checkpoint_width")
    for name, values in weights(command.folder / "weights.h5").items():
        np.testing.assert_array_equal(values, last[name], err_msg=name)


def test_interrupted_phases_end_as_if_they_had_not_been(command, tmp_path, pictures, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    arguments = ("method=ofa_ps", "hparams.warmup=0", *QUICK)
    monkeypatch.setattr(PathMeasurer, "loss", stop)
    assert command(*arguments).code == 75
    whole = weights(command.folder / "weights.h5")
    other = type(command)(tmp_path / "other", pictures)
    other.start.mkdir()
    steps, train_on_batch = [], SupernetTrainer.train_on_batch

    def stop_in_the_middle(self, key="train", *, path):
        steps.append(path)
        if len(steps) in (4, 6):
            raise KeyboardInterrupt
        return train_on_batch(self, key, path=path)

    monkeypatch.setattr(SupernetTrainer, "train_on_batch", stop_in_the_middle)
    for _ in range(3):
        assert other(*arguments).code == 75
    assert (other.folder / "paths_final.csv").is_file()
    for name, values in weights(other.folder / "weights.h5").items():
        np.testing.assert_array_equal(values, whole[name], err_msg=name)


def test_balanced_draws_go_through_the_path_filter(ready, monkeypatch):
    monkeypatch.setitem(ready.hparams, "sampler", {"name": "balanced"})
    monkeypatch.setattr(ready.folder, "stage", lambda *stage: stage[-1]())
    weight = np.random.default_rng(0).normal(size=ready.space.structure.n_genes)

    def score(paths):
        return paths @ weight

    sampler = ready.accepted_paths(ready.space, score)
    drawn = np.array([sampler.next() for _ in range(600)])
    bucket = ready.budgets.bucket(ready.cost(drawn))
    shares = np.bincount(bucket, minlength=5) / 600
    assert shares.min() > 0.12 and shares.max() < 0.28
    uniform = ready.budgets.bucket(ready.cost(ready.space.sample(600, np.random.default_rng(0))))
    assert np.bincount(uniform, minlength=5).min() < 20
    thresholds = [np.quantile(scores, 0.25) for scores in json.loads((ready.folder / "thresholds.json").read_text())]
    assert (score(drawn) >= np.array(thresholds)[bucket]).all()


def one_line(answer):
    code, _, err = answer
    assert (code, len(err)) == (2, 1), (code, err)
    return err[0].removeprefix("nnabla_detofa: ")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["sampler=fullnet"],
            "sampler 'fullnet' trains one path, which leaves nothing to prune; add pruning=none pruning.path_ratio=0,"
            " or say method=fullnet",
        ),
        (
            ["method=ofa_ps", "pruning.path_ratio=0.25"],
            "hparams.phases trains the whole space, and pruning (strategy 'none', path_ratio 0.25) takes parts of it"
            " away; choose one, as method=ofa_ps and method=detofa do",
        ),
        (["method=ofa_ps", "hparams.phases=3"], "hparams.phases is 3; it must be null, or phases with their choices"),
        (
            ["method=ofa_ps", "+hparams.phases.expand.epochs=0"],
            "hparams.phases.expand.epochs is 0; it must be a whole number of at least 1",
        ),
        (
            ["method=ofa_ps", "~hparams.phases.width"],
            "hparams.phases.expand is the last phase and opens ",
        ),
        (
            ["method=ofa_ps", "~hparams.phases.depth", "+hparams.phases.depth={widths:[1.0]}"],
            "hparams.phases.depth leaves out choices that the phase before it, width, has trained;",
        ),
        (
            ["method=ofaps"],
            "unknown method 'ofaps'; known: compofa, detofa, fullnet, ofa, ofa_ps (did you mean 'ofa_ps'?)",
        ),
    ],
)
def test_methods_that_cannot_be(command, overrides, said):
    assert one_line(command(*overrides)).startswith(said)
