"""How well the path filter ranks paths that it has not seen, beside yardsticks.

    OMP_NUM_THREADS=1 python -m experiments.filter_quality --tables FOLDER
    OMP_NUM_THREADS=1 python -m experiments.filter_quality --runs experiments/results/paper-mini8/runs/detofa-seed*

On tables that others measured, and on the paths that finished runs measured, held-out ones judged by other images.
Repeated cross-validation, folds stratified by bucket, and a learning curve: some paths of every bucket are seen, all
others held out. Of a table of more than 400 paths, a repetition draws 50 a bucket for its folds. All rankers see the
same folds, with default settings or those of the run; nothing is tuned here. A fold that is in `--out` is not computed
again: a command that was stopped goes on, and `--repetitions 0` writes the page of what is there.
"""

import argparse
import csv
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnabla_detofa.errors import ConfigError, DetOFAError
from nnabla_detofa.path_filter import evaluate

from ..measured_tables import GAIA, MACRO, Table, gaia, macro, of_run
from .page import COLUMNS, write_page
from .rankers import HAS_LIGHTGBM, averaged_scores, prior_scores, scores

FOLDS, DRAWN, MOST = 5, 50, 400
KINDS = ("folds", "curve", "prior", "prior curve", "averages")
COUNTS, FEW = (10, 20, 40), (4, 8, 12, 16)  # of the learning curve, paths a bucket; of a table with 20 or fewer
RESULTS = Path(__file__).parents[1] / "results" / "2026-11-29-filter-quality"


class Unit(NamedTuple):
    """The unit of computing and writing: rankers on the held-out paths of one split."""

    kind: str  # of KINDS; "prior" and "prior curve" are of the filter that starts from costs
    table: Table
    repetition: int
    part: int  # the fold, or how many paths of each bucket are seen

    @property
    def key(self) -> tuple[str, ...]:
        return self.table.name, self.kind, str(self.repetition), str(self.part)


def units(tables: list[Table], repetitions: int, kinds: Sequence[str] = KINDS) -> Iterator[Unit]:
    """All of them, the dearest last, so that a command that is stopped leaves whole columns."""
    for some in (KINDS[:-1], KINDS[-1:]):
        for repetition in range(repetitions):
            for kind in (one for one in some if one in kinds):
                for table in tables:
                    parts = _counts(table) if kind.endswith("curve") else range(FOLDS)
                    yield from (Unit(kind, table, repetition, part) for part in parts)


def _counts(table: Table) -> list[int]:
    """Those that leave a path to hold out."""
    most = np.bincount(table.buckets).max()
    return [count for count in (FEW if most <= COUNTS[1] else COUNTS) if count < most]


def split(unit: Unit) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the seen and of the held-out paths; "averages" and "prior" have those of "folds"."""
    rng, buckets = np.random.default_rng(unit.repetition), unit.table.buckets
    each = [rng.permutation(np.flatnonzero(buckets == bucket)) for bucket in np.unique(buckets)]
    if unit.kind.endswith("curve"):
        return np.concatenate([own[: unit.part] for own in each]), np.concatenate([own[unit.part :] for own in each])
    if len(buckets) > MOST:
        each = [own[:DRAWN] for own in each]
    fold = np.concatenate([np.arange(len(own)) % FOLDS for own in each])
    paths = np.concatenate(each)
    return paths[fold != unit.part], paths[fold == unit.part]


def rows(unit: Unit, rank: Callable | None = None) -> list[tuple]:
    """The figures of every ranker on one split."""
    seen, held_out = split(unit)
    own = prior_scores if unit.kind.startswith("prior") else averaged_scores if unit.kind == "averages" else scores
    found = (rank or own)(unit.table, seen, held_out, 1000 * unit.repetition + unit.part)
    truth, buckets = unit.table.judged_by[held_out], unit.table.buckets[held_out]
    figures = {name: evaluate(score, truth, buckets) for name, score in found.items()}
    return [(*unit.key, name, one["kendall_tau"], one["precision"]) for name, one in figures.items()]


def compute(tables: list[Table], repetitions: int, file: Path, kinds: Sequence[str] = KINDS) -> None:
    """Append to `file` what is not in it yet."""
    known = set()
    if file.is_file():
        with file.open(newline="") as stream:
            known = {tuple(row[:4]) for row in csv.reader(stream)}
    with file.open("a", newline="") as stream:
        writer = csv.writer(stream)
        if not known:
            writer.writerow(COLUMNS)
        for unit in units(tables, repetitions, kinds):
            if unit.key not in known:
                start = time.perf_counter()
                writer.writerows(rows(unit))
                stream.flush()
                print(*unit.key, f"{time.perf_counter() - start:.0f} s", flush=True)


def read_tables(options: argparse.Namespace) -> list[Table]:
    """The tables that are given; a line says what is left out."""
    tables = []
    if options.tables is None:
        print("GAIA-det and NAS-Bench-Macro are left out: --tables FOLDER names the folder that holds them")
    else:
        for name, read in ((GAIA, gaia), (MACRO, macro)):
            if (options.tables / name).is_file():
                tables.append(read(options.tables))
            else:
                print(f"{name} is left out: {options.tables} has no such file")
    tables += map(of_run, options.runs)
    if not HAS_LIGHTGBM:
        print("LightGBM is left out: pip install lightgbm")
    return tables


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help=f"the folder of {GAIA} and {MACRO}")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="folders of finished runs of one kind")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what is computed: all of them")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(given)
    file = options.out / "figures.csv"
    try:
        tables = read_tables(options)
        if not tables and not file.is_file():
            raise ConfigError(f"nothing to rank, and no figures in {options.out}: give --tables or --runs")
        options.out.mkdir(parents=True, exist_ok=True)
        compute(tables, options.repetitions, file, options.kinds)
    except DetOFAError as error:
        parser.exit(2, f"{error}\n")
    write_page(options.out)


if __name__ == "__main__":
    main()
