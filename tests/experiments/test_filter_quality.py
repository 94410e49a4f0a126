"""The path filter beside yardsticks: tables that are read, splits, what is resumed, and intervals."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from experiments import measured_tables
from experiments.filter_quality import __main__ as quality
from experiments.filter_quality import page, rankers
from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.path_filter import TokenLayout

KEPT = Path(page.__file__).parents[1] / "results/paper-mini8/runs/detofa-seed0"


def table(n=60, sizes=7):
    """Paths of two genes, one with many ordered levels, in two buckets."""
    rng = np.random.default_rng(0)
    genes = np.stack([rng.integers(0, 3, n), 10 * rng.integers(0, sizes, n)], axis=1).astype(float)
    layout, tokens = measured_tables.tokens_of(genes, (0, 1))
    losses = genes.sum(axis=1) + rng.random(n)
    return measured_tables.Table("made up", layout, tokens, np.arange(n) % 2, losses, genes[:, 1], losses, genes)


def test_tokens_tell_the_genes_columns_and_values():
    genes = np.array([[4.0, 1.0], [8.0, 1.0], [4.0, 3.0]])
    layout, tokens = measured_tables.tokens_of(genes, (0, 1))
    assert layout == TokenLayout(4, (0, 1), (0, 1), ((4, 8, None, None), (None, None, 1, 3)))
    assert tokens.tolist() == [[0, 2], [1, 2], [0, 3]]
    made = table()
    np.testing.assert_array_equal(made.genes.sum(axis=1) < made.losses, True)


def test_paths_of_a_run_are_judged_by_their_second_measurement(tmp_path):
    """And are told by the tokens, the genes and the filter's settings of that run."""
    shutil.copytree(KEPT, tmp_path / "runs" / "one")
    again = tmp_path / "runs" / "one" / "paths_final_again.csv"
    read = measured_tables.of_run(tmp_path / "runs" / "one")
    assert read.name == "one/one" and read.genes.shape[0] == len(read.tokens) == len(read.losses) > 50
    assert not np.array_equal(read.losses, read.judged_by) and np.corrcoef(read.losses, read.judged_by)[0, 1] > 0.5
    assert read.options["network"]["main_effects"] is True
    assert len(read.basis) == read.tokens.shape[1] * read.layout.vocabulary
    again.unlink()
    assert measured_tables.of_run(again.parent).judged_by.tolist() == read.losses.tolist()
    assert measured_tables.of_run(KEPT).name == "detofa/detofa-seed0"
    stages = json.loads((again.parent / "stages.json").read_text())
    stages["path_filter_final"]["inputs"].pop("network")  # as where ridge regression ranked
    (again.parent / "stages.json").write_text(json.dumps(stages))
    with pytest.raises(RunFolderError, match="no path filter"):
        measured_tables.of_run(again.parent)
    (again.parent / "summary.json").unlink()
    with pytest.raises(RunFolderError, match=r"one"):
        measured_tables.of_run(again.parent)


def test_runs_of_one_kind_are_a_table_whose_interval_is_over_runs(tmp_path):
    taus = {"g/a": (0.1, 0.3), "g/b": (0.5, 0.5), "g/c": (0.2, 0.6)}
    rows = [
        (table, "folds", 0, fold, ranker, tau + more, 0.5)
        for table, own in taus.items()
        for fold, tau in enumerate(own)
        for ranker, more in ((rankers.TRANSFORMER, 0), ("better", 0.25))
    ]
    with (tmp_path / "figures.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([page.COLUMNS, *rows])
    ((found, kind),) = (read := page.read(tmp_path / "figures.csv"))
    assert (found, kind) == ("g", "folds")
    (mean, half), _ = page.summed_up(read["g", "folds"][rankers.TRANSFORMER])
    expected = stats.t.interval(0.95, 2, loc=0, scale=stats.sem([0.2, 0.5, 0.4]))[1]
    assert mean == pytest.approx(np.mean([0.2, 0.5, 0.4])) and half == pytest.approx(expected)
    (gain, width), _ = page.summed_up(page.paired(read["g", "folds"], "better"))
    assert gain == pytest.approx(0.25) and width == pytest.approx(0, abs=1e-12)
    assert "3 runs" in page.table_lines(read["g", "folds"])[-1]


def test_every_path_is_held_out_once_and_averages_see_the_folds_of_the_others():
    made = table()
    units = [one for one in quality.units([made], 1) if one.kind == "folds"]
    held_out = np.concatenate([quality.split(one)[1] for one in units])
    assert sorted(held_out.tolist()) == list(range(60))
    for one in units:
        seen, unseen = quality.split(one)
        assert not set(seen) & set(unseen)
        np.testing.assert_array_equal(quality.split(one._replace(kind="averages"))[1], unseen)
    seen, unseen = quality.split(quality.Unit("curve", made, 0, 10))
    assert np.bincount(made.buckets[seen]).tolist() == [10, 10] and len(seen) + len(unseen) == 60


def test_a_command_goes_on_where_it_stopped_and_its_page_keeps_other_text(tmp_path, monkeypatch):
    ranked = []

    def rank(one, _seen, held_out, _seed):
        ranked.append(held_out)
        return dict.fromkeys(("FLOPs", rankers.TRANSFORMER), one.flops[held_out])

    monkeypatch.setattr(quality, "scores", rank)
    monkeypatch.setattr(quality, "averaged_scores", rank)
    monkeypatch.setattr(quality, "prior_scores", rank)
    file = tmp_path / "figures.csv"
    quality.compute([table()], 1, file)
    first = len(ranked)
    quality.compute([table()], 2, file)
    assert len(ranked) == 2 * first == 2 * len(list(quality.units([table()], 1)))
    with file.open() as stream:
        assert len(list(csv.reader(stream))) == 1 + 2 * len(ranked)
    (tmp_path / "README.md").write_text(f"before\n{page.BEGIN}\nof yesterday\n{page.END}\nafter\n")
    quality.main(["--repetitions", "0", "--out", str(tmp_path)])
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("before") and text.endswith("after\n") and "yesterday" not in text and "made up" in text
    assert (tmp_path / "curve.png").is_file()


def test_what_is_not_given_is_left_out_in_a_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        quality.main(["--runs", str(tmp_path), "--out", str(tmp_path)])
    said = capsys.readouterr()
    assert caught.value.code == 2 and "no finished run" in said.err and "GAIA-det" in said.out
    with pytest.raises(SystemExit) as caught:
        quality.main(["--repetitions", "0", "--out", str(tmp_path / "none")])
    assert caught.value.code == 2


def test_the_first_of_the_averaged_filters_is_the_filter_alone(monkeypatch):
    made, seen, held_out = table(30), np.arange(20), np.arange(20, 30)
    monkeypatch.setattr(rankers, "FILTERS", 1)
    monkeypatch.setattr(rankers, "AVERAGED", rankers.TRANSFORMER)
    found = rankers.averaged_scores(made, seen, held_out, 0)
    alone = rankers.scores(made, seen, held_out, 0)
    assert set(found) == {rankers.TRANSFORMER, rankers.BY_VALUE[rankers.TRANSFORMER]} < set(alone)
    assert all(np.array_equal(found[name], alone[name]) for name in found)
    assert not rankers.by_value(table(sizes=5)) and rankers.by_value(made)


def test_a_prior_of_cost_changes_the_filter_alone_where_costs_say_the_loss():
    """On the same splits, with the same first weights: what it changes is by the prior."""
    made = table(60)
    dearer_is_better = made._replace(losses=-made.losses, judged_by=-made.losses)
    seen, held_out = quality.split(quality.Unit("prior curve", made, 0, 10))
    np.testing.assert_array_equal(held_out, quality.split(quality.Unit("curve", made, 0, 10))[1])
    for one, equal in ((dearer_is_better, False), (made, True)):
        with_prior = rankers.prior_scores(one, seen, held_out, 0)
        alone = rankers.scores(one, seen, held_out, 0)
        assert set(with_prior) == {rankers.PRIOR, rankers.BY_VALUE[rankers.PRIOR]}
        assert np.array_equal(with_prior[rankers.PRIOR], alone[rankers.TRANSFORMER]) is equal


def test_intervals_count_the_shared_paths_and_differences_are_paired():
    values = np.array([0.1, 0.2, 0.3, 0.2])
    mean, half = page.interval(values)
    assert mean == pytest.approx(0.2) and half == pytest.approx(3.182 * 0.0816 * np.sqrt(0.5), rel=1e-3)
    folds = {("", "0", str(i)): np.array([v, v]) for i, v in enumerate(values)}
    better = {key: v + 0.05 for key, v in list(folds.items())[:3]}
    found = page.paired({rankers.TRANSFORMER: folds, "better": better}, "better")
    np.testing.assert_allclose([*found.values()], np.full((3, 2), 0.05))
    assert page.summed_up(folds)[0] == page.interval(values)
