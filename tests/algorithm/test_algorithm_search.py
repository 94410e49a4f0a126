"""The search of a run: winners are measured on the held-out images, which decide between buckets."""

from types import SimpleNamespace

import numpy as np
import pytest
from small_runs import changed

from nnabla_detofa.errors import SpaceError
from nnabla_detofa.report.lines import quality_lines
from nnabla_detofa.search_stages import Detector, rated, require_affordable, search
from nnabla_detofa.storage import PathTable
from nnabla_detofa.training import Assessed, measured_stages


class Untouched:
    """A stand-in for data that must not be read."""

    def __getattr__(self, name):
        raise AssertionError(f"the test split's {name} was read")


@pytest.fixture
def measured(ready):
    """Figures and paths of the measured winners."""

    def read():
        file = ready.folder / "winners.csv"
        found = PathTable(file, ready.space.family.gene_names, value="held_out_ap").read()
        return found.loss.tolist(), found.paths

    return read


@pytest.fixture
def oracle(ready, monkeypatch):
    """Lets a function of a path's cost stand for the AP; gives the loaders that figures were asked of, and what was
    said."""
    asked, said = [], []

    def put(ap):
        def figure_of(run, split):
            def figure(path):
                asked.append(run.data[split])
                return float(ap(run.flops(path[None])[0]))

            return figure

        monkeypatch.setattr(measured_stages, "figure_of", figure_of)
        monkeypatch.setattr(ready.session, "say", said.append)
        ready.stages = SimpleNamespace(run=lambda _name, _inputs, _kept, work, **_: work())
        ready.data = {**ready.data, "test": Untouched()}
        (ready.folder / "winners.csv").unlink(missing_ok=True)
        return asked, said

    return put


def score(paths):
    return 1 / (2 + paths.sum(axis=1))


def test_the_held_out_images_decide_and_the_test_split_is_not_read(ready, oracle, measured):
    asked, _ = oracle(lambda cost: 1 / cost)
    found = search(ready, ready.space, score)
    assert asked == [ready.data["valid"]] * 5
    assert [one.bucket for one in found] == [0] * 5  # the cheapest is the best, whatever the budget
    assert [one.budget for one in found] == ready.budgets.edges[1:].tolist()
    figures, paths = measured()
    assert len(paths) == 5 and all(list(one.path) in paths.tolist() for one in found)
    assert {one.held_out_ap for one in found} == {max(figures)}


def test_dearer_is_returned_where_it_is_better(ready, oracle):
    oracle(lambda cost: cost / 1e9)
    found = search(ready, ready.space, score)
    assert [one.bucket for one in found] == [0, 1, 2, 3, 4]
    assert [one.held_out_ap for one in found] == pytest.approx([one.flops / 1e9 for one in found])


def test_an_interrupted_measurement_goes_on(ready, oracle, measured):
    def fails(cost):
        if len(asked) == 4:
            raise KeyboardInterrupt
        return 1e-3 * (cost % 997)

    asked, _ = oracle(fails)
    with pytest.raises(KeyboardInterrupt):
        search(ready, ready.space, score)
    before, _ = measured()
    assert len(before) == 3
    asked.append("so that the fourth is not the fourth any more")
    search(ready, ready.space, score)
    after, paths = measured()
    assert after[:3] == before and len(asked) == 4 + 1 + 2
    assert after == pytest.approx(1e-3 * (ready.flops(paths) % 997))


def test_without_objects_in_the_held_out_images_each_budgets_own_bucket_decides(ready, oracle, measured, monkeypatch):
    asked, said = oracle(lambda cost: 1 / cost)
    monkeypatch.setattr(type(ready.model.task), "is_defined", lambda _, loader: loader is not ready.data["valid"])
    found = search(ready, ready.space, score)
    assert asked == [] and measured()[0] == []
    assert [(one.bucket, one.held_out_ap) for one in found] == [(bucket, None) for bucket in range(5)]
    assert len(said) == 1 and "scores alone" in said[0]


@pytest.mark.parametrize(
    ("key", "value"), [("metric", "voc"), ("search.generations", 2), ("path_filter.evaluation_bn_images", 12)]
)
def test_what_decides_the_winners_is_what_the_search_is_known_by(ready, key, value):
    known = []

    def note(_name, inputs, _kept, _work, *, rehearsed, **_):
        known.append(inputs)
        return rehearsed()

    ready.stages = SimpleNamespace(run=note)
    search(ready, ready.space, score)
    ready.options = changed(ready.options, key, value)
    search(ready, ready.space, score)
    assert known[0] != known[1] and value in known[1].values()


def test_a_limit_between_an_edge_and_its_buckets_first_path(ready, oracle):
    """No SpaceError: the bucket below has what it allows."""
    edge = ready.budgets.edges[4]
    _, first = ready.space.by_cost(ready.cost).nearest(edge, edge)
    limit = float((edge + first) / 2)
    assert edge < limit < first
    oracle(lambda cost: cost / 1e9)
    ready.options = changed(ready.options, "search.budgets", [limit])
    (found,) = search(ready, ready.space, score)
    assert found.bucket < 4 and found.flops < edge


def test_undefined_figures_of_ranking_are_said_to_be():
    row = {"kendall_tau": None, "precision": None}
    compared = {"path filter": row, "FLOPs": {"kendall_tau": 0.0, "precision": 1}}
    *_, line = quality_lines({"filter": row, "same_images": compared})
    assert line == "  same images: path filter undefined / undefined, FLOPs +0.00 / 1.00"


def test_a_budget_that_pruning_leaves_no_path_for_is_refused_before_fine_tuning(ready):
    space = ready.space
    cheapest = ready.cost.range(space)[0]
    pruned = space.only(widths=[1.0])
    ready.options = changed(ready.options, "search.budgets", [cheapest, 1e12])
    require_affordable(ready, space)
    with pytest.raises(SpaceError, match=f"search.budgets has {cheapest:,.12g}; .* prune less"):
        require_affordable(ready, pruned)


def test_detectors_are_rated_by_dominance_and_by_pairs():
    """Two budgets of one path are both on the front and equal; noise that all share tells no one from another."""
    noise = np.random.default_rng(0).normal(0, 0.1, 1000)
    figures, costs = np.array([0.3, 0.3, 0.2, 0.5]), np.array([1, 1, 2, 3])
    own = np.random.default_rng(1).normal(0, 0.05, (4, 1000)) * [[0], [0], [0], [1]]
    per_class = np.array([[0.3, np.nan]] * 4)
    detectors = [Detector(path=(i,), flops=1) for i in range(4)]
    found = rated(detectors, costs, Assessed(figures, per_class, figures[:, None] + noise + own))
    assert [one.ap for one in found] == figures.tolist()
    assert [one.on_front for one in found] == [True, True, False, True]
    assert [one.equal_to for one in found] == [(2,), (1,), (), ()]
    assert {one.ap_per_class for one in found} == {(0.3, None)}
    for one in found[:3]:
        np.testing.assert_allclose(one.ap_interval, [one.ap - 0.196, one.ap + 0.196], atol=0.02)
    own[3] *= 6
    found = rated(detectors, costs, Assessed(figures, per_class, figures[:, None] + noise + own))
    assert [one.equal_to for one in found] == [(2, 4), (1, 4), (4,), (1, 2, 3)]
