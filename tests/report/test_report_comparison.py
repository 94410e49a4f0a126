"""Finished runs side by side: means, intervals, differences by pairs, and one line for runs that do not compare."""

import csv
import json
import re

import numpy as np
import pytest

from nnabla_detofa.detection import paired_difference
from nnabla_detofa.errors import ConfigError, RunFolderError
from nnabla_detofa.launch import cli
from nnabla_detofa.report.compared_methods import Estimate, read_methods, students_t
from nnabla_detofa.report.comparison import Comparison, unpaired
from nnabla_detofa.report.comparison_files import picture
from nnabla_detofa.report.finished_runs import FinishedRun, UnfinishedRunError, differing, folders_of

BUDGETS = [2e6, 3e6]
SECONDS = {"warmup": 1.0, "paths_warmup": 20.0, "operations": 3.0, "finetune": 4.0, "search": 500.0}
LARGEST = {"budget": 4e6, "flops": 4e6, "score": None, "ap": 0.8}
SHAPES = {"strategy": "flops_score_all", "sampler": "genes", "space_size": 8, "pruned_space_size": 6}


def summary(seed=0, aps=(0.5, 0.6), *, largest=0.7, budgets=BUDGETS, images=12, **changes):
    """The `summary.json` of a search; each AP has an interval of ±0.1."""
    pareto = [
        {"budget": b, "flops": b - 5e5, "score": 0.5, "ap": ap, "ap_interval": [ap - 0.1, ap + 0.1]}
        for b, ap in zip(budgets, aps, strict=True)
    ]
    task = {"dataset": "VOC2007 trainval", "test": {"dataset": "VOC2007 test", "images": images}, "metric": "voc07"}
    rest = {"cost": {"name": "flops", "unit": "MACs"}, "largest": {"flops": 4e6, "ap": largest}, "seconds": SECONDS}
    return {"seed": seed, **task, **SHAPES, **rest, "classes": ["a", "b"], "pareto": pareto, **changes}


def stages(seed=0, *, images="abc", done=True, **operations):
    """Its `stages.json`."""
    inputs = {
        "warmup": {"seed": seed, "sampler": {"name": "genes"}, "dataloader": {"voc": {"seed": seed}, "digest": seed}},
        "operations": {"strategy": "flops_score_all", **operations},
        "evaluate": {"metric": "voc07", "images": images},
        "report": {"filter_quality": {"tau": seed}},
    }
    return {name: {"inputs": own, "done": done or name != "report"} for name, own in inputs.items()}


TWO, APS = "warmup, finetune", ["50.00 [40.00, 60.00]", "60.00 [50.00, 70.00]"]
FULLNET = summary(pareto=[LARGEST], largest=LARGEST["ap"], strategy="none", pruned_space_size=8)
FULLNET |= {"seconds": {"warmup": 1.5, "finetune": 5.5}}


@pytest.fixture
def run(tmp_path):
    """Writes the folder of a finished run and returns it."""

    def write(name, content=None, *, record=None, resampled=None):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(summary() if content is None else content))
        if record is not None:
            (folder / "stages.json").write_text(json.dumps(record))
        if resampled is not None:
            np.save(folder / "resampled.npy", np.asarray(resampled, np.float32))
        return folder

    return write


@pytest.fixture
def compare(tmp_path, capsys):
    """The command; what it prints, its tables as {first cell: others}, and the rows of its CSV; or its one line."""

    def call(*arguments, refused=False):
        code = cli.main(["compare", *map(str, arguments), "--out", str(tmp_path / "out")])
        printed = capsys.readouterr()
        if refused:
            assert (code, printed.out, printed.err.count("\n")) == (2, "", 1)
            assert not (tmp_path / "out").exists()
            return printed.err
        assert (code, printed.err) == (0, "")
        tables, heading = [], True
        for line in printed.out.splitlines():
            cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
            if not line.startswith("|"):
                heading = True
            elif heading:
                tables.append({"": cells})
                heading = False
            elif not line.startswith("|-"):
                tables[-1][cells[0]] = cells[1:]
        return printed.out, tables, [*csv.DictReader((tmp_path / "out/comparison.csv").read_text().splitlines())]

    return call


def test_mean_and_interval_are_those_of_students_t():
    values = np.array([[0.70, 0.5], [0.74, 0.5], [0.72, 0.5]])
    mean, half = np.array([0.72, 0.5]), np.array([4.302653 * 0.02 / 3**0.5, 0])  # t of 2 degrees of freedom at 97.5 %
    np.testing.assert_allclose(students_t(values), [mean, mean - half, mean + half], atol=1e-6)


def test_a_paired_difference_is_told_from_chance_where_an_unpaired_one_is_not():
    chance = np.random.default_rng(0).normal(0, 0.05, (1, 1000))
    first, other = 0.5 + chance, 0.52 + chance + np.random.default_rng(1).normal(0, 0.001, (1, 1000))
    ends = [np.quantile(one, [0.025, 0.975], axis=1) for one in (first, other)]
    low, high = paired_difference(other, first)
    assert 0.015 < low[0] < 0.02 < high[0] < 0.025
    ours, theirs = (Estimate(np.array([ap]), *one) for ap, one in zip((0.5, 0.52), ends, strict=True))
    value, low, high = unpaired(ours, theirs)
    np.testing.assert_allclose([value[0], (high - low)[0] / 2], [0.02, 1.96 * 0.05 * 2**0.5], rtol=0.1)
    _, down, up = unpaired(theirs, ours)
    np.testing.assert_allclose([-up, -down], [low, high])


def test_tables_page_and_picture_of_several_methods(compare, run, tmp_path):
    three = [run(f"a{seed}", summary(seed, (0.5 + 0.01 * seed, 0.6))) for seed in range(3)]
    phases = {"depth": 1.0, "expand": 2.0, "width": 4.0, "path_filter_final": 8.0}
    ofa = {"strategy": "none", "seconds": {"warmup": 1.0, "finetune": 6.0, "paths_final": 9.0}, "rejected_share": None}
    given = (f"<De$OFA$検>={','.join(map(str, three))}", run("OFA", summary(**ofa)))
    out, (aps, differences, seconds), rows = compare(*given, run("PS", summary(seconds=phases)), run("Full", FULLNET))
    assert aps[""] == [
        "method",
        "runs",
        "strategy",
        "seed",
        "training",
        "≤ 2.0 M",
        "≤ 3.0 M",
        "largest path",
        *aps[""][-3:],
    ]
    ours = ["51.00 [48.52, 53.48]", "60.00 [60.00, 60.00]", "70.00 [70.00, 70.00]"]
    assert aps["<De$OFA$検>"] == ["3", "flops_score_all", "0, 1, 2", TWO, *ours, "528.0", "25", "–"]
    assert aps["OFA"] == ["1", "none", "0", TWO, *APS, "70.00", "16.0", "25", "–"]
    assert aps["Full"] == ["1", "none", "0", TWO, "–", "–", "80.00", "7.0", "0", "–"]
    assert differences["OFA"][0].startswith("-1.00 [-11.") and differences["Full"] == ["–", "–", "+10.00"]
    assert re.search("unpaired.*kept", out)
    assert seconds["<De$OFA$検>"] == ["28.0", "20.0", "3.0", "5.0", "500.0"]
    assert seconds["OFA"] == ["7.0", "0.0", "0.0", "7.0", "9.0"]
    assert seconds["PS"] == ["7.0", "0.0", "0.0", "7.0", "8.0"]  # phases of progressive shrinking are training
    searched = [
        (method, budget) for method in ("<De$OFA$検>", "OFA", "PS") for budget in ("2000000.0", "3000000.0", "")
    ]
    assert [(row["method"], row["budget"]) for row in rows] == [*searched, ("Full", "")]
    first, _, _, fourth, *_, last = rows
    assert float(first["ap"]) == pytest.approx(0.51) and float(first["ap_low"]) == pytest.approx(0.4852, abs=1e-4)
    assert (first["difference"], first["paired"], fourth["paired"]) == ("", "", "False")
    assert float(fourth["difference"]) == pytest.approx(-0.01) and fourth["strategy"] == "none"
    assert (last["cost"], last["space_pruned"], last["ap_low"]) == ("4000000.0", "0.0", "")
    assert (tmp_path / "out/comparison.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out/comparison.html").read_text()
    assert "<td>&lt;De$OFA$検&gt;</td>" in page and "data:image/svg+xml;base64," in page and "http" not in page
    assert "<td>50.00<br>[40.00, 60.00]</td>" in page
    assert page.count("<table>") == page.count("</table>") == 3


def test_runs_on_the_same_images_are_compared_by_pairs(compare, run):
    rng = np.random.default_rng(0)
    chance = rng.normal(0, 0.1, 1000)
    theirs = np.array([0.5, 0.6, 0.7])[:, None] + chance
    gained = np.array([0.05, 0.0, -0.05])[:, None] + rng.normal(0, 0.01, (3, 1000))
    first = run("first", record=stages(), resampled=theirs)
    better = run("better", summary(aps=(0.55, 0.6), largest=0.65), record=stages(), resampled=theirs + gained)
    out, (_, differences, _), rows = compare(first, better)
    assert "unpaired" not in out
    signs = []
    for cell in differences["better"]:
        value, low, high = map(float, re.findall(r"[+-][\d.]+", cell))
        assert low <= value <= high and high - low == pytest.approx(3.92, rel=0.15)
        signs.append((low > 0) - (high < 0))
    assert signs == [1, 0, -1]
    assert [row["paired"] for row in rows] == [""] * 3 + ["True"] * 3
    (first / "stages.json").rename(first / "kept")  # nothing says which images they are
    assert "unpaired" in compare(first, better)[0]
    (first / "kept").rename(first / "stages.json")
    many = [run(f"many/{i}", summary(i), record=stages(i), resampled=theirs + 0.1 * i) for i in range(2)]
    assert [float(row["difference_low"]) for row in compare(first, f"several={many[0]},{many[1]}")[2][3:]] == (
        pytest.approx([0.05] * 3, abs=1e-6)
    )
    assert float(compare(f"two={many[0]},{many[1]}")[2][0]["ap_low"]) == pytest.approx(0.5)  # Student's t; both 0.5
    other = run("many/2", summary(2), record=stages(2), resampled=theirs[:, :10])
    assert "unpaired" in compare(first, f"several={many[0]},{other}")[0]
    short = run("short", record=stages(), resampled=theirs[:, :10])
    assert "unpaired" in compare(first, short)[0] and "unpaired" in compare(first, run("none", record=stages()))[0]


def test_settings_that_differ_are_named_once(run):
    runs = [
        FinishedRun(run("a", record=stages(0, operation_ratio=0.3, folds=[1, 2]))),
        FinishedRun(run("b", summary(1), record=stages(1, operation_ratio=0.4, folds=[1, 2]))),
        FinishedRun(run("c", summary(0, strategy="none"))),
    ]
    found = differing(runs)
    assert found == {
        "strategy": ["flops_score_all", "flops_score_all", "none"],
        "seed": [0, 1, 0],
        "operations.operation_ratio": [0.3, 0.4, None],
    }
    methods = [read_methods([str(one.folder)])[0] for one in runs]
    shown = dict(Comparison([own for (own,) in methods]).settings)
    assert shown == {"strategy": [*found["strategy"]], "seed": ["0", "1", "0"], "operation_ratio": ["0.3", "0.4", "–"]}
    record = stages()
    record["warmup"]["inputs"]["sampler"]["name"] = "uniform"
    other = FinishedRun(run("d", summary(sampler="uniform"), record=record))
    assert differing([runs[0], other]) == {"sampler": ["genes", "uniform"]}
    csv_rows = Comparison([own for (own,) in methods]).records()
    assert [row["operation_ratio"] for row in csv_rows] == ["0.3"] * 3 + ["0.4"] * 3 + [""] * 3
    same = [FinishedRun(run(f"s{seed}", summary(seed), record=stages(seed))) for seed in range(2)]
    pairs, _ = read_methods([f"{name}={same[0].folder},{same[1].folder}" for name in "xy"])
    assert Comparison(pairs).settings == []  # all methods have both seeds


def test_a_picture_shows_fronts_and_dominated_points(run):
    runs = [run("a", summary(aps=(0.6, 0.5)), record=stages(ratio=1)), run("Full", FULLNET)]
    runs.append(run("b", record=stages(ratio=2)))
    figure = picture(Comparison(*read_methods([*map(str, runs)])))
    (axes,) = figure.axes
    front, dominated, alone, _, *budgets = axes.lines
    assert [line.get_xdata()[0] for line in budgets] == [2, 3]
    assert front.get_xydata().tolist() == [[1.5, 60]] and dominated.get_xydata().tolist() == [[2.5, 50]]
    assert (alone.get_linestyle(), alone.get_ydata()[0]) == ("--", 80)
    ends = [segment.tolist() for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(ends, [[[1.5, 50], [1.5, 70]], [[2.5, 40], [2.5, 60]]])
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["a\nstrategy: flops_score_all\nratio: 1", "Full\nstrategy: none", names[2]]
    assert len({(line.get_color(), line.get_marker()) for line in (front, alone, axes.lines[3])}) == 3


def test_a_multirun_is_a_folder_of_runs_or_numbered_names(run, tmp_path):
    for number in (10, 9, 0):
        run(f"log/demo-{number}", summary(strategy=f"s{number}"))
    run("log/demo-0-1")
    (tmp_path / "log/compared").mkdir()
    assert [one.name for one in folders_of(tmp_path / "log/demo")] == ["demo-0", "demo-9", "demo-10"]
    assert [one.name for one in folders_of(tmp_path / "log/demo-9")] == ["demo-9"]
    assert {one.name for one in folders_of(tmp_path / "log")} == {"demo-0", "demo-0-1", "demo-9", "demo-10"}
    for place in ("log/dem", "log/compared", "nothing"):
        with pytest.raises(RunFolderError):
            folders_of(tmp_path / place)


def test_runs_of_a_multirun_that_differ_by_seed_alone_are_one_method(run, tmp_path):
    for number, (strategy, seed) in enumerate([("none", 0), ("none", 1), ("flops", 0), ("flops", 1), ("flops", 1)]):
        run(f"many/{number}", summary(seed, strategy=strategy), record=stages(seed))
    methods, _ = read_methods([str(tmp_path / "many")])
    assert [(own.name, [one.folder.name for one in own.runs]) for own in methods] == [
        ("0", ["0", "1"]),
        ("2", ["2", "3"]),
        ("4", ["4"]),
    ]


def test_methods_that_train_in_other_stages_are_no_seeds_of_one(run, tmp_path):
    phases = {"depth": 1.0, "width": 4.0, "search": 1.0}
    record = {"depth": {**stages(1)["warmup"]}, "search": {"inputs": {}, "done": True}, "report": stages(1)["report"]}
    record["depth"]["inputs"]["sampler"] = {"name": "uniform"}
    run("many/0", record=stages(0))
    run("many/1", summary(1, seconds=phases), record=record)
    methods, _ = read_methods([str(tmp_path / "many")])
    assert [own.name for own in methods] == ["0", "1"]
    assert dict(Comparison(methods).settings) == {
        "seed": ["0", "1"],
        "training": ["warmup, finetune", "depth, width"],
        "sampler": ["genes", "uniform"],
    }


def test_folders_whose_names_look_like_arguments(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("pruning=flops,seed=1")
    given = ["pruning=flops,seed=1", "mine=pruning=flops,seed=1", "."]
    run("pruning=none")
    assert [own.name for own in read_methods(given[:2])[0]] == ["pruning=flops,seed=1", "mine"]
    assert len(read_methods(given[2:])[0][0].runs) == 1


def test_another_cost_and_the_largest_path_alone(compare, run):
    by_latency = summary(cost={"name": "latency", "unit": "ns"}, largest={"flops": 4e6, "cost": 9e6, "ap": 0.7})
    for row in by_latency["pareto"]:
        row["cost"] = row["budget"] - 1.0
    by_latency["largest"] = {"flops": 4e6, "cost": 9e6, "ap": 0.7}
    assert [float(row["cost"]) for row in compare(run("latency", by_latency))[2]] == [1999999.0, 2999999.0, 9e6]
    assert compare(run("alone", FULLNET))[1][0]["alone"][:2] == ["1", "80.00"]


def test_other_budgets_are_answered_by_the_highest_affordable_row(compare, run):
    other = summary(aps=(0.1, 0.2, 0.3), budgets=[1.9e6, 2.2e6, 9e6])  # they cost half a million less
    own = run("own", summary(aps=(0.1, 0.2), budgets=[2.0e6, 2.4e6]))  # the second is affordable under both
    assert [cell.split(" ")[0] for cell in compare(own)[1][0]["own"][1:3]] == ["10.00", "20.00"]
    out, (aps, *_), _ = compare(run("a"), run("b", other))
    assert "budgets differ" in out
    assert [cell.split(" ")[0] for cell in aps["b"][1:3]] == ["20.00", "20.00"]
    assert compare(run("c", summary(aps=(0.3,), budgets=[9e6])), run("d"))[1][0]["d"][1] == "60.00 [50.00, 70.00]"
    assert compare(run("e"), run("f", summary(aps=(0.3,), budgets=[9e6])))[1][0]["f"][1:3] == ["–", "–"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "VOC2012 trainval"}, "dataset is"),
        ({"metric": "coco"}, "metric is"),
        ({"images": 3}, "test.images is"),
        ({"test": {"dataset": "VOC2012 val", "images": 12}}, "test.dataset is"),
        ({"classes": ["a", "c"]}, "classes is"),
        ({"cost": {"name": "latency", "unit": "ns"}}, "cost.name is"),
        ({"pareto": [3]}, "no summary"),
        ({"seconds": 3}, "no summary"),
    ],
)
def test_runs_that_do_not_compare(compare, run, tmp_path, change, said):
    line = compare(run("A"), run("B", summary(**change)), refused=True)
    assert f"{tmp_path}/B" in line and said in line


def test_runs_on_other_annotations_do_not_compare(compare, run):
    line = compare(run("A", record=stages()), run("B"), run("C", record=stages(images="other")), refused=True)
    assert "test_images is" in line and "/C do not" in line
    old = summary()
    del old["classes"]
    compare(run("old", old), run("new"))


def test_what_a_run_lacks_is_named(compare, run, tmp_path):
    begun = run("begun", record=stages(done=False))
    assert "the last stage done is evaluate, report is not done" in compare(begun, refused=True)
    (begun / "summary.json").unlink()
    (begun / "stages.json").write_text(json.dumps(stages()))
    assert "summary.json is missing" in compare(begun, refused=True)
    record = stages()
    del record["report"]
    (begun / "stages.json").write_text(json.dumps(record))
    assert "the last stage done is evaluate, report is missing" in compare(begun, refused=True)
    (begun / "stages.json").write_text("[]")
    assert "no record of stages" in compare(begun, refused=True)
    assert "nothing holds no run" in compare(tmp_path / "nothing", refused=True)


@pytest.mark.parametrize("name", ["", "mine="])
def test_unfinished_runs_of_a_multirun_are_left_out_and_named(compare, run, tmp_path, name):
    run("many/0", record=stages())
    begun = [run(f"many/{number}", record=stages(done=False)) for number in (1, 3)]
    run("many/2", summary(1), record=stages(1))
    printed, tables, _ = compare(f"{name}{tmp_path / 'many'}")
    (line,) = [line for line in printed.splitlines() if "not finished" in line]
    assert all(str(one) in line for one in begun) and " 2:" in line
    assert [rows[1] for rows in tables[0].values() if rows[0] == "2"] == [tables[0][name[:-1] or "0"][1]]
    assert str(begun[1]) in (tmp_path / "out/comparison.html").read_text()


def test_a_multirun_of_which_nothing_is_finished_is_refused(compare, run, tmp_path):
    begun = [run(f"many/{number}", record=stages(done=False)) for number in (0, 1)]
    assert f"{begun[0]} is no finished run" in compare(tmp_path / "many", refused=True)
    done = run("done", record=stages())
    assert f"{begun[1]} is no finished run" in compare(done, begun[1], refused=True)
    with pytest.raises(UnfinishedRunError):
        read_methods([f"mine={done},{begun[1]}"])


WRONG = [("pareto", 3), ("largest", []), ("seconds", "x"), *((key, "x") for key in SHAPES if key.endswith("size"))]


@pytest.mark.parametrize(("key", "value"), [*WRONG, ("rejected_share", []), ("rejected_share", "x")])
def test_a_summary_of_another_shape_is_named_with_its_remedy(compare, run, key, value):
    said = compare(folder := run("a", {**summary(), key: value}), run("b"), refused=True)
    assert f"{folder / 'summary.json'} is damaged, or no summary of a run" in said
    assert said.strip().endswith("its command, run again, writes it anew")


@pytest.mark.parametrize("content", [b"no array", b"", "shape"])
def test_damaged_resamples_are_named(compare, run, content):
    folder = run("a", record=stages(), resampled=np.zeros((2, 5)))
    if content != "shape":
        (folder / "resampled.npy").write_bytes(content)
    assert "resampled.npy is damaged" in compare(folder, run("b"), refused=True)


@pytest.mark.parametrize(
    ("change", "record", "said"),
    [
        ({"seed": 1, "strategy": "none"}, stages(1), "strategy"),
        ({"seed": 1}, stages(1, operation_ratio=0.5), "operation_ratio"),
        ({"seed": 1, "space_size": 9}, stages(1), "spaces"),
        ({}, stages(), "seeds [0, 0]"),
    ],
)
def test_runs_of_a_name_differ_by_seed_alone(compare, run, change, record, said):
    first, second = run("A", record=stages(operation_ratio=0.3)), run("B", summary(**change), record=record)
    assert said in compare(f"both={first},{second}", refused=True)


@pytest.mark.parametrize(
    "given", [["=log/a"], ["A="], ["A=nothing"], ["a", "a"], ["x=a", "x=b"], [], ["--outt=x", "a"]]
)
def test_arguments_of_another_form(run, tmp_path, monkeypatch, capsys, given):
    monkeypatch.chdir(tmp_path)
    run("a"), run("b")
    assert cli.main(["compare", *given]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main(["compare", "a", "--out"]) == cli.main(["compare", "a", "--out=x", "--out=y"]) == 2
    with pytest.raises((ConfigError, RunFolderError)):
        read_methods([*given, "gone"])


def test_a_place_that_cannot_be_written_is_said(run, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["compare", str(run("a")), "--out", str(tmp_path / "file/out")]) == 2
    assert f"{tmp_path}/file/out cannot be written" in capsys.readouterr().err
