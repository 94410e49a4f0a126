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
def compare(tmp_path, capsys):
    """The command on finished runs, {method: summaries}; exit code, what it prints, and the rows of its CSV."""

    def call(*arguments, **methods):
        for name, contents in methods.items():
            folders = [tmp_path / f"{name}{number}" for number in range(len(contents))]
            for folder, content in zip(folders, contents, strict=True):
                folder.mkdir()
                (folder / "summary.json").write_text(json.dumps(content))
            arguments += (f"{name}={','.join(map(str, folders))}",)
        code, file = compare_runs.main([*arguments, "--out", str(tmp_path)]), tmp_path / "comparison.csv"
        printed, rows = capsys.readouterr(), [*csv.DictReader(file.read_text().splitlines())] if code == 0 else []
        assert len(printed.err.splitlines()) == (code != 0)
        return code, printed.out + printed.err, rows

    return call


def test_mean_and_interval_are_those_of_students_t():
    values = np.array([[0.70, 0.5], [0.74, 0.5], [0.72, 0.5]])
    mean, half = np.array([0.72, 0.5]), np.array([4.302653 * 0.02 / 3**0.5, 0])  # t of 2 degrees of freedom at 97.5 %
    np.testing.assert_allclose(compare_runs.estimate(values), [mean, mean - half, mean + half], atol=1e-6)
    np.testing.assert_array_equal(compare_runs.estimate(values[:1]), [[0.70, 0.5], *[[np.nan] * 2] * 2])


def test_tables_and_figure_of_several_methods(compare, tmp_path):
    ofa = summary(strategy="none", seconds={"warmup": 1.0, "finetune": 6.0, "paths_final": 9.0})
    phases = summary(seconds={"depth": 1.0, "expand": 2.0, "width": 4.0, "path_filter_final": 8.0})
    ours = [summary(seed, (0.5 + 0.01 * seed, 0.6)) for seed in range(3)]
    code, out, (first, *others) = compare(DetOFA=ours, OFA=[ofa], PS=[phases], Fullnet=[FULLNET])
    assert code == 0 and "≤ 2.0 M" in out and "≤ 3.0 M" in out
    lines = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    aps, costs = ({row[0]: row[1:] for row in lines[part]} for part in (slice(0, 5), slice(5, 10)))
    assert aps["DetOFA"] == ["3", "51.00 ± 2.48", "60.00 ± 0.00", "70.00 ± 0.00"]
    assert aps["OFA"] == ["1", "50.00", "60.00", "70.00"] and aps["Fullnet"] == ["1", "–", "–", "80.00"]
    assert costs["DetOFA"] == ["28.0", "20.0", "3.0", "5.0", "500.0"]
    assert costs["OFA"] == ["7.0", "0.0", "0.0", "7.0", "9.0"]
    assert costs["PS"] == ["7.0", "0.0", "0.0", "7.0", "8.0"]  # phases of progressive shrinking are training
    assert costs["Fullnet"] == ["7.0", "0.0", "0.0", "7.0", "0.0"]
    searched = [(method, budget) for method in ("DetOFA", "OFA", "PS") for budget in ("2000000.0", "3000000.0", "")]
    assert [(row["method"], row["budget"]) for row in (first, *others)] == [*searched, ("Fullnet", "")]
    assert float(first["low"]) < 0.51 < float(first["high"]) and float(first["ap"]) == pytest.approx(0.51)
    assert [others[2][key] for key in ("low", "high", "cost")] == ["", "", "1500000.0"]
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "comparison.md").read_text() in out


def test_another_cost_and_the_largest_path_alone(compare):
    by_latency = summary(cost={"name": "latency", "unit": "ns"}, largest={"flops": 4e6, "cost": 9e6, "ap": 0.7})
    for row in by_latency["pareto"]:
        row["cost"] = row["budget"] - 1.0
    assert [float(row["cost"]) for row in compare(A=[by_latency])[2]] == [1999999.0, 2999999.0, 9e6]
    assert "| Fullnet | 1 | 80.00 |" in compare(Fullnet=[FULLNET])[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "VOC2012 trainval"}, "dataset is"),
        ({"metric": "coco"}, "metric is"),
        ({"test": {"images": 3}}, "test is"),
        ({"cost": {"name": "latency", "unit": "ns"}}, "cost.name is"),
        ({"pareto": [{"budget": 1e6, "flops": 1e6, "score": 0.1, "ap": 0.2}]}, "budgets is"),
        ({"pareto": [], "largest": 3}, "no summary"),
    ],
)
def test_runs_that_do_not_compare(compare, tmp_path, change, said):
    code, line, _ = compare(A=[summary()], B=[summary(**change)])
    assert code == 2 and f"{tmp_path}/B0" in line and said in line


@pytest.mark.parametrize(("change", "said"), [({"seed": 1, "strategy": "none"}, "strategy is"), ({}, "seeds [0, 0]")])
def test_runs_of_a_method_differ_by_seed_alone(compare, change, said):
    code, line, _ = compare(A=[summary(), summary(**change)])
    assert code == 2 and said in line


@pytest.mark.parametrize("given", ["log/a", "=log/a", "A=", "A=nothing"])
def test_arguments_of_another_form(compare, given):
    code, said, _ = compare(given)
    assert code == 2 and ("must be NAME=FOLDER" in said or "nothing has no summary" in said)
