"""Tables of paths (CSV): measured ones, with bucket, FLOPs, loss and one column a gene."""

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import RunFolderError
from .files import write_text


class MeasuredPaths(NamedTuple):
    """paths (n, genes) int8, flops (n,), bucket (n,) int, loss (n,): the mean validation loss."""

    paths: np.ndarray
    flops: np.ndarray
    bucket: np.ndarray
    loss: np.ndarray


FIELDS = ("bucket", "flops", "loss")


class PathTable:
    """A CSV file that grows by one measured path at a time and is read back where an interruption left it."""

    def __init__(self, file: Path, genes: list[str]):
        self._file, self._columns = file, [*FIELDS, *genes]

    def read(self) -> MeasuredPaths:
        """All complete rows, without one that an interruption cut short; RunFolderError for what is no such table."""
        rows = self._rows() if self._file.is_file() else []
        try:
            values = np.array([[float(cell) for cell in row] for row in rows]).reshape(len(rows), len(self._columns))
        except ValueError as error:
            raise RunFolderError(f"{self._file} is damaged ({error}); delete it to measure again") from error
        bucket, flops, loss = values[:, 0].astype(int), values[:, 1], values[:, 2]
        return MeasuredPaths(values[:, 3:].astype(np.int8), flops, bucket, loss)

    def _rows(self) -> list[list[str]]:
        text = self._file.read_text()
        header, *rows = [*csv.reader(text[: text.rfind("\n") + 1].splitlines())] or [[]]
        if header != self._columns:
            raise RunFolderError(f"{self._file} has other columns than this search space; delete it to measure again")
        return rows

    def start(self, measured: MeasuredPaths) -> None:
        """Write the header and the rows that are kept, whole or not at all."""
        write_text(self._file, ",".join(self._columns) + "\n" + _lines(measured))

    def append(self, measured: MeasuredPaths) -> None:
        """Add rows."""
        with self._file.open("a") as stream:
            stream.write(_lines(measured))


def read_column(file: Path, name: str) -> list[str]:
    """One column of any table; RunFolderError where the file or the column is not there."""
    try:
        with file.open(newline="") as stream:
            return [row[name] for row in csv.DictReader(stream)]
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{file} cannot be read ({error}); delete it to redo its stage") from error


def _lines(measured: MeasuredPaths) -> str:
    """A line a path; the loss with every digit."""
    rows = zip(*measured, strict=True)
    cells = ([int(bucket), int(flops), repr(float(loss)), *path.tolist()] for path, flops, bucket, loss in rows)
    return "".join(",".join(map(str, row)) + "\n" for row in cells)
