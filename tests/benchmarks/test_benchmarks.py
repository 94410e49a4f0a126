"""The benchmarks' machinery: sides answer in turn, a side that fails says why, and results have one form."""

import json
import os

import pytest

from experiments.benchmarks import report
from experiments.benchmarks.growth import Curve
from experiments.benchmarks.paired_timing import Running, Workload, alternate
from experiments.benchmarks.rows import ROWS, Row

ROW = Row(ours=2.0, peer=6.0, ratio=3.0, unit="s/step", note="somebody else")


def test_sides_take_turns_and_give_seconds_per_unit_of_work():
    tasks = [Workload("workloads.paths", "flops", {"n": n}) for n in (10, 1000)]
    times = alternate(tasks, repetitions=3)
    assert len(times) == 2
    assert min(times) > 0


def test_a_side_that_cannot_be_built_says_why():
    with pytest.raises(RuntimeError, match=r"workloads\.paths\.flops in .* ended: .*colour"):
        alternate([Workload("workloads.paths", "flops", {"colour": "red"})], repetitions=1)


def test_each_runtime_answers_on_one_core():
    options = {"path": "smallest", "size": 32}
    task = Workload("workloads.deployed", "answer", {"runtime": "onnx", **options}, one_core=True)
    side = Running(task)
    try:
        side.wait()
        assert len(os.sched_getaffinity(side._process.pid)) == 1
        assert side.run() > 0
    finally:
        side.close()


def test_missing_peers_are_said():
    with pytest.raises(RuntimeError, match="make bench"):
        alternate([Workload("peers.encoder", "score", {}, python="nowhere")], repetitions=1)


def test_results_keep_the_rows_that_were_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    report.write({"flops": ROW, "score": ROW}, [Curve("Steps", "s", ["64 px", "128 px"], [1.0, 2.0])], "", start="")
    page = report.write({"score": ROW._replace(ratio=4.0)}, [], "", start="")
    latest = json.loads((tmp_path / "results" / "latest.json").read_text())
    assert latest["flops"] == {"ours": 2.0, "peer": 6.0, "ratio": 3.0, "unit": "s/step"}
    assert latest["score"]["ratio"] == 4.0
    assert "| score | 2 | 6 | 4 | s/step | somebody else |" in page.read_text()


def test_every_row_that_was_asked_for_is_there():
    asked = "step_64_host step_64_ofa step_128_host step_128_ofa flops top_bucket score search pruning_share loader"
    assert set(asked.split()) < set(ROWS)
