"""Losses of paths drawn from each bucket, and whether pruning chose better ones or trained them better (Figure 6)."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from nnabla_detofa.report import figures
from nnabla_detofa.report.finished_runs import FinishedRun
from nnabla_detofa.report.pareto import millions
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.storage.files import read_json

from .estimates import Runs, difference, estimate, shown, table
from .exhibits import Exhibit, columns_of

PER_BUCKET = 15  # paths shown of a bucket
PAIR = ("ofa", "detofa")  # whose difference is taken apart


class Measured(NamedTuple):
    """Paths that were measured behind training: `paths` (n, genes), `bucket`, `cost` and `loss` (n,)."""

    paths: np.ndarray
    bucket: np.ndarray
    cost: np.ndarray
    loss: np.ndarray

    def at(self, some: np.ndarray) -> "Measured":
        return Measured(*(column[some] for column in self))

    def means(self, n: int) -> np.ndarray:
        """Mean loss of each of n buckets; nan where none was measured."""
        own = [self.loss[self.bucket == bucket] for bucket in range(n)]
        return np.array([one.mean() if len(one) else np.nan for one in own])


def path_losses(runs: Runs, labels: Mapping[str, str]) -> Exhibit:
    """Losses of paths drawn uniformly from each bucket, of the whole space and of the pruned one (Fig. 6)."""
    tables = {method: {seed: measured(run) for seed, run in own.items()} for method, own in runs.items()}
    drawn = {method: {seed: _some(one) for seed, one in own.items()} for method, own in tables.items()}
    n = 1 + int(max(one.bucket.max() for own in drawn.values() for one in own.values()))
    means = {method: {seed: one.means(n) for seed, one in own.items()} for method, own in drawn.items()}
    first, *others = means
    cells = [["mean loss", "seeds", *(f"bucket {bucket}" for bucket in range(n))]]
    for method, own in means.items():
        columns = zip(*estimate([*own.values()]), strict=True)
        cells.append([labels[method], str(len(own)), *(shown(*one, digits=3) for one in columns)])
    for method in others:
        gain, seeds = difference(means[method], means[first])
        columns = zip(*gain, strict=True)
        name = f"{labels[method]} minus {labels[first]}"
        cells.append([name, f"{len(seeds)} pairs", *(shown(*one, sign="+", digits=3) for one in columns)])
    rows = [
        {"method": method, "seed": seed, "bucket": int(bucket), "cost": cost, "loss": loss}
        for method, own in drawn.items()
        for seed, one in own.items()
        for bucket, cost, loss in zip(one.bucket.tolist(), one.cost.tolist(), one.loss.tolist(), strict=True)
    ]
    run = next(iter(runs[first].values()))
    own = {"edges": [budget / 1e6 for budget in run.budgets], "cost": millions(run.said("cost.name"))[1]}
    together = {
        labels[method]: Measured(*map(np.concatenate, zip(*each.values(), strict=True)))
        for method, each in drawn.items()
    }
    shown_tables = {name: (one.cost / 1e6, one.loss) for name, one in together.items()}
    lines = [*table(cells), *_taken_apart(runs, tables, labels)]
    return Exhibit(rows, lines, figures.path_losses(shown_tables, one_scale=True, **own))


def _taken_apart(runs: Runs, tables: Mapping[str, Mapping[int, Measured]], labels: Mapping[str, str]) -> list[str]:
    """What of the difference is the choice of paths, and what their training: the first is how much better those of
    OFA's measured paths are that lie in DetOFA's pruned space of the same seed than all of their buckets, in OFA's
    supernet. Nothing where no pair has such a path."""
    if not {*PAIR} <= {*tables}:
        return []
    parts, paths = [], 0
    ofa, detofa = (tables[method] for method in PAIR)
    for seed in sorted(ofa.keys() & detofa.keys()):
        pruned = SearchSpace.from_dict(read_json(runs[PAIR[1]][seed].folder / "pruned_space.json"))
        kept = pruned.contains(ofa[seed].paths)
        if kept.any():
            parts.append(taken_apart(ofa[seed], detofa[seed], kept))
            paths += int(kept.sum())
    if not parts:
        return []
    found = estimate(parts)
    names = ("all of it", "by the choice of paths", "by their training")
    cells = [[f"{labels[PAIR[1]]} minus {labels[PAIR[0]]}, loss, mean of the buckets", "pairs", "difference"]]
    for name, *one in zip(names, *found, strict=True):
        cells.append([name, str(len(parts)), shown(*map(float, one), sign="+", digits=4)])
    remark = (
        f"By the choice of paths: {paths} of {labels[PAIR[0]]}'s measured paths lie in the pruned space of the same"
        " seed; their loss minus the mean of their bucket, all in the unpruned supernet. The rest is by training."
    )
    return ["", *table(cells), "", remark]


def taken_apart(ofa: Measured, detofa: Measured, kept: np.ndarray) -> tuple[float, float, float]:
    """Mean difference of loss over buckets, its part by the choice of paths, and its part by their training, where
    `kept` (n,) are the paths of OFA that pruning leaves."""
    n = 1 + int(max(ofa.bucket.max(), detofa.bucket.max()))
    means = ofa.means(n)
    whole = float(np.nanmean(detofa.means(n) - means))
    choice = float((ofa.loss - means[ofa.bucket])[kept].mean())
    return whole, choice, whole - choice


def measured(run: FinishedRun) -> Measured:
    """All paths of a run that were measured behind training."""
    columns = columns_of(run, "paths_final.csv")
    cost = "cost" if "cost" in columns else "flops"
    genes = [values for name, values in columns.items() if name not in ("bucket", "flops", "cost", "loss")]
    return Measured(
        np.array(genes, int).T,
        np.array(columns["bucket"], int),
        np.array(columns[cost], float),
        np.array(columns["loss"], float),
    )


def _some(one: Measured) -> Measured:
    """PER_BUCKET paths of each bucket."""
    shuffled = one.at(np.random.default_rng(0).permutation(len(one.loss)))  # the table is sorted by genes
    places = [np.flatnonzero(shuffled.bucket == bucket)[:PER_BUCKET] for bucket in np.unique(one.bucket)]
    return shuffled.at(np.concatenate(places))
