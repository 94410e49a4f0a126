"""Files appear whole or not at all; tables of measured paths are read back exactly."""

import numpy as np
import pytest

from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.training import MeasuredPaths, files
from nnabla_detofa.training.tables import PathTable, read_column

GENES = ["stem", "depth", "expand"]


@pytest.fixture
def table(tmp_path):
    return PathTable(tmp_path / "paths.csv", GENES)


def measured(n, seed=0):
    rng = np.random.default_rng(seed)
    loss = rng.lognormal(size=n) * 10.0 ** rng.integers(-9, 9, n)
    paths = rng.integers(-1, 3, (n, len(GENES)), dtype=np.int8)
    return MeasuredPaths(paths, rng.integers(1, 2**40, n).astype(float), rng.integers(0, 5, n), loss)


def rows(some, part):
    return some.at(part)


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    file = tmp_path / "a.json"
    files.write_json(file, {"ap": 0.5})
    for wrong, error in (({"ap": float("nan")}, ValueError), ({"ap": object()}, TypeError)):
        with pytest.raises(error):
            files.write_json(file, wrong)
    with pytest.raises(TypeError):
        files.write_text(file, 3)
    assert files.read_json(file) == {"ap": 0.5}
    assert file.read_text() == '{\n  "ap": 0.5\n}\n'


def test_a_column_of_any_table(tmp_path):
    (tmp_path / "a.csv").write_text('kept,reason\nTrue,"a, b"\nFalse,\n')
    assert read_column(tmp_path / "a.csv", "reason") == ["a, b", ""]
    for name, column in (("a.csv", "score"), ("b.csv", "reason")):
        with pytest.raises(RunFolderError, match=f"{name} cannot be read .*; delete it to redo its stage"):
            read_column(tmp_path / name, column)


def test_a_damaged_or_missing_file_is_said(tmp_path):
    (tmp_path / "a.json").write_text("[1, 2")
    with pytest.raises(RunFolderError, match="a.json cannot be read .Expecting ',' delimiter.*; delete it to redo its"):
        files.read_json(tmp_path / "a.json")
    with pytest.raises(RunFolderError, match="b.json cannot be read .*No such file"):
        files.read_json(tmp_path / "b.json")


@pytest.mark.parametrize("with_cost", [False, True])
def test_a_table_is_read_back_to_the_last_bit(tmp_path, with_cost):
    some, table = measured(50), PathTable(tmp_path / "paths.csv", GENES, with_cost=with_cost)
    if with_cost:
        some = some._replace(cost=2 * some.flops)
    table.start(rows(some, slice(0, 20)))
    table.append(rows(some, slice(20, 21)))
    table.append(rows(some, slice(21, 50)))
    assert (table.read().cost is None) is not with_cost
    for column, again in zip(some[: 5 if with_cost else 4], table.read(), strict=False):
        assert again.dtype == column.dtype
        np.testing.assert_array_equal(again, column)


def test_a_table_that_is_not_there_is_empty(table):
    paths, flops, bucket, loss, cost = table.read()
    assert paths.shape == (0, len(GENES))
    assert flops.shape == bucket.shape == loss.shape == (0,)
    assert cost is None


def test_columns_are_bucket_flops_loss_and_the_genes(table, tmp_path):
    table.start(MeasuredPaths(np.array([[0, -1, 2]], np.int8), np.array([12345.0]), np.array([4]), np.array([0.1])))
    assert (tmp_path / "paths.csv").read_text() == "bucket,flops,loss,stem,depth,expand\n4,12345,0.1,0,-1,2\n"
    with_cost = PathTable(tmp_path / "costs.csv", GENES, with_cost=True)
    with_cost.start(MeasuredPaths(*map(np.array, ([[0, -1, 2]], [12345.0], [4], [0.1], [67.0]))))
    assert (tmp_path / "costs.csv").read_text() == ("bucket,flops,cost,loss,stem,depth,expand\n4,12345,67,0.1,0,-1,2\n")


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_row_that_was_cut_short_is_dropped(table, tmp_path, cut):
    some = measured(3)
    table.start(some)
    file = tmp_path / "paths.csv"
    file.write_bytes(file.read_bytes()[:-cut])
    np.testing.assert_array_equal(table.read().loss, some.loss[:2])
    table.start(table.read())
    table.append(rows(some, slice(2, 3)))
    np.testing.assert_array_equal(table.read().loss, some.loss)


def test_a_table_of_another_space_is_said(table, tmp_path):
    PathTable(tmp_path / "paths.csv", GENES[:2]).start(rows(measured(2), slice(0, 0)))
    with pytest.raises(RunFolderError, match="paths.csv has other columns than this search space; delete it to"):
        table.read()


@pytest.mark.parametrize("damage", ["1,2,x,0,0,0\n", "1,2,3\n", "\n"])
def test_a_damaged_row_is_said(table, tmp_path, damage):
    table.start(measured(2))
    with (tmp_path / "paths.csv").open("a") as stream:
        stream.write(damage)
    with pytest.raises(RunFolderError, match="paths.csv is damaged .*; delete it to measure again"):
        table.read()


ROWS = ["nan,1,1,0,1", "0,inf,1,0,1", "0,1,nan,0,1", "0,1,1,300,1", "0.5,1,1,0,1", "0,1,1,0,\0"]


@pytest.mark.parametrize("row", ROWS)
def test_numbers_that_no_path_has_are_said(tmp_path, row):
    (tmp_path / "paths.csv").write_text(f"bucket,flops,loss,stem,depth\n{row}\n")
    with pytest.raises(RunFolderError, match="paths.csv is damaged .*; delete it to measure again"):
        PathTable(tmp_path / "paths.csv", ["stem", "depth"]).read()


def test_a_table_that_is_no_text_is_said(tmp_path):
    (tmp_path / "paths.csv").write_bytes(b"bucket,flops,loss\n\xff\n")
    with pytest.raises(RunFolderError, match="paths.csv is damaged .*; delete it to measure again"):
        PathTable(tmp_path / "paths.csv", []).read()
    (tmp_path / "paths.csv").write_bytes(b"a\n\0\n")
    with pytest.raises(RunFolderError, match="paths.csv cannot be read .*; delete it to redo its stage"):
        read_column(tmp_path / "paths.csv", "a")
