"""Tables of measured paths that rankers are compared on: GAIA-det, NAS-Bench-Macro, and paths that a run measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.path_filter import TokenLayout, gene_basis
from nnabla_detofa.report.finished_runs import FinishedRun
from nnabla_detofa.space import Budgets, SearchSpace
from nnabla_detofa.storage import MeasuredPaths, PathTable
from nnabla_detofa.storage.tables import read_rows
from nnabla_detofa.supernet.networks import NETWORKS, search_space

from .search_on_nas_bench_macro import Macro

GAIA, MACRO = "gaia_det.csv", "nas_bench_macro.csv"
# GAIA-det's gene columns and their block: input image and stem are block 0, the stages 1 to 4
BLOCKS = {"image_size": 0, "stem_width": 0} | {f"{gene}{s}": s for gene in ("width", "depth") for s in (1, 2, 3, 4)}
BUCKETS = 5
DRAWN = 2000  # paths that show which genes a token is of


class Table(NamedTuple):
    """Measured paths: tokens (n, L), buckets, losses and flops (n,); the losses that held-out paths are `judged_by`.

    genes: (n, G), the numbers behind the tokens. options: the path filter's "network" and "fit", of defaults where not
    given. basis: in which main effects are sought of genes, where a token is of several of them.
    """

    name: str
    layout: TokenLayout
    tokens: np.ndarray
    buckets: np.ndarray
    losses: np.ndarray
    flops: np.ndarray
    judged_by: np.ndarray
    genes: np.ndarray
    options: Mapping[str, Mapping[str, Any]] = {"network": {}, "fit": {}}
    basis: np.ndarray | None = None

    @property
    def n_buckets(self) -> int:
        return 1 + int(self.buckets.max())


def gaia(folder: Path) -> Table:
    """GAIA-det's sub-networks; its own FLOPs bands are the buckets, the loss is 1 - AP."""
    column = _columns(folder / GAIA)
    losses = 1 - column["coco_map"]
    genes = np.stack([column[name] for name in BLOCKS], axis=1)
    layout, tokens = tokens_of(genes, tuple(BLOCKS.values()))
    return Table("GAIA-det", layout, tokens, column["bucket"].astype(int), losses, column["flops"], losses, genes)


def macro(folder: Path) -> Table:
    """NAS-Bench-Macro's distinct networks, in five buckets of equal width; the loss is the error in percent."""
    networks = Macro.read(folder / MACRO)
    flops, losses = networks(networks.paths), 100 - networks.accuracy(networks.paths)
    stages = (0, 0, 1, 1, 1, 2, 2, 2)
    genes = networks.paths.astype(float)
    layout, tokens = tokens_of(genes, stages)
    buckets = Budgets(np.linspace(flops.min(), flops.max(), BUCKETS + 1)).bucket(flops)
    return Table("NAS-Bench-Macro", layout, tokens, buckets, losses, flops, losses, genes)


def space_of(run: FinishedRun) -> SearchSpace:
    """The unpruned search space of a run."""
    ((name, network),) = run.stages["warmup"]["inputs"]["network"].items()
    return search_space(network["space"], NETWORKS[name].SearchNet.spaces)


def measured_paths(run: FinishedRun, name: str = "paths_final") -> MeasuredPaths:
    """Paths of a run that were measured behind training."""
    own_cost = run.said("cost.name") not in (None, "flops")
    return PathTable(run.folder / f"{name}.csv", space_of(run).family.gene_names, with_cost=own_cost).read()


def basis_of(space: SearchSpace, paths: np.ndarray) -> np.ndarray:
    """In which main effects are sought of genes: `gene_basis` of these paths and DRAWN others."""
    return gene_basis(space, np.concatenate([space.sample(DRAWN, np.random.default_rng(0)), paths]))


def of_run(folder: Path) -> Table:
    """The paths that a finished run measured behind training, by the filter's settings of that run.

    Held-out paths are judged by their second measurement, on other images, where there is one. The name is KIND/FOLDER
    with the folder's name up to its last "-" as the kind. RunFolderError for another folder, and for a run that fitted
    no filter.
    """
    run = FinishedRun(folder)
    settings = run.stages.get("path_filter_final", {"inputs": {}})["inputs"]
    if not {"network", "fit"} <= settings.keys():
        raise RunFolderError(f"{folder} fitted no path filter behind training; give a run with path_filter=transformer")
    space, paths = space_of(run), measured_paths(run)
    again = "paths_final_again"
    judged_by = measured_paths(run, again).loss if (run.folder / f"{again}.csv").is_file() else paths.loss
    return Table(
        f"{folder.name.rpartition('-')[0] or folder.name}/{folder.name}",
        space.token_layout(),
        space.tokenize(paths.paths),
        paths.bucket,
        paths.loss,
        paths.flops,
        judged_by,
        paths.paths.astype(float),
        {part: settings[part] for part in ("network", "fit")},
        basis_of(space, paths.paths),
    )


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
    rows = read_rows(file)
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
