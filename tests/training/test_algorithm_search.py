"""The search of a run: winners are measured on the held-out images, which decide between buckets."""

import csv
import json

import numpy as np
import pytest
from nnabla_detofa.training.report import quality_table

from nnabla_detofa.errors import SpaceError
from nnabla_detofa.training import runner

SEARCH = ["search", "evaluate", "report"]


def ran(answer):
    """The stages of a command that were run, not kept."""
    return [line.split(":")[0] for line in answer.out if ": done in " in line]


def rows(folder):
    """Figures, and the paths as lists of genes, of the measured winners."""
    with (folder / "winners.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    return [float(row["held_out_ap"]) for row in found], [
        [int(gene) for gene in list(row.values())[3:]] for row in found
    ]


class Untouched:
    """A stand-in for data that must not be read."""

    def __getattr__(self, name):
        raise AssertionError(f"the test split's {name} was read")


@pytest.fixture
def oracle(monkeypatch):
    """Lets a function of a cost stand for the AP; gives the loaders that figures were asked of, and what was said."""

    def put(ready, ap):
        asked, said = [], []

        def figure(name, network, loader):  # noqa: ARG001
            asked.append(loader)
            return float(ap(network.path_cost))

        def prepare(self, path):
            self._network.path_cost = ready.flops(path[None])[0]

        monkeypatch.setattr(runner, "figure", figure)
        monkeypatch.setattr(runner.PathMeasurer, "prepare", prepare)
        monkeypatch.setattr(ready.folder, "stage", lambda *stage: stage[-1]())
        monkeypatch.setitem(ready.dataloader, "test", Untouched())
        monkeypatch.setattr(ready, "say", said.append)
        (ready.folder / "winners.csv").unlink(missing_ok=True)
        return asked, said

    return put


def score(paths):
    return 1 / (2 + paths.sum(axis=1))


def test_the_held_out_images_decide_and_the_test_split_is_not_read(ready, oracle):
    asked, _ = oracle(ready, lambda cost: 1 / cost)
    found = ready.search(ready.space, score)
    assert asked == [ready.dataloader["valid"]] * 5
    assert [one["bucket"] for one in found] == [0] * 5  # the cheapest is the best, whatever the budget
    assert [one["budget"] for one in found] == ready.budgets.edges[1:].tolist()
    figures, paths = rows(ready.folder)
    assert len(paths) == 5 and all(one["path"] in paths for one in found)
    assert {one["held_out_ap"] for one in found} == {max(figures)}


def test_dearer_is_returned_where_it_is_better(ready, oracle):
    oracle(ready, lambda cost: cost / 1e9)
    found = ready.search(ready.space, score)
    assert [one["bucket"] for one in found] == [0, 1, 2, 3, 4]
    assert [one["held_out_ap"] for one in found] == pytest.approx([one["flops"] / 1e9 for one in found])


def test_an_interrupted_measurement_goes_on(ready, oracle):
    def fails(cost):
        if len(asked) == 4:
            raise KeyboardInterrupt
        return 1e-3 * (cost % 997)

    asked, _ = oracle(ready, fails)
    with pytest.raises(KeyboardInterrupt):
        ready.search(ready.space, score)
    before, _ = rows(ready.folder)
    assert len(before) == 3
    asked.append("so that the fourth is not the fourth any more")
    ready.search(ready.space, score)
    after, paths = rows(ready.folder)
    assert after[:3] == before and len(asked) == 4 + 1 + 2
    assert after == pytest.approx(1e-3 * (ready.flops(np.array(paths, np.int8)) % 997))


def test_without_objects_in_the_held_out_images_each_budgets_own_bucket_decides(ready, oracle, monkeypatch):
    asked, said = oracle(ready, lambda cost: 1 / cost)
    monkeypatch.setattr(runner, "is_defined", lambda loader: loader is not ready.dataloader["valid"])
    found = ready.search(ready.space, score)
    assert asked == [] and rows(ready.folder) == ([], [])
    assert [(one["bucket"], one["held_out_ap"]) for one in found] == [(bucket, None) for bucket in range(5)]
    assert said == ["search: the held-out images show no object, so scores alone chose, in each budget's own bucket"]


def test_what_a_run_measured_is_what_it_chose_from(finished, ready):
    command, answer = finished
    found, (figures, paths) = command.json("search.json"), rows(command.folder)
    costs = ready.flops(np.array(paths, np.int8))
    assert len({tuple(path) for path in paths}) == len(paths)
    for one in found:
        assert one["held_out_ap"] == np.max(figures, where=costs <= one["budget"], initial=0)
        assert figures[paths.index(one["path"])] == one["held_out_ap"]
    lower = sum(one["bucket"] < bucket for bucket, one in enumerate(found))
    assert f"search: under {lower} of 5 budgets the best path on 16 held-out images is of a lower bucket" in answer.out


@pytest.mark.parametrize(
    "change", ["hparams.metric=voc", "search.generations=2", "path_filter.evaluation_bn_images=12"]
)
def test_what_decides_the_winners_has_them_found_and_measured_anew(again, change):
    answer = again(change)
    assert (answer.code, ran(answer)) == (0, SEARCH)


def test_a_limit_between_an_edge_and_its_buckets_first_path(again, ready):
    """No SpaceError: the bucket below has what it allows."""
    edge = ready.budgets.edges[4]
    _, first = ready.space.by_cost(ready.cost).nearest(edge, edge)
    limit = float((edge + first) / 2)
    assert edge < limit < first
    answer = again(f"search.budgets=[{limit}]")
    assert (answer.code, ran(answer)) == (0, SEARCH)
    assert again.json("search.json")[0]["bucket"] < 4


def test_undefined_figures_of_ranking_are_said_to_be():
    row = {"kendall_tau": None, "precision": None}
    table = quality_table(
        {"filter": row, "same_images": {"path filter": row, "FLOPs": {"kendall_tau": 0.0, "precision": 1}}}
    )
    assert table.splitlines()[1] == "  same images: path filter undefined / undefined, FLOPs +0.00 / 1.00"


def test_a_run_whose_ranking_is_undefined_says_so(again):
    """Four paths a bucket in four folds: one of each to test."""
    answer = again("path_filter.folds=4", "path_filter.second_measurement=false")
    assert answer.code == 0
    assert "  same images: path filter undefined / undefined, " in "\n".join(answer.out)
    text = (again.folder / "summary.json").read_text()
    assert json.loads(text)["filter"]["kendall_tau"] is None and "NaN" not in text


def test_a_budget_that_pruning_leaves_no_path_for_is_refused_before_fine_tuning(ready, monkeypatch):
    space = ready.space
    cheapest = ready.cost.range(space)[0]
    first = np.nonzero(space.allowed)[0] == 0
    pruned = space.restrict(~(first & (space.operations().width == 0)))  # the narrow choices of the first stage
    monkeypatch.setitem(ready.hparams, "search", {**ready.hparams["search"], "budgets": [cheapest, 1e12]})
    ready.require_affordable(space)
    with pytest.raises(SpaceError, match=f"search.budgets has {cheapest:,.12g}; the cheapest path that pruning left"):
        ready.require_affordable(pruned)
