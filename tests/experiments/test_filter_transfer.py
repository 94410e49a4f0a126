"""The gain of a pre-trained filter: the made-up truths, the splits, and a run's tables."""

import numpy as np
import pytest

from experiments import filter_transfer
from nnabla_detofa.errors import ConfigError
from nnabla_detofa.path_filter import PathFilter, ridge_score
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.storage.tables import MeasuredPaths, PathTable

SPACE = SearchSpace.ofa_resnet50(base_depths=(1, 1, 1, 1), depths=(0, 1), width_scale=0.25)


@pytest.fixture
def tables(tmp_path):
    """A filter of three buckets and twelve paths in each, measured twice."""
    rng = np.random.default_rng(0)
    paths = np.unique(SPACE.sample(40, rng), axis=0)[:36]
    path_filter = PathFilter(SPACE.token_layout(), 3, rng=rng, dim=8, heads=2, layers=1, hidden=8)
    path_filter.save(tmp_path / "path_filter.h5", space={**SPACE.family.to_dict(), "cost": "flops"})
    measured = MeasuredPaths(paths, np.arange(36.0), np.arange(36) % 3, rng.random(36))
    for name, loss in (("paths", measured.loss), ("again", measured.loss + 1)):
        PathTable(tmp_path / f"{name}.csv", list(SPACE.family.gene_names)).start(measured._replace(loss=loss))
    return tmp_path / "path_filter.h5", tmp_path / "paths.csv", tmp_path / "again.csv"


def test_the_table_has_a_row_for_each_ranker_and_number_of_paths(tables, capsys):
    file, paths, again = tables
    given = f"--filter {file} --paths {paths} --again {again} --counts 8 4 50 --splits 2 --epochs 2"
    filter_transfer.main(given.split())
    title, _, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith("36 measured paths, 12 in the smallest bucket; 2 splits")
    assert [row.split()[0] for row in rows] == ["4"] * 5 + ["8"] * 5
    assert filter_transfer.interval(np.array([0.1, 0.3])) == "0.200 ± 1.271"  # Student's t of two


def test_paths_are_judged_by_the_second_measurement(tables):
    file, table, again = tables
    paths, once = filter_transfer.read_paths(*tables), filter_transfer.read_paths(file, table, None)
    np.testing.assert_allclose(paths.judged_by, paths.losses + 1)
    np.testing.assert_array_equal(once.judged_by, once.losses)
    again.write_text("\n".join(again.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(ConfigError, match="again.csv is of other paths than .*paths.csv"):
        filter_transfer.read_paths(*tables)


def test_held_out_paths_are_in_no_fit_and_the_same_for_all_rankers(tables, monkeypatch):
    paths, fitted = filter_transfer.read_paths(*tables), []
    options = filter_transfer.arguments(["--synthetic", "1", "--counts", "4", "8"])
    monkeypatch.setattr(filter_transfer, "fit", lambda _, tokens, *__, **___: fitted.append(tokens))
    rows = list(filter_transfer.one_split(tables[0], paths, options, np.random.default_rng(0)))
    (test,) = {tuple(test) for _, _, _, test in rows}
    unseen = {row.tobytes() for row in paths.tokens[list(test)]}
    assert len(test) == 3 * (12 - 8) and [len(tokens) for tokens in fitted] == [12, 12, 24, 24]
    assert not any(row.tobytes() in unseen for tokens in fitted for row in tokens)


@pytest.mark.parametrize(("additive", "low", "high"), [(1.0, 0.99, 1.0), (0.0, -1.0, 0.7)])
def test_the_additive_truth_is_what_ridge_regression_finds_and_the_other_is_not(additive, low, high):
    rng = np.random.default_rng(0)
    tokens = SearchSpace.ofa_resnet50().tokenize(SearchSpace.ofa_resnet50().sample(1500, rng))
    buckets, seen, unseen = np.zeros(1500, int), slice(0, 1000), slice(1000, None)
    losses = filter_transfer.truth(tokens, buckets, additive, rng)
    assert losses.mean() == pytest.approx(0, abs=1e-9) and losses.std() == pytest.approx(1)
    scores = ridge_score(tokens[seen], buckets[seen], losses[seen], tokens[unseen])
    assert low < np.corrcoef(scores, -losses[unseen])[0, 1] < high
