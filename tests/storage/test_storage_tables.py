"""Tables of measured paths are read back exactly."""

import numpy as np
import pytest

from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.storage import MeasuredPaths, PathTable
from nnabla_detofa.storage.tables import read_column

GENES = ["stem", "depth", "expand"]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "paths.csv"


@pytest.fixture
def table(file):
    return PathTable(file, GENES)


def measured(n):
    rng = np.random.default_rng(0)
    loss = rng.lognormal(size=n) * 10.0 ** rng.integers(-9, 9, n)
    paths = rng.integers(-1, 3, (n, len(GENES)), dtype=np.int8)
    return MeasuredPaths(paths, rng.integers(1, 2**40, n).astype(float), rng.integers(0, 5, n), loss)


@pytest.mark.parametrize("with_cost", [False, True])
def test_a_table_is_read_back_to_the_last_bit(file, with_cost):
    some, table = measured(50), PathTable(file, GENES, with_cost=with_cost)
    if with_cost:
        some = some._replace(cost=2 * some.flops)
    table.start(some.at(slice(20)))
    table.append(some.at(slice(20, 21)))
    table.append(some.at(slice(21, 50)))
    for column, again in zip(some, table.read(), strict=True):
        assert (again is None) is (column is None)
        if column is not None:
            assert again.dtype == column.dtype
            np.testing.assert_array_equal(again, column)


@pytest.mark.parametrize("with_cost", [False, True])
def test_a_table_that_is_not_there_is_empty(file, with_cost):
    table = PathTable(file, GENES, with_cost=with_cost)
    found = [table.read(), table.empty()]
    table.start(table.empty())  # as where nothing can be measured
    for one in (*found, table.read()):
        assert [column.shape for column in one[:4]] == [(0, len(GENES)), (0,), (0,), (0,)]
        assert [column.dtype for column in one[:4]] == [np.int8, float, np.int64, float]
        assert (one.cost is None) is not with_cost


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "bucket,flops,loss,stem,depth,expand\n4,12345,0.1,0,-1,2\n"),
        ({"value": "ap"}, "bucket,flops,ap,stem,depth,expand\n4,12345,0.1,0,-1,2\n"),
        ({"with_cost": True}, "bucket,flops,cost,loss,stem,depth,expand\n4,12345,67,0.1,0,-1,2\n"),
    ],
)
def test_columns_are_bucket_costs_value_and_the_genes(file, options, text):
    columns = map(np.array, ([[0, -1, 2]], [12345.0], [4], [0.1], [67.0]))
    PathTable(file, GENES, **options).start(MeasuredPaths(*columns))
    assert file.read_text() == text


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_row_that_was_cut_short_is_dropped(table, file, cut):
    some = measured(3)
    table.start(some)
    file.write_bytes(file.read_bytes()[:-cut])
    np.testing.assert_array_equal(table.read().loss, some.loss[:2])
    table.start(table.read())
    table.append(some.at(slice(2, 3)))
    np.testing.assert_array_equal(table.read().loss, some.loss)


HEADER = b"bucket,flops,loss,stem,depth,expand\n"
ROWS = [b"1,2,x,0,0,0", b"1,2,3", b"", b"nan,1,1,0,1,0", b"0,inf,1,0,1,0", b"0,1,nan,0,1,0", b"0,1,1,300,1,0"]
ROWS += [b"0,1,1,127,1,0", b"0.5,1,1,0,1,0", b"0,1,1,0.5,1,0", b"0,1,1,0,0,\0", b"\xff"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        *((HEADER + b"0,1,1,0,1,0\n" + row + b"\n", "is damaged") for row in ROWS),
        (b"bucket,flops,loss,stem,depth\n", "has other columns"),
        (b"\n", "has other columns"),
    ],
)
def test_what_is_no_table_of_this_space_is_said(table, file, content, said):
    file.write_bytes(content)
    with pytest.raises(RunFolderError, match=f"paths.csv {said}"):
        table.read()


def test_a_column_of_any_table(tmp_path):
    (tmp_path / "a.csv").write_text('kept,reason\nTrue,"a, b"\nFalse,\n')
    assert read_column(tmp_path / "a.csv", "reason") == ["a, b", ""]


@pytest.mark.parametrize("content", [b"kept\nTrue\n", b"reason\n\0\n", b"reason\n\xff\n", None])
def test_a_column_that_cannot_be_read_is_said(tmp_path, content):
    if content is not None:
        (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(RunFolderError, match="a.csv cannot be read"):
        read_column(tmp_path / "a.csv", "reason")
