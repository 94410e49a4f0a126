"""Finished runs side by side: means and intervals over seeds, and one line for runs that do not compare."""

import csv
import json

import numpy as np
import pytest

from experiments import compare_runs

BUDGETS = [2e6, 3e6]
TASK = {"dataset": "VOC2007 trainval", "test": {"images": 12}, "metric": "voc07"}
METHOD = {"strategy": "flops_score_all", "sampler": "uniform", "space_size": 7}
SECONDS = {"warmup": 1.0, "paths_warmup": 20.0, "operations": 3.0, "finetune": 4.0, "search": 500.0}
LARGEST = {"budget": 4e6, "flops": 4e6, "score": None, "ap": 0.8}


def summary(seed=0, aps=(0.5, 0.6), **changes):
    pareto = [{"budget": b, "flops": b - 5e5, "score": 0.5, "ap": ap} for b, ap in zip(BUDGETS, aps, strict=True)]
    rest = {"cost": {"name": "flops", "unit": "MACs"}, "largest": {"flops": 4e6, "ap": 0.7}, "seconds": SECONDS}
    return {"seed": seed, **TASK, **METHOD, **rest, "pareto": pareto, **changes}


FULLNET = summary(pareto=[LARGEST], largest=LARGEST, strategy="none", seconds={"warmup": 1.5, "finetune": 5.5})


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


def table(folder):
    with (folder / "out" / "comparison.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_mean_and_interval_are_those_of_students_t():
    values = np.array([[0.70, 0.5], [0.74, 0.5], [0.72, 0.5]])
    mean, half = np.array([0.72, 0.5]), np.array([4.302653 * 0.02 / 3**0.5, 0])  # t of 2 degrees of freedom at 97.5 %
    np.testing.assert_allclose(compare_runs.estimate(values), [mean, mean - half, mean + half], atol=1e-6)
    np.testing.assert_array_equal(compare_runs.estimate(values[:1]), [[0.70, 0.5], *[[np.nan] * 2] * 2])


def test_tables_and_figure_of_several_methods(run, compare, tmp_path):
    ours = [run(f"a{seed}", summary(seed, (0.5 + 0.01 * seed, 0.6))) for seed in range(3)]
    ofa = run("b", summary(strategy="none", seconds={"warmup": 1.0, "finetune": 6.0, "paths_final": 9.0}))
    phases = run("d", summary(seconds={"depth": 1.0, "expand": 2.0, "width": 4.0, "path_filter_final": 8.0}))
    full = run("c", FULLNET)
    code, out, err = compare(f"DetOFA={','.join(map(str, ours))}", f"OFA={ofa}", f"PS={phases}", f"Fullnet={full}")
    assert (code, err) == (0, [])
    assert "≤ 2.0 M" in out and "≤ 3.0 M" in out
    lines = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    aps, costs = ({row[0]: row[1:] for row in lines[part]} for part in (slice(0, 5), slice(5, 10)))
    assert aps["DetOFA"] == ["3", "51.00 ± 2.48", "60.00 ± 0.00", "70.00 ± 0.00"]
    assert aps["OFA"] == ["1", "50.00", "60.00", "70.00"]
    assert aps["Fullnet"] == ["1", "–", "–", "80.00"]
    assert costs["DetOFA"] == ["28.0", "20.0", "3.0", "5.0", "500.0"]
    assert costs["OFA"] == ["7.0", "0.0", "0.0", "7.0", "9.0"]
    assert costs["PS"] == ["7.0", "0.0", "0.0", "7.0", "8.0"]  # phases of progressive shrinking are training
    assert costs["Fullnet"] == ["7.0", "0.0", "0.0", "7.0", "0.0"]
    first, *others = table(tmp_path)
    searched = [(method, budget) for method in ("DetOFA", "OFA", "PS") for budget in ("2000000.0", "3000000.0", "")]
    assert [(row["method"], row["budget"]) for row in (first, *others)] == [*searched, ("Fullnet", "")]
    assert float(first["low"]) < 0.51 < float(first["high"]) and float(first["ap"]) == pytest.approx(0.51)
    assert [others[2][key] for key in ("low", "high", "cost")] == ["", "", "1500000.0"]
    assert (tmp_path / "out" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "comparison.md").read_text() in out


def test_runs_that_went_by_another_cost(run, compare, tmp_path):
    by_latency = summary(cost={"name": "latency", "unit": "ns"}, largest={"flops": 4e6, "cost": 9e6, "ap": 0.7})
    for row in by_latency["pareto"]:
        row["cost"] = row["budget"] - 1.0
    assert compare(f"A={run('a', by_latency)}")[0] == 0
    assert [float(row["cost"]) for row in table(tmp_path)] == [1999999.0, 2999999.0, 9e6]
    assert "| Fullnet | 1 | 80.00 |" in compare(f"Fullnet={run('b', FULLNET)}")[1]  # the largest path alone


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("dataset", {"dataset": "VOC2012 trainval"}),
        ("metric", {"metric": "coco"}),
        ("test", {"test": {"images": 3}}),
        ("cost.name", {"cost": {"name": "latency", "unit": "ns"}}),
        ("budgets", {"pareto": [{"budget": 1e6, "flops": 1e6, "score": 0.1, "ap": 0.2}]}),
        ("strategy", {"seed": 1, "strategy": "none"}),  # of one method, whose runs differ by seed alone
    ],
)
def test_runs_that_do_not_compare(run, compare, key, change):
    ours, theirs = run("a", summary()), run("b", summary(**change))
    code, _, (said,) = compare(f"A={ours},{theirs}") if key == "strategy" else compare(f"A={ours}", f"B={theirs}")
    assert code == 2 and f"{ours} and {theirs} do not compare: {key} is " in said


@pytest.mark.parametrize("given", ["log/a", "=log/a", "A=", "A={0} A={0}", "A={0},{0}"])
def test_arguments_of_another_form(run, compare, given):
    code, _, (said,) = compare(*given.format(run("a", FULLNET)).split())
    assert code == 2 and ("must be NAME=FOLDER" in said or "seeds [0, 0]" in said)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"pareto": [], "largest": 3}'])
def test_folders_that_hold_no_finished_run(tmp_path, compare, content):
    if content is not None:
        (tmp_path / "summary.json").write_text(content)
    code, _, (said,) = compare(f"A={tmp_path}")
    assert code == 2 and str(tmp_path) in said and "summary" in said
