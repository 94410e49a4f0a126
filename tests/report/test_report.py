"""Tables, picture and plan of a run: amounts that are readable, and what is not known is not made up."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from nnabla_detofa.report import figures, plan
from nnabla_detofa.report.lines import duration, gain_lines, pareto_lines, pruning_line, quality_lines
from nnabla_detofa.report.pareto import picture, write_pareto
from nnabla_detofa.report.plan import FewImages, Pace
from nnabla_detofa.search_stages import Detector
from nnabla_detofa.space import CostModel, SearchSpace
from nnabla_detofa.storage import Work

FOUND = {"budget": 12.5e6, "flops": 12_345_678, "cost": 2_500_000, "score": 0.25, "ap": 0.4567}
FOUND |= {"ap_interval": [0.4, 0.51234], "equal_to": [2]}
LARGEST = {"name": "largest path of the pruned space", "flops": 98e6, "cost": 3e6, "ap": 0.5}


@pytest.mark.parametrize(
    ("cost", "titles", "cells"),
    [
        ("flops", "budget (MMAC) MMAC score", ["12.5 12.3 0.250 45.67 40.00 – 51.23 1 2", "98.0 50.00 2"]),
        ("latency", "budget (ms) ms MMAC score", ["12.5 2.5 12.3 0.250 45.67 40.00 – 51.23 1 2", "3 98.0 50.00 2"]),
    ],
)
def test_a_table_of_detectors(cost, titles, cells):
    lines = list(pareto_lines({"cost": {"name": cost}, "pareto": [FOUND], "largest": LARGEST}))
    assert len({len(line) for line in lines}) == 1  # columns are below each other
    titles += " AP (%) 95 % interval row equal to"
    assert [" ".join(line.split()) for line in lines] == [titles, cells[0], f"{LARGEST['name']} {cells[1]}"]


@pytest.mark.parametrize(
    ("gain", "verdict"), [((0.01, 0.2), "better"), ((-0.2, -0.01), "worse"), ((-0.1, 0.2), "which may be none")]
)
def test_the_gain_of_fine_tuning(gain, verdict):
    (line,) = gain_lines({"pareto": [{**FOUND, "gain": gain}], "largest": LARGEST})
    assert line.endswith(f": {verdict}") and "50.00 % before, 45.67 % after" in line and "-4.33" in line
    assert f"{100 * gain[0]:+.2f} to {100 * gain[1]:+.2f}" in line
    assert [*gain_lines({"pareto": [FOUND], "largest": LARGEST})] == []


@pytest.mark.parametrize("name", ["flops", "memory"])
def test_a_csv_of_detectors_has_the_cost_where_it_is_another(tmp_path, name):
    space = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1))
    cost = getattr(CostModel, name)(space, image_size=32, n_classes=2)
    path, own = tuple(space.largest().tolist()), None if name == "flops" else 7
    rows = [Detector(path, 12, own, budget=15.0, ap=0.5, on_front=True)]
    rows.append(Detector(path, 12, own, name="largest", ap=0.5, on_front=False))
    write_pareto(tmp_path, space, rows, cost, "voc07")
    with (tmp_path / "pareto.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert set(row) >= {"budget", "flops", "score", "ap", "genotype"}
    assert {"cost", "unit"} <= set(row) if own else not {"cost", "unit"} & set(row)
    assert json.loads(row["genotype"]) == space.genotype(space.largest())


def test_shares_that_are_not_defined_are_dashes():
    found = {"path_pruning_share": 0.0123, "rejected_share": 0.25, "rejected_share_per_bucket": [None, 0.5]}
    assert pruning_line({**found, "sampler": "uniform"}) == (
        "path pruning rejected 25 % of the draws (uniform; in the buckets – / 50 %);"
        " drawing and scoring them took 1.23 % of the fine-tuning stage"
    )


def test_figures_that_are_not_defined_are_said():
    rows = {"filter": {"kendall_tau": 0.5, "precision": None}, "flops": {"kendall_tau": None, "precision": 0.25}}
    _, line = quality_lines({"filter": "main effects", "other_images": rows})
    assert line.split(": ", 1)[1] == "filter +0.50 / undefined, flops undefined / 0.25"
    assert line.startswith("  other images")


def test_a_detector_is_stored_and_read_back():
    found = Detector(path=(0, -1), flops=3, cost=4, budget=5.0, score=0.5, bucket=1, held_out_ap=None, ap=0.25)
    largest = Detector(path=(0, -1), flops=3, name="largest path")
    rated = {"ap": 0.5, "ap_interval": (0.4, 0.6), "ap_per_class": (None, 0.5), "on_front": False, "equal_to": ()}
    for one in (found, largest, replace(found, **rated), replace(largest, **rated)):
        assert Detector.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert set(replace(largest, **rated).to_dict()) == {"path", "flops", "name", *rated}
    assert set(found.to_dict()) == {"path", "flops", "cost", "budget", "score", "bucket", "held_out_ap", "ap"}
    assert set(largest.to_dict()) == {"path", "flops", "name"}


@pytest.mark.parametrize("cost", [None, 5_000_000])
def test_a_picture_shows_all_detectors_by_the_cost_of_their_budgets(monkeypatch, cost):
    drawn = []
    monkeypatch.setattr(figures, "front", lambda points, **own: drawn.append((points, own)) or Figure())
    both = [
        Detector((0,), 10**6, cost, budget=2e6, ap=0.1, ap_interval=(0.05, 0.2), on_front=True),
        Detector((0,), 3 * 10**6, cost, name="abc", ap=0.3, on_front=False),
    ]
    assert picture(both, metric="voc07", cost="latency" if cost else "flops").startswith(b"\x89PNG")
    ((points, own),) = drawn
    assert [one["cost"] for one in points] == ([5, 5] if cost else [1, 3])
    assert [(one["ap"], one.get("ap_interval"), one["on_front"], one.get("name")) for one in points] == [
        (0.1, [0.05, 0.2], True, None),
        (0.3, None, False, "abc"),
    ]
    assert own["budgets"] == [2] and own["metric"] == "voc07" and ("ms" in own["cost"]) is bool(cost)


def test_batches_are_cut_to_their_first_images():
    batch = {"inputs": [np.arange(6)], "targets": [np.arange(6), np.ones((6, 2))], "indices": np.arange(6)}
    few = FewImages(SimpleNamespace(next=lambda: batch), 4).next()
    assert [len(array) for array in (*few["inputs"], *few["targets"])] == [4] * 3


def test_time_is_shared_by_the_processes():
    work, pace = Work("", steps=10, batch=32, images=100), Pace(training=0.5, forward=0.25, n=8)
    alone = plan._seconds(work, pace, 1, plan.Exchange(800, 100.0, True))
    assert alone == 10 * 32 * 0.5 + 100 * 0.25
    passed_on = 2 * 800 * 3 / 4  # bytes of each process in a ring of four
    assert plan._seconds(work, pace, 4, plan.Exchange(800, 100.0, True)) == alone / 4 + 10 * passed_on / 100


def test_amounts_are_readable():
    durations = [duration(s) for s in (0.5, 90, 300, 7300, 3e5, 1e8)]
    assert durations == ["0.5 s", "90 s", "5 min", "2 h", "3.5 days", "1,157 days"]
    assert [plan._bytes(n) for n in (1500, 2.5e6, 3.25e9)] == ["1.5 kB", "2.5 MB", "3.25 GB"]
    counts = [plan._count(n, noun) for n, noun in ((1, "process"), (2, "process"), (2, "image"))]
    assert counts == ["1 process", "2 processes", "2 images"]
