"""Tables of measured paths that rankers are compared on: GAIA-det, NAS-Bench-Macro, and paths that a run measured."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.path_filter import TokenLayout
from nnabla_detofa.space import Budgets

from .search_on_nas_bench_macro import Macro

GAIA, MACRO = "gaia_det.csv", "nas_bench_macro.csv"
# GAIA-det's gene columns and their block: input image and stem are block 0, the stages 1 to 4
BLOCKS = {"image_size": 0, "stem_width": 0} | {f"{gene}{s}": s for gene in ("width", "depth") for s in (1, 2, 3, 4)}
BUCKETS = 5


class Table(NamedTuple):
    """Measured paths: tokens (n, L), buckets, losses and flops (n,); the losses that held-out paths are `judged_by`."""

    name: str
    layout: TokenLayout
    tokens: np.ndarray
    buckets: np.ndarray
    losses: np.ndarray
    flops: np.ndarray
    judged_by: np.ndarray

    @property
    def genes(self) -> np.ndarray:
        """The numbers behind the tokens, (n, L), for rankers that see values as numbers."""
        return np.array(self.layout.values, float)[np.arange(self.tokens.shape[1]), self.tokens]


def gaia(folder: Path) -> Table:
    """GAIA-det's sub-networks; its own FLOPs bands are the buckets, the loss is 1 - AP."""
    column = _columns(folder / GAIA)
    losses = 1 - column["coco_map"]
    genes = np.stack([column[name] for name in BLOCKS], axis=1)
    layout, tokens = tokens_of(genes, tuple(BLOCKS.values()))
    return Table("GAIA-det", layout, tokens, column["bucket"].astype(int), losses, column["flops"], losses)


def macro(folder: Path) -> Table:
    """NAS-Bench-Macro's distinct networks, in five buckets of equal width; the loss is the error in percent."""
    networks = Macro.read(folder / MACRO)
    flops, losses = networks(networks.paths), 100 - networks.accuracy(networks.paths)
    stages = (0, 0, 1, 1, 1, 2, 2, 2)
    layout, tokens = tokens_of(networks.paths.astype(float), stages)
    buckets = Budgets(np.linspace(flops.min(), flops.max(), BUCKETS + 1)).bucket(flops)
    return Table("NAS-Bench-Macro", layout, tokens, buckets, losses, flops, losses)


def measured(paths: Path, again: Path | None) -> Table:
    """Paths that a run measured, `paths_*.csv`, and their second measurement, by which held-out paths are judged.

    A token is a value of a gene's column; the block is the stage in the column's name. ConfigError where `again` is of
    other paths.
    """
    column = _columns(paths)
    names = [name for name in column if name not in ("bucket", "flops", "cost", "loss")]
    genes = np.stack([column[name] for name in names], axis=1)
    judged_by = column["loss"]
    if again is not None:
        other = _columns(again)
        if any(not np.array_equal(other.get(name), column[name]) for name in names):
            raise ConfigError(f"{again} is of other paths than {paths}: take the second measurement of the same run")
        judged_by = other["loss"]
    stages = [re.match(r"stage(\d+)", name) for name in names]
    layout, tokens = tokens_of(genes, tuple(0 if one is None else 1 + int(one[1]) for one in stages))
    return Table(paths.stem, layout, tokens, column["bucket"].astype(int), column["loss"], column["flops"], judged_by)


def tokens_of(genes: np.ndarray, blocks: tuple[int, ...]) -> tuple[TokenLayout, np.ndarray]:
    """A token for each value of each column of genes (n, L), counted through over the columns, with the values."""
    tokens, levels = [], []
    for column in genes.T:
        values, index = np.unique(column, return_inverse=True)
        tokens.append(sum(map(len, levels)) + index)
        levels.append(values.tolist())
    first = np.cumsum([0, *map(len, levels)])
    n = int(first[-1])
    values = tuple(
        tuple(own[t - start] if 0 <= t - start < len(own) else None for t in range(n))
        for own, start in zip(levels, first, strict=False)
    )
    return TokenLayout(n, tuple(range(len(levels))), blocks, values), np.stack(tokens, axis=1)


def _columns(file: Path) -> dict[str, np.ndarray]:
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
