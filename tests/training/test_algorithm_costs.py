"""Buckets, pruning and search follow the cost that the configuration names; tables say it beside FLOPs."""

import csv
import json
from itertools import count

import numpy as np
import pytest

from nnabla_detofa.space import Budgets, CostModel
from nnabla_detofa.supernet.latency import Stopwatch
from nnabla_detofa.training.latency import read_times
from nnabla_detofa.training.measuring import PathMeasurer

LATENCY = ["cost=latency", "cost.check_paths=3", "cost.repetitions=1", "cost.warm_up=0"]


def rows(file):
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def clockwork(monkeypatch):
    """Layers take times that differ and are the same in every run."""
    ticks = count()
    monkeypatch.setattr(Stopwatch, "nanoseconds", lambda self, forward: 10_000 + 7919 * next(ticks) % 10_007)  # noqa: ARG005


@pytest.mark.usefixtures("clockwork")
def test_a_run_under_latency(command, tiny):
    answer = command(*LATENCY)
    assert (answer.code, answer.err) == (0, [])
    assert answer.out[0].startswith("latency: done in ")
    assert answer.out[1].startswith("latency: sums of the table against 3 whole networks timed on this device: Pearson")
    network = tiny()
    layers = network.network_layers(32)
    cost = CostModel.latency(layers, read_times(command.folder / "latency.csv", layers.distinct()))
    flops, budgets = network.flops(32), Budgets.equal_width(cost)
    for name in ("paths_warmup", "paths_final"):
        table = rows(command.folder / f"{name}.csv")
        assert list(table[0])[:4] == ["bucket", "flops", "cost", "loss"]
        paths = np.array([list(row.values())[4:] for row in table]).astype(np.int8)
        np.testing.assert_array_equal([float(row["cost"]) for row in table], cost(paths))
        np.testing.assert_array_equal([float(row["flops"]) for row in table], flops(paths))
        np.testing.assert_array_equal([int(row["bucket"]) for row in table], budgets.bucket(cost(paths)))
    operations = rows(command.folder / "operations.csv")
    assert list(operations[0])[-2:] == ["reason", "cost"]
    assert max(float(row["cost"]) for row in operations) < cost.range(network.space)[1]
    assert max(float(row["flops"]) for row in operations) < flops.range(network.space)[1]
    summary = command.json("summary.json")
    assert summary["cost"] == {"name": "latency", "unit": "ns", "prediction": command.json("latency_check.json")}
    found = rows(command.folder / "pareto.csv")
    assert list(found[0]) == ["budget", "flops", "cost", "unit", "score", "ap", "genotype"]
    for row, one, parts in zip(found, summary["pareto"], summary["parts"]["pareto"], strict=True):
        path = network.space.from_genotype(json.loads(row["genotype"]))[None]
        assert (int(row["cost"]), int(row["flops"]), row["unit"]) == (cost(path)[0], flops(path)[0], "ns")
        assert int(row["cost"]) <= float(row["budget"])
        assert sum(parts.values()) == one["cost"]
        assert parts["neck_and_heads"] == cost.parts(path)[1]
    assert summary["largest"]["flops"] >= max(one["flops"] for one in summary["pareto"])


def test_another_cost_keeps_the_warm_up_alone(again, monkeypatch):
    def interrupt(self, path):  # noqa: ARG001
        raise KeyboardInterrupt

    monkeypatch.setattr(PathMeasurer, "loss", interrupt)  # enough was seen when the first path is measured anew
    before = again.results()
    answer = again("cost=memory")
    assert answer.code == 75
    assert [line for line in answer.out if "kept" in line] == ["warmup: kept, its inputs are unchanged"]
    assert [line.split(":")[0] for line in answer.out if "settings changed" in line] == ["paths_warmup"]
    (aside,) = (again.folder / "previous").iterdir()
    assert (aside / "paths_warmup.csv").read_bytes() == before["paths_warmup.csv"]
    assert (again.folder / "paths_warmup.csv").read_text().startswith("bucket,flops,cost,loss,")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["cost=parameters", "search.budgets=[20]"],
            "no path costs at most 20; the cheapest path of this space costs ",
        ),
        (["cost=latency", "cost.table=phone.csv"], "the latency table {start}/phone.csv cannot be read: [Errno 2]"),
        (["cost=latency", "cost.repetitions=0"], "cost.repetitions is 0; it must be a whole number of at least 1"),
        (["+cost.table=phone.csv"], "unknown key in cost 'flops': 'table'; known: name"),
        (["cost.name=time"], "unknown cost 'time'; known: flops, latency, memory, parameters"),
        (["cost=time"], "unknown cost 'time'; known: flops, latency, memory, parameters"),
    ],
)
def test_costs_that_cannot_be(command, overrides, said):
    answer = command(*overrides)
    assert (answer.code, len(answer.err)) == (2, 1)
    assert answer.err[0].startswith(f"nnabla_detofa: {said.replace('{start}', str(command.start))}")
    if "budgets" in str(overrides):
        assert answer.err[0].endswith(" parameters")
