"""Tables of numbers (CSV): measured paths with bucket, FLOPs, loss and one column a gene, and others like them."""

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import RunFolderError
from .files import refused, write_text


class NumberTable:
    """A CSV file of numbers that grows by one row at a time and is read back where an interruption left it."""

    def __init__(self, file: Path, columns: Sequence[str]):
        self._file, self.columns = file, list(columns)

    def read(self) -> np.ndarray:
        """All complete rows, (n, columns) float64, without one that an interruption cut short.

        RunFolderError for what is no such table.
        """
        try:
            rows = self._rows() if self._file.is_file() else []
            values = np.array([[float(cell) for cell in row] for row in rows]).reshape(len(rows), len(self.columns))
            if not np.isfinite(values).all():
                raise ValueError("it holds numbers that are not finite")
        except (OSError, ValueError, csv.Error) as error:
            raise RunFolderError(f"{self._file} is damaged ({error}); delete it to measure again") from error
        return values

    def _rows(self) -> list[list[str]]:
        text = self._file.read_text()
        header, *rows = [*csv.reader(text[: text.rfind("\n") + 1].splitlines())] or [[]]
        if header != self.columns:
            raise RunFolderError(f"{self._file} has other columns than this search space; delete it to measure again")
        return rows

    def start(self, rows: Iterable[Sequence]) -> None:
        """Write the header and the rows that are kept, whole or not at all."""
        write_text(self._file, ",".join(self.columns) + "\n" + _lines(rows))

    def append(self, rows: Iterable[Sequence]) -> None:
        """Add rows."""
        with refused(self._file), self._file.open("a") as stream:
            stream.write(_lines(rows))
            stream.flush()
            os.fsync(stream.fileno())


class MeasuredPaths(NamedTuple):
    """paths (n, genes) int8, flops (n,), bucket (n,) int, loss (n,): the mean validation loss, or what the table names.

    cost (n,): what the buckets are of, where that is not FLOPs.
    """

    paths: np.ndarray
    flops: np.ndarray
    bucket: np.ndarray
    loss: np.ndarray
    cost: np.ndarray | None = None

    def at(self, rows: slice | np.ndarray) -> "MeasuredPaths":
        """Some of them."""
        return self._replace(**{name: column[rows] for name, column in self._asdict().items() if column is not None})


class PathTable:
    """Measured paths in a `NumberTable`; `value` names the column of what was measured, and the column `cost` is there
    where buckets are not of FLOPs."""

    def __init__(self, file: Path, genes: Sequence[str], *, value: str = "loss", with_cost: bool = False):
        self.value, self._fields = value, ["bucket", "flops", *(["cost"] if with_cost else []), "loss"]
        self._file, self._table = file, NumberTable(file, [*self._fields[:-1], value, *genes])

    def read(self) -> MeasuredPaths:
        """The paths that are there, see `NumberTable.read`."""
        values = self._table.read()
        columns = dict(zip(self._fields, values.T, strict=False))
        bucket, paths = self._whole(columns["bucket"], np.int64), self._whole(values[:, len(self._fields) :], np.int8)
        return MeasuredPaths(paths, columns["flops"], bucket, columns["loss"], columns.get("cost"))

    def _whole(self, values: np.ndarray, kind: type[np.signedinteger]) -> np.ndarray:
        """The numbers as those of another kind; RunFolderError where one is none of it."""
        limits = np.iinfo(kind)
        if not ((values % 1 == 0) & (values >= limits.min) & (values < limits.max)).all():
            raise RunFolderError(f"{self._file} is damaged (a bucket or gene is no index); delete it to measure again")
        return values.astype(kind)

    def empty(self) -> MeasuredPaths:
        """No paths."""
        n_genes, none = len(self._table.columns) - len(self._fields), np.empty(0)
        cost = none if "cost" in self._fields else None
        return MeasuredPaths(np.empty((0, n_genes), np.int8), none, none.astype(np.int64), none, cost)

    def start(self, measured: MeasuredPaths) -> None:
        """Write the header and the paths that are kept, whole or not at all."""
        self._table.start(self._rows(measured))

    def append(self, measured: MeasuredPaths) -> None:
        """Add paths."""
        self._table.append(self._rows(measured))

    def _rows(self, measured: MeasuredPaths) -> Iterable[list]:
        """A row a path; the loss with every digit."""
        columns = [getattr(measured, name) for name in self._fields[:-1]]  # the last is the loss
        for *numbers, loss, path in zip(*columns, measured.loss, measured.paths, strict=True):
            yield [*map(int, numbers), repr(float(loss)), *path.tolist()]


def as_csv(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """A table of texts and numbers; what a row lacks is empty, and ValueError for what has no column."""
    text = StringIO(newline="")
    writer = csv.DictWriter(text, [*columns])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read_rows(file: Path) -> list[dict[str, str]]:
    """All rows of any table, texts by column."""
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def read_column(file: Path, name: str) -> list[str]:
    """One column of any table; RunFolderError where the file or the column is not there."""
    try:
        return [row[name] for row in read_rows(file)]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise RunFolderError(f"{file} cannot be read ({error}); delete it to redo its stage") from error


def _lines(rows: Iterable[Sequence]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)
