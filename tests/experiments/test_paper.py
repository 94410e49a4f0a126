"""The paper's tables and figures: runs are made once, share what they can, and their differences are by pairs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments.paper import __main__ as paper
from experiments.paper import runs as paper_runs
from experiments.paper.estimates import aps, difference, estimate, held_out_aps, pairs_needed
from experiments.paper.fronts import drawn_seeds
from experiments.paper.path_losses import taken_apart
from experiments.paper.plan import EXHIBITS, METHODS, SCALES, methods_of
from experiments.paper.runs import ABOUT, FILTER, PATHS, WARMUP, Job, Pace, Planned, Store, make_all, planned_jobs
from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.launch.composition import compose, plain_part
from nnabla_detofa.storage import MeasuredPaths
from nnabla_detofa.storage.files import read_json

REPOSITORY = Path(__file__).parents[2]


def planned(method, seed=0, *overrides):
    return Planned(Job("tiny", method, seed, overrides))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder where DetOFA's and OFA's first runs are done, the second from the warm-up of the first."""
    folder = tmp_path_factory.mktemp("paper")
    store = Store(folder / "runs", folder / "log")
    for method in ("detofa", "ofa"):
        assert store.make(planned(method)) == 0
    return folder


@pytest.fixture
def store(place, tmp_path):
    """Of the kept results there, and no run folders."""
    shutil.copytree(place / "runs", tmp_path / "runs")
    return Store(tmp_path / "runs", tmp_path / "log")


@pytest.fixture
def unpainted(monkeypatch):
    """Pictures are made, but not drawn, which takes most of a page's time."""
    monkeypatch.setattr(paper.figures, "as_png", lambda _: b"")


def put(store, one, *, ap=0.0, held_out=0.0):
    """Kept results of a job, as if it were done: another run's with other AP, on the test split and held out."""
    source = store.folder / ("ofa-seed0" if one.job.method == "ofa" else "detofa-seed0")
    folder = store.folder / one.job.name
    if folder != source:
        shutil.copytree(source, folder)
    about, summary = (read_json(folder / name) for name in (ABOUT, "summary.json"))
    (folder / ABOUT).write_text(json.dumps({**about, "digest": one.digest}))
    for row in (*summary["pareto"], summary["largest"]):
        row["ap"] += ap
    for row in summary["pareto"]:
        row["held_out_ap"] += held_out
    (folder / "summary.json").write_text(json.dumps({**summary, "seed": one.job.seed}))


def test_methods_that_prune_share_the_first_stages():
    first = {method: planned(method).first_stages for method in METHODS}
    shared = {method for method in METHODS if first[method][WARMUP] == first["detofa"][WARMUP]}
    assert shared == set(METHODS) - {"ofa_ps", "compofa", "fullnet", "ofa_longer"}
    measured = {method for method in METHODS if first[method].get(PATHS) == first["detofa"][PATHS]}
    assert measured == shared - {"ofa"}
    alike = {method for method in METHODS if first[method].get(FILTER) == first["detofa"][FILTER]}
    assert alike == measured - {"flops_filter", "ridge_filter", "effects_of_genes"}
    assert planned("detofa", 1).first_stages[WARMUP] != first["detofa"][WARMUP]
    assert [*first["detofa"]] == [FILTER, PATHS, WARMUP]  # the most first
    fewer, others = (planned("detofa", 0, f"path_filter.{one}").first_stages for one in ("folds=3", "bn_images=7"))
    assert fewer[PATHS] == first["detofa"][PATHS] != others[PATHS] and others[WARMUP] == first["detofa"][WARMUP]
    assert len({planned(method).digest for method in METHODS}) == len(METHODS)


@pytest.mark.parametrize("seed", [3, 0])
def test_the_settings_of_a_seed_are_those_of_its_command(seed):
    one = planned("detofa", seed)
    composed = compose(SCALES["tiny"].config, one.job.arguments)
    for group, settings in one.settings.items():
        assert settings == paper_runs._relevant(plain_part(composed, group, Path()))
    assert one.settings["hparams"]["seed"] == seed


def test_what_decides_no_figure_is_not_in_the_digest(monkeypatch):
    one = planned("ofa").digest
    assert planned("ofa", 0, "dataloader.voc.root=/elsewhere", "dataloader.voc.workers=3").digest == one
    assert planned("ofa", 0, "hparams.finetune=2").digest != one
    monkeypatch.setattr(paper_runs, "version", lambda _: "99")
    assert planned("ofa").digest != one


def test_an_option_younger_than_kept_runs_is_in_the_digest_once_it_changes_something(monkeypatch):
    before = planned("ofa").digest
    added = {"hparams.younger": 3, "hparams.path_filter.younger": None, "optimizer.train.younger": "as before"}
    monkeypatch.setattr(paper_runs, "ADDED", {**paper_runs.ADDED, **added})

    def digest_with(key, value):
        one = planned("ofa")
        *groups, last = key.split(".")
        place = one.settings
        for group in groups:
            place = place[group]
        place[last] = value
        return one.digest

    for key, value in added.items():
        assert digest_with(key, value) == before
        assert digest_with(key, "another") != before
        assert digest_with(f"{key}_too", value) != before


def test_a_finished_run_is_kept_small_and_not_done_again(place, monkeypatch):
    store = Store(place / "runs", place / "log")
    for method in ("detofa", "ofa"):
        assert store.state(planned(method)) == "done"
        files = [*(place / "runs" / f"{method}-seed0").iterdir()]
        assert sum(one.stat().st_size for one in files) < 100_000
        assert {one.suffix for one in files} == {".json", ".csv"}
    monkeypatch.setattr(subprocess, "Popen", None)
    assert make_all(store, [planned("detofa"), planned("ofa")], lambda _: None) == 0


def test_a_run_that_begins_with_anothers_warm_up_ends_as_one_that_does_not(place, tmp_path):
    about = {method: read_json(place / "runs" / f"{method}-seed0" / ABOUT) for method in ("detofa", "ofa")}
    assert about["ofa"]["own_seconds"] < about["ofa"]["seconds"]
    assert about["detofa"]["own_seconds"] == about["detofa"]["seconds"]
    said = next((place / "log").glob("*-ofa-*/said.txt")).read_text()
    assert "warmup: kept" in said and "finetune: done" in said
    alone = Store(tmp_path / "runs", tmp_path / "log")
    assert alone.make(planned("ofa")) == 0
    assert "warmup: done" in next((tmp_path / "log").glob("*/said.txt")).read_text()
    for name in ("pareto.csv", "paths_final.csv", "detectors.json"):
        ours, theirs = ((one / "runs/ofa-seed0" / name).read_bytes() for one in (place, tmp_path))
        assert ours == theirs


@pytest.mark.parametrize("method", ["flops_filter", "ridge_filter"])
def test_a_run_with_another_ranker_begins_with_the_measured_paths_of_detofa(place, method):
    store, one = Store(place / "others", place / "log"), planned(method)
    assert store.make(one) == 0
    said = (place / "log" / one.name / "said.txt").read_text()
    assert "paths_warmup: kept" in said and "operations: done" in said
    assert ("path_filter_warmup: done" in said) is (method == "ridge_filter")
    ours, theirs = (one / "detofa-seed0" for one in (place / "others", place / "runs"))
    ours = ours.with_name(one.job.name)
    assert (ours / "paths_warmup.csv").read_bytes() == (theirs / "paths_warmup.csv").read_bytes()
    quality = read_json(ours / "filter_quality.json")
    ranker = {"flops_filter": "FLOPs", "ridge_filter": "ridge regression"}[method]
    assert quality["filter"] == quality["other_images"][ranker]


def test_other_settings_make_a_run_stale_and_another_folder(store):
    longer = planned("ofa", 0, "hparams.finetune=2")
    assert [store.state(one) for one in (planned("ofa"), longer, planned("ofa", 1))] == ["done", "stale", "missing"]
    assert longer.name != planned("ofa").name and longer.job.name == planned("ofa").job.name


def test_what_is_missing_is_listed_with_the_hours(store):
    jobs = planned_jobs("tiny", ["detofa", "ofa"], 2, [])
    assert [one.job.name for one in jobs] == ["detofa-seed0", "ofa-seed0", "detofa-seed1", "ofa-seed1"]
    pace = Pace(store, jobs)
    took = sum(store.hours(one) for one in jobs[:2])
    assert pace.measured and pace.hours(jobs[2:]) == pytest.approx(took)
    assert Pace(store, jobs[3:]).hours(jobs[3:]) == SCALES["tiny"].hours
    *rows, last = paper.listed(store, jobs)
    assert [row.split() for row in rows[1:]] == [["detofa", "1", "0", "1", "1"], ["ofa", "1", "0", "1", "1"]]
    assert last.startswith("2 runs to do, ")


def test_the_code_of_a_run_that_fails_is_handed_on_and_the_next_is_not_begun(store, monkeypatch):
    begun = []
    monkeypatch.setattr(store, "make", lambda one: begun.append(one.job.name) or 75)
    assert make_all(store, planned_jobs("tiny", ["detofa", "ofa"], 3, []), lambda _: None) == 75
    assert begun == ["detofa-seed1"]


def test_a_signal_reaches_the_run_which_says_how_it_ended(tmp_path):
    ready = tmp_path / "ready"
    child = (
        "import signal, sys, time, pathlib\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
        f"pathlib.Path({str(ready)!r}).touch()\ntime.sleep(60)"
    )

    def ask():
        while not ready.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    assert paper_runs._follow([sys.executable, "-c", child]) == 75
    asking.join()


def test_results_that_are_not_small_are_refused(place, monkeypatch):
    store = Store(place / "other", place / "log")
    monkeypatch.setattr(paper_runs, "MOST_BYTES", 1000)
    one = planned("ofa")
    with pytest.raises(RunFolderError, match="1,000"):
        store.keep(one, place / "log" / one.name)
    assert store.state(one) == "missing"


def test_intervals_and_differences_by_pairs():
    rng = np.random.default_rng(0)
    shared, theirs = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    ours = {seed: 10 * shared[seed] + 1 for seed in range(5)}
    others = {seed: 10 * shared[seed] + theirs[seed] for seed in range(1, 6)}
    found, seeds = difference(ours, others)
    paired = stats.ttest_rel([ours[one] for one in seeds], [others[one] for one in seeds])
    assert seeds == [1, 2, 3, 4]
    np.testing.assert_allclose(found.low, paired.confidence_interval().low)
    np.testing.assert_allclose(found.high, paired.confidence_interval().high)
    nothing, seeds = difference({0: shared[0]}, {1: shared[1]})
    assert seeds == [] and all(np.isnan(ends).all() and ends.shape == (3,) for ends in nothing)
    one = estimate([[1.0, 2.0]])
    assert one.value.tolist() == [1, 2] and np.isnan(one.low).all()
    assert np.isnan(estimate(np.empty((0, 2))).value).all()


@pytest.mark.parametrize("half", [0.2, 0.4, 5.0])
def test_the_pairs_that_an_interval_needs(half):
    """Whose interval is as narrow as that, where one pair less leaves a wider one."""
    differences = [1.35, 1.32, 0.41, 0.98, -1.37]
    n = pairs_needed(differences, half)
    ends = [stats.t.interval(0.95, m - 1, scale=np.std(differences, ddof=1) / m**0.5)[1] for m in (n, max(2, n - 1))]
    assert ends[0] <= half and (n == 2 or ends[1] > half)
    assert pairs_needed(differences, 1e-6) == 10_000


def test_every_exhibit_from_one_run_of_each_method(store):
    jobs = planned_jobs("tiny", methods_of([*EXHIBITS]), 1, [])
    for one in jobs:
        put(store, one)
    out = store.folder.parent
    for name in EXHIBITS:
        assert paper.write_page(store, jobs, name, out).endswith(f"of {len(EXHIBITS[name])} runs")
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        page = (out / f"{name}.md").read_text()
        assert f"({name}.png)" in page and "Missing" not in page
        assert len((out / f"{name}.csv").read_text().splitlines()) > 3
    assert "| FLOPs | 1 | –" not in (out / "table2.md").read_text()
    assert "| at equal cost | " in (out / "fig5.md").read_text()
    for label in (METHODS[method].label for method in EXHIBITS["fig5"]):
        assert f"| {label} |" in (out / "fig5.md").read_text()


@pytest.mark.usefixtures("unpainted")
def test_a_page_tells_gains_by_pairs_and_what_is_missing(store):
    jobs = planned_jobs("tiny", ["ofa", "detofa"], 3, [])
    for one in jobs:
        if one.job.name == "ofa-seed2":
            put(store, one)
            about = read_json(store.folder / one.job.name / ABOUT)
            (store.folder / one.job.name / ABOUT).write_text(json.dumps({**about, "digest": "another"}))
        elif one.job.name != "detofa-seed2":
            put(store, one, ap=0.1 * one.job.seed + (one.job.method == "detofa") * 0.05 * (1 + one.job.seed))
    paper.write_page(store, jobs, "fig5", store.folder.parent)
    page = (store.folder.parent / "fig5.md").read_text()
    assert "- DetOFA: seed 2\n" in page and "- OFA: seed 2 (stale)\n" in page
    budgets = store.run(jobs[0]).budgets
    ours, theirs = ({i: aps(store.run(jobs[2 * i + j]), budgets) for i in range(2)} for j in (1, 0))
    gain, _ = difference(ours, theirs)
    row = next(line for line in page.splitlines() if line.startswith("| DetOFA | 2 | ") and "+" in line)
    assert f"{gain.value[-1]:+.2f} [" in row
    n = pairs_needed([ours[i][-2] - theirs[i][-2] for i in range(2)], 0.4)
    assert f"by the scatter of these: DetOFA {n}." in page


def test_means_over_other_seeds_are_no_fronts_of_one_picture(store):
    """A method that lacks seeds is named, has its gain by pairs, and stands in the other picture."""
    jobs = planned_jobs("tiny", ["ofa", "detofa", "random"], 2, [])
    for one in reversed(jobs):  # the first seed is what the others are made from
        if one.job.name != "random-seed1":
            put(store, one, ap=0.1 * (one.job.method == "detofa"), held_out=0.02 * (one.job.method == "detofa"))
    paper.write_page(store, jobs, "fig5", store.folder.parent)
    page = (store.folder.parent / "fig5.md").read_text()
    assert "of methods with seeds 0, 1, without as much thrown out at random.\n" in page
    assert "![fig5_gains](fig5_gains.png)" in page
    assert (store.folder.parent / "fig5_gains.png").read_bytes().startswith(b"\x89PNG")
    test, held_out = page.split("On the held-out training images")
    for part, gain in ((test, "+10.00"), (held_out, "+2.00")):
        _, ours = part.split("| DetOFA minus | pairs | mean of budgets |")
        assert f"| as much thrown out at random | 1 | {gain} |" in ours


@pytest.mark.parametrize(
    ("seeds", "drawn"),
    [
        ({"ofa": "01", "detofa": "01", "random": "0"}, "01"),
        ({"ofa": "012", "detofa": "012", "random": "01", "compofa": "01"}, "01"),
        ({"ofa": "012", "detofa": "2", "random": "2"}, "2"),  # as many runs as OFA alone, of more methods
        ({"ofa": "01", "detofa": "2"}, "01"),
    ],
)
def test_a_picture_is_of_the_seeds_that_show_the_most_runs(seeds, drawn):
    assert drawn_seeds({method: dict.fromkeys(map(int, own)) for method, own in seeds.items()}) == {*map(int, drawn)}


@pytest.mark.usefixtures("unpainted")
def test_methods_without_a_common_seed_have_a_page_without_a_difference(store):
    jobs = planned_jobs("tiny", ["ofa", "detofa"], 2, [])
    for one in jobs:  # the others are made from the first seeds
        put(store, one)
    for name in ("ofa-seed1", "detofa-seed0"):
        shutil.rmtree(store.folder / name)
    paper.write_page(store, jobs, "fig5", store.folder.parent)
    test, _ = (store.folder.parent / "fig5.md").read_text().split("On the held-out training images")
    _, against = test.split("| minus OFA | pairs |")
    assert "| DetOFA | 0 | – | –" in against


@pytest.mark.usefixtures("unpainted")
@pytest.mark.parametrize("own", [{2}, {0, 1, 2}])
@pytest.mark.parametrize("known_by", ["weights", "seconds"])
def test_pairs_of_one_warm_up_are_told_from_those_of_two(store, own, known_by):
    """As of runs that were made on another machine: pairs of the same seed, whose warm-ups rounded otherwise. Of runs
    kept by earlier releases there are seconds alone."""
    jobs = planned_jobs("tiny", ["ofa", "random"], 3, [])
    for one in reversed(jobs):
        put(store, one)
        about, summary = (store.folder / one.job.name / name for name in (ABOUT, "summary.json"))
        kept, told = read_json(about), read_json(summary)
        differs = one.job.method == "random" and one.job.seed in own
        if known_by == "weights":
            kept["warmup_weights"] += "another" * differs
            told["seconds"]["warmup"] += one.job.method == "random"  # no matter
        else:
            del kept["warmup_weights"]
            told["seconds"]["warmup"] += differs
        about.write_text(json.dumps(kept))
        summary.write_text(json.dumps(told))
    paper.write_page(store, jobs, "fig5", store.folder.parent)
    _, differences = (store.folder.parent / "fig5.md").read_text().split("| minus OFA |", 1)
    rows = [line.split(" | ")[:2] for line in differences.split("\n\n")[0].splitlines()[2:]]
    label = METHODS["random"].label
    some = [[f"| {label}", "3"], [f"| {label}, of one warm-up", "2"]]
    assert rows == (some if len(own) == 1 else [[f"| {label}, other warm-ups", "3"]])


@pytest.mark.usefixtures("unpainted")
def test_a_page_tells_what_each_budget_adds(store):
    jobs = planned_jobs("tiny", ["ofa", "detofa"], 3, [])
    for one in jobs[:-1]:
        put(store, one, ap=0.1 * one.job.seed)
        file = store.folder / one.job.name / "summary.json"
        summary = read_json(file)
        for i, row in enumerate(summary["pareto"]):
            row["ap"] = 0.1 + 0.02 * i + 0.01 * one.job.seed * (i == 1)
        file.write_text(json.dumps(summary))
    paper.write_page(store, jobs, "fig5", store.folder.parent)
    _, rises = (store.folder.parent / "fig5.md").read_text().split("| rise from the budget before |")  # once alone
    rows = [line.split(" | ") for line in rises.splitlines() if line.startswith(("| OFA |", "| DetOFA |"))][:2]
    low, high = stats.t.interval(0.95, 2, loc=3, scale=stats.sem([2, 3, 4]))
    n = len(summary["pareto"])
    assert rows[0][:3] == ["| OFA", "3", f"+3.00 [{low:+.2f}, {high:+.2f}]"] and len(rows[0]) == 2 + n
    assert rows[1][1] == "2" and rows[0][-1].startswith(f"+{2 * (n - 1):.2f} [")


@pytest.mark.usefixtures("unpainted")
def test_a_page_tells_the_gains_on_held_out_images_beside_those_on_the_test_split(store):
    jobs = planned_jobs("tiny", ["ofa", "detofa"], 2, [])
    for one in jobs:
        put(store, one, ap=0.1, held_out=0.02 * (one.job.method == "detofa") * (1 + one.job.seed))
    paper.write_page(store, jobs, "fig5", store.folder.parent)
    test, held_out = (store.folder.parent / "fig5.md").read_text().split("On the held-out training images")
    budgets = store.run(jobs[0]).budgets
    ours, theirs = (np.array([held_out_aps(store.run(jobs[2 * i + j]), budgets) for i in range(2)]) for j in (1, 0))
    gain = estimate(ours - theirs)
    row = next(line for line in held_out.splitlines() if line.startswith("| DetOFA | 2 | ") and "+" in line)
    assert row.endswith(f"| {gain.value[-1]:+.2f} [{gain.low[-1]:+.2f}, {gain.high[-1]:+.2f}] |")
    assert row not in test and len(ours[0]) == len(budgets) + 1
    np.testing.assert_allclose(ours[0][-1], ours[0][:-1].mean())


def test_a_difference_of_losses_is_taken_apart_into_choice_and_training():
    """Paths that pruning leaves are 2 better than their bucket, and training makes them better by 3 in one bucket and
    by 6 in the other, of which fewer are left: that counts less."""
    bucket, base = np.repeat([0, 1], 8), np.repeat([50.0, 40.0], 8)
    kept = np.array([True] * 4 + [False] * 4 + [True] * 2 + [False] * 6)
    losses = np.where(kept, base - 2, np.where(bucket == 0, base + 2, base + 2 / 3))
    paths, flops = np.zeros((16, 3), np.int8), base
    ofa = MeasuredPaths(paths, flops, bucket, losses)
    detofa = ofa._replace(loss=base - np.where(bucket == 0, 5, 8))
    np.testing.assert_allclose(taken_apart(ofa, detofa, kept), (-6, -2, -4))
    one = ofa.at(bucket == 0)
    assert taken_apart(one, detofa, kept[bucket == 0]) == (-5, -2, -3)  # a bucket without paths says nothing
    assert taken_apart(ofa, detofa.at(bucket == 0), kept) == (-5, -2, -3)
    np.testing.assert_allclose(taken_apart(ofa, ofa, np.ones(16, bool)), 0, atol=1e-12)
    assert np.isnan(taken_apart(ofa, detofa, np.zeros(16, bool))).all()


def test_a_run_of_the_same_settings_by_another_name_is_not_done_again(place, tmp_path):
    """So OFA for as long as DetOFA takes is OFA at a scale of as many epochs."""
    other, alike = Store(tmp_path, place / "log"), planned("detofa", 0, "method=ofa")
    assert (alike.digest, alike.name != planned("ofa").name) == (planned("ofa").digest, True)
    before = sorted(one.name for one in other.log.iterdir())
    assert other.make(alike) == 0
    assert sorted(one.name for one in other.log.iterdir()) == before
    ours, theirs = (read_json(folder / ABOUT) for folder in (tmp_path / alike.job.name, place / "runs" / "ofa-seed0"))
    assert ours == {**theirs, "method": "detofa"}


@pytest.mark.usefixtures("unpainted")
def test_ofa_for_as_long_as_detofa_takes(store):
    """At every scale it is OFA's run of more epochs, none of which is lost to the schedule of fewer."""
    for scale, one in SCALES.items():
        ofa, longer = (Planned(Job(scale, method, 0)).settings["hparams"] for method in ("ofa", "ofa_longer"))
        assert {key for key in ofa if ofa[key] != longer[key]} <= {"finetune", "schedule"}, one.config
        epochs = [hparams["warmup"] + hparams["finetune"] for hparams in (ofa, longer)]
        assert epochs[0] < epochs[1]
        if ofa["schedule"]["name"] == "step":
            stretched = [at * epochs[1] / epochs[0] for at in ofa["schedule"]["at"]]
            assert longer["schedule"]["at"] == pytest.approx(stretched)
    jobs = planned_jobs("tiny", ["ofa", "ofa_longer", "detofa"], 1, [])
    for job, ap in zip(jobs, (0, 0.1, 0.3), strict=True):
        put(store, job, ap=ap)
    paper.write_page(store, jobs, "fig5", store.folder.parent)
    page = (store.folder.parent / "fig5.md").read_text()
    _, table = page.split("| at equal cost |")
    rows = [line for line in table.splitlines() if line.startswith("|")][1:4]
    assert [row.split(" | ")[0] for row in rows] == [
        "| OFA, longer",
        "| DetOFA",
        "| DetOFA minus OFA, longer",
    ]
    assert "| +20.00 |" in rows[2]
    longer, detofa = (store.folder / job.job.name for job in jobs[1:])
    stages = read_json(longer / "stages.json")
    first, last = stages["finetune"]["inputs"]["epochs"]
    stages["finetune"]["inputs"]["epochs"] = [first, last + 4]
    (longer / "stages.json").write_text(json.dumps(stages))
    paper.write_page(store, jobs, "fig5", store.folder.parent)
    _, table = (store.folder.parent / "fig5.md").read_text().split("| at equal cost |")
    seconds = read_json(detofa / "summary.json")["seconds"]
    training = seconds["warmup"] + seconds["finetune"]
    before = sum(seconds[stage] for stage in ("paths_warmup", "path_filter_warmup", "operations", "thresholds"))
    short, long, ours = (aps(store.run(job), store.run(job).budgets)[-2] for job in jobs)
    gain = ours - short - (long - short) * last * before / training / 4
    assert f"by a straight line between its two | 1 pair |  |  | {gain:+.2f} |" in table


def test_a_page_that_compares_nothing_with_the_first_needs_any_method_alone(store):
    jobs = planned_jobs("tiny", ["ofa_ps", "ofa", "compofa", "detofa"], 1, [])
    put(store, jobs[-1])
    assert paper.write_page(store, jobs, "table3", store.folder.parent).endswith("of 2 runs")
    page = (store.folder.parent / "table3.md").read_text()
    assert "- OFA, progressive shrinking: seed 0\n" in page and "- CompOFA*: seed 0\n" in page


def test_no_page_without_the_method_that_is_compared_with(store):
    shutil.rmtree(store.folder / "ofa-seed0")
    jobs = planned_jobs("tiny", ["ofa", "detofa"], 1, [])
    assert "no page" in paper.write_page(store, jobs, "fig5", store.folder.parent)
    assert not [*store.folder.parent.glob("fig5.*")]


@pytest.mark.usefixtures("unpainted")
def test_processes_share_the_seeds(store, monkeypatch):
    made = []
    monkeypatch.setattr(paper, "make_all", lambda _, jobs, __: made.extend(one.job.name for one in jobs) or 0)
    arguments = ["fig6", "--scale", "tiny", "--seeds", "3", "--out", str(store.folder)]
    for seeds in (["2", "0"], ["1"]):
        assert paper.main([*arguments, "--only", *seeds]) == 0
    assert made == ["ofa-seed0", "detofa-seed0", "ofa-seed2", "detofa-seed2", "ofa-seed1", "detofa-seed1"]


@pytest.mark.usefixtures("unpainted")
def test_some_methods_alone(store, monkeypatch, capsys):
    """Their runs are made, and the page is of what is there; one that the figure does not have is refused in a line."""
    made = []
    monkeypatch.setattr(paper, "make_all", lambda _, jobs, __: made.extend(one.job.name for one in jobs) or 0)
    arguments = ["fig5", "hparams.finetune=1", "--scale", "tiny", "--seeds", "1", "--out", str(store.folder)]
    assert paper.main([*arguments, "--methods", "detofa", "ofa"]) == 0
    assert made == ["ofa-seed0", "detofa-seed0"]
    page = (store.folder.parent / "fig5.md").read_text()
    assert "| DetOFA | 1 |" in page and "- CompOFA*: seed 0\n" in page
    assert paper.main([*arguments, "--methods", "paths_10"]) == 2
    assert capsys.readouterr().err.startswith("paper: --methods is 'paths_10'")


def test_a_plan_is_made_of_each_method_where_the_data_are_not_there(monkeypatch, capsys):
    ends, asked = [2, 0], []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, ends.pop(0))

    monkeypatch.setattr(paper.subprocess, "run", run)
    assert paper.main(["fig6", "--scale", "tiny", "--plan"]) == 2
    assert capsys.readouterr().out.splitlines() == ["OFA:", "DetOFA:"]
    assert all(command[-1] == "plan=true" for command in asked)
    ends += [75]
    assert paper.main(["fig6", "--scale", "tiny", "--plan"]) == 75  # stopped there
    assert (len(asked), ends) == (3, [])


def test_a_seed_that_there_is_not_is_refused_in_a_line(store, capsys):
    assert paper.main(["fig6", "--scale", "tiny", "--seeds", "3", "--out", str(store.folder), "--only", "3"]) == 2
    assert capsys.readouterr().err.startswith("paper: --only is 3")


def test_the_command(place, tmp_path):
    """In a process of its own: what is there is found, and wrong input is a line."""
    shutil.copytree(place / "runs", tmp_path / "runs")
    command = [sys.executable, "-m", "experiments.paper", "fig6", "--scale", "tiny", "--seeds", "1"]

    def run(*more):
        return subprocess.run(
            [*command, "--out", str(tmp_path / "runs"), *more], capture_output=True, text=True, cwd=REPOSITORY
        )

    done = run()
    assert done.returncode == 0 and "fig6" in done.stdout
    assert {one.name for one in tmp_path.glob("fig6.*")} == {"fig6.csv", "fig6.md", "fig6.png"}
    wrong = run("hparams.finetun=3")
    assert wrong.returncode == 2 and wrong.stderr.splitlines()[-1].startswith("paper: ")
