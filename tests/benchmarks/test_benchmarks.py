"""The benchmarks' machinery: sides answer in turn, a side that fails says why, and results have one form."""

import json
import os

import numpy as np
import pytest

from experiments.benchmarks import report
from experiments.benchmarks.growth import CURVES, Curve, exponent
from experiments.benchmarks.paired_timing import Running, Workload, alternate
from experiments.benchmarks.readme import BEGIN, END, LINES, lines, put
from experiments.benchmarks.rows import ROWS, Row
from experiments.benchmarks.waiting import WAITING
from experiments.benchmarks.workloads import coco, pictures
from nnabla_detofa.data.coco import read_coco

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
        assert min(side.run()[:2]) > 0
    finally:
        side.close()


def test_missing_peers_are_said():
    with pytest.raises(RuntimeError, match="make bench"):
        alternate([Workload("peers.encoder", "score", {}, python="nowhere")], repetitions=1)


def test_memory_is_that_of_the_work():
    side = Running(Workload("workloads.paths", "flops", {"n": 300_000}))
    try:
        side.wait()
        one = side.run()
    finally:
        side.close()
    assert 0 < one.resident <= one.peak


def test_results_keep_the_rows_that_were_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    curve = Curve("steps by pixels", [64, 128], [1.0, 4.0], [10.0, 10.0])
    report.write({"flops": ROW, "score": ROW}, {"growth_step": curve}, "", start="")
    page = report.write({"score": ROW._replace(ratio=4.0), "alone": Row(1, None, None, "s", "")}, {}, "", start="")
    latest = json.loads((tmp_path / "results" / "latest.json").read_text())
    assert latest["flops"] == {"ours": 2.0, "peer": 6.0, "ratio": 3.0, "unit": "s/step"}
    assert latest["score"]["ratio"] == 4.0
    assert latest["alone"]["peer"] is None
    assert latest["growth_step_time"]["ours"] == pytest.approx(2)
    assert latest["growth_step_memory"]["ours"] == pytest.approx(0)
    assert latest["growth_step_memory"]["values"] == [10.0, 10.0]
    assert "| score | 2 | 6 | 4 | s/step | somebody else |" in page.read_text()


@pytest.mark.parametrize("power", [0, 0.5, 1, 2])
def test_the_exponent_is_the_power_of_the_growth(power):
    points = [3, 10, 50]
    assert exponent(points, [7.0 * n**power for n in points]) == pytest.approx(power)


def test_every_row_that_was_asked_for_is_there():
    asked = "step_64_host step_64_ofa step_128_host step_128_ofa flops top_bucket score search pruning_share loader"
    assert set(asked.split()) < set(ROWS)
    assert not set(ROWS) & set(WAITING)
    assert not set(ROWS | WAITING) & set(CURVES)


def test_the_file_that_is_read_is_coco_s(tmp_path):
    rows = coco.instances(tmp_path / "instances.json", 5)
    for i in range(5):
        (tmp_path / f"{i:012d}.jpg").touch()
    found = read_coco(tmp_path, tmp_path / "instances.json")
    assert (len(found), len(found.classes), found.findings) == (5, coco.CLASSES, ())
    np.testing.assert_array_equal(found.ground_truth().label, rows[:, 1])


@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")
def test_workloads_of_a_data_set_do_their_work():
    for by in ("ours", "opencv"):
        assert pictures.checking(20, by)() == 20
    for by in ("ours", "pycocotools"):
        coco.reading(3, by)()
        coco.precision(3, by)()
    assert coco.decoding(2)() == 2


def test_the_readme_s_lines_are_of_the_figures():
    rows = {name for _, clauses in LINES for names, _ in clauses for name in names}
    assert rows <= set(ROWS | WAITING)
    latest = {name: {"ours": 2.0, "peer": 6.0, "ratio": 3.0 + i, "unit": "s"} for i, name in enumerate(sorted(rows))}
    assert len(lines(latest)) == 2 + len(LINES)
    assert len(lines({})) == 2  # the heading
    assert put(f"a\n{BEGIN}\nold\n{END}\nb\n", ["new"]) == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    with pytest.raises(SystemExit, match="no place"):
        put("a", ["new"])
