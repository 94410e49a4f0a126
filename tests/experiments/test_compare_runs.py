"""Finished runs side by side: means and intervals over seeds, and one line for runs that do not compare."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from experiments import compare_runs

BUDGETS = [2e6, 3e6]
TEST = {"dataset": "VOC2007 test", "images": 12, "image_size": 32}
SECONDS = {"warmup": 1.0, "paths_warmup": 20.0, "operations": 3.0, "finetune": 4.0, "search": 500.0}


def summary(seed=0, aps=(0.5, 0.6), ap=0.7, **changes):
    rows = [{"budget": b, "flops": b - 5e5, "score": 0.5, "ap": ap} for b, ap in zip(BUDGETS, aps, strict=True)]
    return {
        "seed": seed,
        "dataset": "VOC2007 trainval",
        "test": TEST,
        "metric": "voc07",
        "strategy": "flops_score_all",
        "sampler": "uniform",
        "space_size": 7,
        "cost": {"name": "flops", "unit": "MACs"},
        "seconds": SECONDS,
        "pareto": rows,
        "largest": {"flops": 4e6, "ap": ap},
        **changes,
    }


def fullnet(seed=0, ap=0.8):
    only = {"budget": 4e6, "flops": 4e6, "score": None, "ap": ap}
    return summary(
        seed, ap=ap, pareto=[only], sampler="fullnet", strategy="none", seconds={"warmup": 1.5, "finetune": 5.5}
    )


@pytest.fixture
def run(tmp_path):
    """Writes a finished run into a folder of that name."""

    def write(name, content):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(content))
        return tmp_path / name

    return write


@pytest.fixture
def compare(tmp_path, capsys):
    """The command; exit code, its output and its error lines."""

    def call(*methods):
        code = compare_runs.main([*methods, "--out", str(tmp_path / "out")])
        printed = capsys.readouterr()
        return code, printed.out, printed.err.splitlines()

    return call


def test_mean_and_interval_are_those_of_students_t():
    values = np.array([[0.70, 0.5], [0.74, 0.5], [0.72, 0.5]])
    found = compare_runs.estimate(values)
    assert found.mean.tolist() == pytest.approx([0.72, 0.5])
    half = 4.302653 * 0.02 / 3**0.5  # t of 2 degrees of freedom at 97.5 %, times s / sqrt(n)
    assert (found.high - found.mean).tolist() == pytest.approx([half, 0], abs=1e-6)
    assert (found.mean - found.low).tolist() == pytest.approx([half, 0], abs=1e-6)
    alone = compare_runs.estimate(values[:1])
    assert alone.mean.tolist() == [0.70, 0.5] and np.isnan([alone.low, alone.high]).all()


def test_tables_and_figure_of_several_methods(run, compare, tmp_path):
    ours = [run(f"a{seed}", summary(seed, (0.5 + 0.01 * seed, 0.6))) for seed in range(3)]
    ofa = run("b", summary(strategy="none", seconds={"warmup": 1.0, "finetune": 6.0, "paths_final": 9.0}))
    full = run("c", fullnet())
    code, out, err = compare(f"DetOFA={','.join(map(str, ours))}", f"OFA={ofa}", f"Fullnet={full}")
    assert (code, err) == (0, [])
    assert "≤ 2.0 M" in out and "≤ 3.0 M" in out
    tables = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    aps, costs = ({row[0]: row[1:] for row in tables[part]} for part in (slice(0, 4), slice(4, 8)))
    assert aps["DetOFA"] == ["3", "51.00 ± 2.48", "60.00 ± 0.00", "70.00 ± 0.00"]
    assert aps["OFA"] == ["1", "50.00", "60.00", "70.00"]
    assert aps["Fullnet"] == ["1", "–", "–", "80.00"]
    assert costs["DetOFA"] == ["28.0", "20.0", "3.0", "5.0", "500.0"]
    assert costs["OFA"] == ["7.0", "0.0", "0.0", "7.0", "9.0"]
    assert costs["Fullnet"] == ["7.0", "0.0", "0.0", "7.0", "0.0"]
    with (tmp_path / "out" / "comparison.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [(row["method"], row["budget"]) for row in table] == [
        *(("DetOFA", budget) for budget in ("2000000.0", "3000000.0", "")),
        *(("OFA", budget) for budget in ("2000000.0", "3000000.0", "")),
        ("Fullnet", ""),
    ]
    assert float(table[0]["ap"]) == pytest.approx(0.51)
    assert float(table[0]["low"]) < 0.51 < float(table[0]["high"])
    assert (table[3]["low"], table[3]["high"], table[3]["cost"]) == ("", "", "1500000.0")
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "comparison.md").read_text() in out


def test_phases_of_progressive_shrinking_are_training(run, compare):
    phases = run("ps", summary(seconds={"depth": 1.0, "expand": 2.0, "width": 4.0, "path_filter_final": 8.0}))
    assert "| PS | 7.0 | 0.0 | 0.0 | 7.0 | 8.0 |" in compare(f"PS={phases}")[1]


def test_runs_that_went_by_another_cost(run, compare, tmp_path):
    by_latency = summary(cost={"name": "latency", "unit": "ns"}, largest={"flops": 4e6, "cost": 9e6, "ap": 0.7})
    for row in by_latency["pareto"]:
        row["cost"] = row["budget"] - 1.0
    assert compare(f"A={run('a', by_latency)}")[0] == 0
    with (tmp_path / "out" / "comparison.csv").open(newline="") as stream:
        assert [float(row["cost"]) for row in csv.DictReader(stream)] == [1999999.0, 2999999.0, 9e6]


def test_the_largest_path_alone(run, compare):
    code, out, _ = compare(f"Fullnet={run('a', fullnet())}")
    assert code == 0 and "| Fullnet | 1 | 80.00 |" in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "VOC2012 trainval"}, "dataset is 'VOC2007 trainval' and 'VOC2012 trainval'"),
        ({"metric": "coco"}, "metric is 'voc07' and 'coco'"),
        ({"test": {"images": 3}}, f"test is {TEST} and {{'images': 3}}"),
        ({"cost": {"name": "latency", "unit": "ns"}}, "cost.name is 'flops' and 'latency'"),
        (
            {"pareto": [{"budget": 1e6, "flops": 1e6, "score": 0.1, "ap": 0.2}]},
            "budgets is [2000000.0, 3000000.0] and [1000000.0]",
        ),
    ],
)  # fmt: skip
def test_runs_of_other_tasks_do_not_compare(run, compare, change, said):
    ours, theirs = run("a", summary()), run("b", summary(**change))
    assert compare(f"A={ours}", f"B={theirs}")[::2] == (
        2,
        [f"compare_runs: {ours} and {theirs} do not compare: {said}"],
    )


def test_runs_of_one_method_differ_by_seed_alone(run, compare):
    ours, theirs = run("a", summary()), run("b", summary(1, strategy="none"))
    said = f"compare_runs: {ours} and {theirs} do not compare: strategy is 'flops_score_all' and 'none'"
    assert compare(f"A={ours},{theirs}")[::2] == (2, [said])
    assert compare(f"A={ours},{ours}")[::2] == (
        2,
        ["compare_runs: the runs of A have the seeds [0, 0]; each must have another"],
    )


@pytest.mark.parametrize("given", ["log/a", "=log/a", "A="])
def test_arguments_of_another_form(compare, given):
    said = f"compare_runs: '{given}' must be NAME=FOLDER or NAME=FOLDER,FOLDER, each name once"
    assert compare(given)[::2] == (2, [said])


def test_a_name_given_twice(run, compare):
    ours = run("a", summary())
    assert compare(f"A={ours}", f"A={ours}")[2][0].endswith("must be NAME=FOLDER or NAME=FOLDER,FOLDER, each name once")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"pareto": [], "largest": 3}'])
def test_folders_that_hold_no_finished_run(tmp_path, compare, content):
    nothing = tmp_path / "nothing"
    assert compare(f"A={nothing}")[::2] == (
        2,
        [f"compare_runs: {nothing} has no summary.json; give the folder of a finished run"],
    )
    nothing.mkdir()
    (nothing / "summary.json").write_text(content)
    code, _, err = compare(f"A={nothing}")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"compare_runs: {nothing}/summary.json is no summary of a run (")
