"""Buckets, pruning and search follow the cost that the configuration names; tables say it beside FLOPs."""

import json
import re
from itertools import count

import numpy as np
import pytest

from nnabla_detofa.report.finished_runs import FinishedRun
from nnabla_detofa.space import Budgets, CostModel
from nnabla_detofa.supernet.latency import Stopwatch
from nnabla_detofa.training.latency import read_times

LATENCY = ["cost=latency", "cost.check_paths=3", "cost.repetitions=1", "cost.warm_up=0"]


@pytest.fixture
def clockwork(monkeypatch):
    """Layers take times that differ and are the same in every run."""
    ticks = count()
    monkeypatch.setattr(Stopwatch, "nanoseconds", lambda self, forward: 10_000 + 7919 * next(ticks) % 10_007)  # noqa: ARG005


@pytest.mark.usefixtures("clockwork")
def test_a_run_under_latency(command, tiny):
    answer = command(*LATENCY)
    assert (answer.code, answer.err) == (0, [])
    assert answer.ran[0] == "latency"
    assert FinishedRun(command.folder).training == ["warmup", "finetune"]  # pricing layers trains nothing
    assert answer.out[1].startswith("latency: sums of the table against 3 whole networks ")
    network = tiny()
    layers = network.network_layers(32)
    cost = CostModel.latency(layers, read_times(command.folder / "latency.csv", layers.distinct()))
    flops, budgets = network.flops(32), Budgets.equal_width(cost)
    for name in ("paths_warmup.csv", "paths_final.csv"):
        table, paths = command.measured(name)
        assert list(table[0])[:4] == ["bucket", "flops", "cost", "loss"]
        np.testing.assert_array_equal([float(row["cost"]) for row in table], cost(paths))
        np.testing.assert_array_equal([float(row["flops"]) for row in table], flops(paths))
        np.testing.assert_array_equal([int(row["bucket"]) for row in table], budgets.bucket(cost(paths)))
    operations = command.rows("operations.csv")
    assert list(operations[0])[-2:] == ["reason", "cost"]
    for name, model in (("cost", cost), ("flops", flops)):
        low, high = model.range(network.space)
        assert all(low <= float(row[name]) < high for row in operations)
    summary = command.json("summary.json")
    assert summary["cost"] == {"name": "latency", "unit": "ns", "prediction": command.json("latency_check.json")}
    found = command.rows("pareto.csv")
    assert list(found[0]) == [
        "budget",
        "flops",
        "cost",
        "unit",
        "score",
        "ap",
        "ap_low",
        "ap_high",
        "on_front",
        "file",
        "genotype",
    ]
    for row, one, parts in zip(found, summary["pareto"], summary["parts"]["pareto"], strict=True):
        path = network.space.from_genotype(json.loads(row["genotype"]))[None]
        assert (int(row["cost"]), int(row["flops"]), row["unit"]) == (cost(path)[0], flops(path)[0], "ns")
        assert int(row["cost"]) <= float(row["budget"])
        assert sum(parts.values()) == one["cost"]
        assert parts["neck_and_heads"] == cost.parts(path)[1]
    assert summary["largest"]["flops"] >= max(one["flops"] for one in summary["pareto"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["cost=parameters", "search.budgets=[20]"], "at most 20; .* costs 24,915 parameters"),
        (["cost=latency", "cost.table=phone.csv"], "/phone.csv cannot be read"),
        (["cost=time"], "'time'; known: flops, latency, memory, parameters"),
    ],
)
def test_costs_that_cannot_be(command, overrides, said):
    assert re.search(said, command(*overrides).refusal)
