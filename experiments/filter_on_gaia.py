"""The path filter on measured detectors that nobody here measured (Table 2's figures on GAIA-det's sub-networks).

    OMP_NUM_THREADS=1 python experiments/filter_on_gaia.py --table gaia_det.csv

The table has one row a detector: bucket, flops, one column a gene, coco_map. Each gene column becomes one token and the
table's own FLOPs bands are the buckets; the loss is 1 - coco_map. A fifth of every band is the test; `fit` splits the
rest once more for itself. FLOPs alone, ridge regression and an MLP of 3 x 400 on one-hot genes see the same splits.
GreedyNASv2's filters do too: classifiers of the weak paths, each for one ratio; all are asked for the weakest 25 %.
"""

import argparse
import csv
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnabla_detofa.path_filter import PathFilter, TokenLayout, evaluate, fit, ridge_score

# Every gene column and its block: input image and stem are block 0, the stages 1 to 4.
BLOCKS = {"image_size": 0, "stem_width": 0} | {f"{gene}{s}": s for gene in ("width", "depth") for s in (1, 2, 3, 4)}
FIGURES = ("kendall_tau", "precision")
BINARY_RATIOS = (0.1, 0.25, 0.5)


class Table(NamedTuple):
    """Measured paths: tokens (n, 10), buckets, losses and flops (n,)."""

    layout: TokenLayout
    tokens: np.ndarray
    buckets: np.ndarray
    losses: np.ndarray
    flops: np.ndarray


def read(file: Path) -> Table:
    """The table with a token for each value of each column, counted through over the columns."""
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    column = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    tokens, vocabulary = [], 0
    for name in BLOCKS:
        values, index = np.unique(column[name], return_inverse=True)
        tokens.append(vocabulary + index)
        vocabulary += len(values)
    layout = TokenLayout(vocabulary, tuple(range(len(BLOCKS))), tuple(BLOCKS.values()))
    return Table(layout, np.stack(tokens, 1), column["bucket"].astype(int), 1 - column["coco_map"], column["flops"])


def held_out(buckets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fifth of every bucket, rounded; (n,) bool."""
    chosen = np.zeros(len(buckets), bool)
    for bucket in np.unique(buckets):
        own = rng.permutation(np.flatnonzero(buckets == bucket))
        chosen[own[: round(len(own) / 5)]] = True
    return chosen


def mlp_score(table: Table, rest: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    """Scores of an MLP with three hidden layers of 400 that regresses the loss from one-hot genes."""
    from sklearn.neural_network import MLPRegressor

    genes = np.eye(table.layout.vocabulary)[table.tokens].sum(axis=1)
    losses = (table.losses[rest] - table.losses[rest].mean()) / table.losses[rest].std()
    mlp = MLPRegressor(hidden_layer_sizes=(400, 400, 400), max_iter=1000, random_state=seed)
    return -mlp.fit(genes[rest], losses).predict(genes[test])


def filter_score(table: Table, seed: int, **objective: object) -> np.ndarray:
    """Scores of the test paths by a path filter fitted to the others with the given objective."""
    rng = np.random.default_rng(seed)
    test = held_out(table.buckets, rng)
    path_filter = PathFilter(table.layout, int(table.buckets.max()) + 1, rng=rng)
    fit(path_filter, table.tokens[~test], table.buckets[~test], table.losses[~test], rng=rng, **objective)
    return path_filter.score(table.tokens[test], table.buckets[test])


def one_split(table: Table, seed: int) -> dict[str, list[float]]:
    """The figures of every ranker on one split."""
    test = held_out(table.buckets, np.random.default_rng(seed))
    rest = ~test
    tokens, buckets, losses = table.tokens, table.buckets, table.losses
    binary = {
        f"binary filter for the weakest {ratio:.0%}": {"objective": "binary", "binary_ratio": ratio}
        for ratio in BINARY_RATIOS
    }
    scores = {
        "path filter": filter_score(table, seed),
        **{name: filter_score(table, seed, **objective) for name, objective in binary.items()},
        "MLP 3 x 400": mlp_score(table, rest, test, seed),
        "ridge regression": ridge_score(tokens[rest], buckets[rest], losses[rest], tokens[test]),
        "FLOPs alone": table.flops[test],
    }
    figures = {name: evaluate(score, losses[test], buckets[test]) for name, score in scores.items()}
    return {name: [found[figure] for figure in FIGURES] for name, found in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="the CSV file")
    parser.add_argument("--seeds", type=int, default=5, help="number of splits")
    options = parser.parse_args()
    table, start = read(options.table), time.perf_counter()
    splits = [one_split(table, seed) for seed in range(options.seeds)]
    print(f"{len(table.losses)} paths, {options.seeds} splits, {time.perf_counter() - start:.0f} s")
    print(f"{'mean ± spread over the splits':34}{'in-bucket tau':>16}{'weakest-25 % precision':>26}")
    for name in splits[0]:
        figures = np.array([split[name] for split in splits])
        cells = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(figures.mean(0), figures.std(0), strict=True)]
        print(f"{name:34}{cells[0]:>16}{cells[1]:>26}")


if __name__ == "__main__":
    main()
