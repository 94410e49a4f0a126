"""The methods that DetOFA is compared with: what each trains, and one search, evaluation and report for all."""

import csv
import re

import numpy as np
import pytest
from small_runs import arrays, changed

from nnabla_detofa import shrinking
from nnabla_detofa.pruning_stages import accepted_paths
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.training.measuring import PathMeasurer
from nnabla_detofa.training.step import PathStep

SEARCH = ["paths_final", "path_filter_final", "filter_quality", "search", "evaluate", "report", "export", "page"]
QUICK = ("path_filter.second_measurement=false", "hparams.finetune=1")


def weights(folder):
    """Every parameter of the last checkpoint in `folder`."""
    return arrays(max(folder.glob("*/weights.h5")))


@pytest.fixture
def trained(interrupt):
    """The paths of every training step, in order."""
    steps = interrupt(PathStep, "__call__", call=None)
    return lambda: np.array([path for _, path in steps])


def test_ofa_trains_the_whole_space_without_a_filter_and_is_searched_as_detofa(command, finished, ready, trained):
    answer = command("method=ofa", "path_filter.second_measurement=false")
    assert (answer.code, answer.ran) == (0, ["warmup", "finetune", *SEARCH])
    ours, theirs = command.json("summary.json"), finished[0].json("summary.json")
    assert (ours["strategy"], ours["sampler"], ours["path_pruning_share"]) == ("none", "genes", 0.0)
    assert ours["rejected_share"] is ours["rejected_share_per_bucket"] is None
    assert ours["largest"]["name"] == "largest path"
    assert ours["pruned_space_size"] == ours["space_size"] == theirs["space_size"]
    assert [row["budget"] for row in ours["pareto"]] == [row["budget"] for row in theirs["pareto"]]
    for key in ("dataset", "test", "metric", "cost"):
        assert ours[key] == theirs[key]
    assert set(ours["filter_quality"]) == {"filter", "same_images"}
    assert ready.space.contains(trained()).all() and len(trained()) == 6
    # the warm-up is the same, so that methods differ in what comes after it alone
    for stage, equal in (("warmup", True), ("finetune", False)):
        mine, other = (weights(one.folder / f"checkpoint_{stage}") for one in (command, finished[0]))
        assert all(np.array_equal(mine[name], other[name]) for name in mine) is equal


def test_comp_ofa_trains_its_space_under_the_budgets_of_ofas(command, finished, interrupt, trained):
    interrupt(PathMeasurer, "loss")
    answer = command("method=compofa", *QUICK)
    assert (answer.code, answer.ran) == (75, ["warmup", "finetune"])
    plan = command("method=compofa", "name=other", "plan=true", *QUICK)
    buckets = [re.findall(r"[\d,]+ to ([\d,]+) MACs", line) for line in plan.out if line.startswith("  bucket ")]
    budgets = [row["budget"] for row in finished[0].json("summary.json")["pareto"]]
    assert [float(one[0].replace(",", "")) for one in buckets] == [round(budget) for budget in budgets]
    settings = command.json("stages.json")["warmup"]["inputs"]["network"]["ofa_resnet50_centernet"]["space"]
    space = SearchSpace.comp_ofa(**{key: value for key, value in settings.items() if key != "name"})
    assert settings["name"] == "comp_ofa" and space.contains(trained()).all()


def test_full_network_training_leaves_one_detector(command, finished, ready, trained, tmp_path):
    answer = command("method=fullnet", *QUICK)
    assert (answer.code, answer.ran) == (0, ["warmup", "finetune", "evaluate", "report", "export", "page"])
    largest = ready.space.largest()
    assert len(trained()) == 4 and (trained() == largest).all()
    summary = command.json("summary.json")
    (found,), alone = summary["pareto"], summary["largest"]
    assert (found["path"], found["flops"], found["ap"]) == (alone["path"], alone["flops"], alone["ap"])
    assert found["path"] == largest.tolist()
    assert found["budget"] == found["flops"] == ready.flops(largest[None])[0]
    assert found["bucket"] == 4
    assert found["score"] is found["held_out_ap"] is summary["filter"] is summary["filter_quality"] is None
    (row,) = command.rows("pareto.csv")
    assert (row["score"], float(row["ap"])) == ("", found["ap"])
    assert (command.folder / "pareto.png").read_bytes().startswith(b"\x89PNG")
    compared = command.run("compare", f"DetOFA={finished[0].folder}", str(command.folder), f"--out={tmp_path}/compared")
    assert (compared.code, compared.err) == (0, [])
    rows = [*csv.DictReader((tmp_path / "compared/comparison.csv").read_text().splitlines())]
    theirs = finished[0].json("summary.json")
    aps = [*(row["ap"] for row in (*theirs["pareto"], theirs["largest"])), found["ap"]]
    assert [row["method"] for row in rows] == ["DetOFA"] * 6 + ["detofa_demo"]
    assert [float(row["ap"]) for row in rows] == aps
    assert [row["budget"] for row in rows] == [*(str(row["budget"]) for row in theirs["pareto"]), "", ""]


def test_progressive_shrinking_opens_depth_then_expand_then_width(command, ready, trained, interrupt, monkeypatch):
    rates, schedule = [], shrinking.schedule

    def note(run):
        rate = schedule(run)
        return lambda epoch: (rates.append((epoch, rate(epoch))), rate(epoch))[1]

    monkeypatch.setattr(shrinking, "schedule", note)
    interrupt(PathMeasurer, "loss")
    answer = command("method=ofa_ps", "hparams.warmup=0", *QUICK)
    assert (answer.code, answer.ran) == (75, ["depth", "expand", "width"])
    space, paths = ready.space, trained()
    depth, expand = space.only(widths=[1.0], expands=[0.35]), space.only(widths=[1.0])
    assert len(paths) == 6  # two steps an epoch
    assert depth.contains(paths[:2]).all() and expand.contains(paths[2:4]).all() and space.contains(paths[4:]).all()
    assert not depth.contains(paths[2:4]).all() and not expand.contains(paths[4:]).all()
    steps = [rate for epoch, rate in rates if epoch % 0.5 == 0.25]
    assert steps == [*steps[:2]] * 3 and steps[0] != steps[1]  # each phase has the whole schedule
    sorted_maps = [line for line in answer.out if line.endswith(" maps sorted by importance")]
    assert [line.split(":")[0] for line in sorted_maps] == ["expand", "width"]  # more depths open no smaller numbers
    last = weights(command.folder / "checkpoint_width")
    for name, values in arrays(command.folder / "weights.h5").items():
        np.testing.assert_array_equal(values, last[name], err_msg=name)


def test_no_phase_can_be_called_as_a_stage_that_follows():
    assert {*SEARCH} <= shrinking.TAKEN


def test_balanced_draws_go_through_the_path_filter(ready):
    ready.options = changed(ready.options, "sampler.name", "balanced")
    weight = np.random.default_rng(0).normal(size=len(ready.space.family.gene_names))
    found = []

    class Anew:
        def run(self, _name, _inputs, _kept, work, **_):
            found.append(work())
            return found[0]

    def score(paths):
        return paths @ weight

    ready.stages = Anew()
    sampler = accepted_paths(ready, ready.space, score)
    drawn = np.array([sampler.next() for _ in range(600)])
    bucket = ready.budgets.bucket(ready.cost(drawn))
    shares = np.bincount(bucket, minlength=5) / 600
    assert shares.min() > 0.12 and shares.max() < 0.28
    uniform = ready.budgets.bucket(ready.cost(ready.space.sample(600, np.random.default_rng(0))))
    assert np.bincount(uniform, minlength=5).min() < 20
    assert (score(drawn) >= np.array([np.quantile(scores, 0.25) for scores in found[0].scores])[bucket]).all()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["sampler=fullnet"], "'fullnet' trains one path.*method=fullnet"),
        (["method=ofa_ps", "pruning.path_ratio=0.25"], "hparams.phases trains the whole space.* 0.25.*choose one"),
        (["method=ofa_ps", "~hparams.phases.width"], "hparams.phases.expand is the last phase"),
        (["method=ofaps"], "known: compofa, detofa, fullnet, ofa, ofa_ps, .*'ofa_ps'"),
    ],
)
def test_methods_that_cannot_be(command, overrides, said):
    assert re.search(said, command(*overrides).refusal)
