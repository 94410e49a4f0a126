"""Losses of paths drawn from each bucket, and how much of a difference is the choice of paths (Figure 6)."""

from collections.abc import Mapping

import numpy as np

from nnabla_detofa.report import figures
from nnabla_detofa.report.pareto import millions
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.storage import MeasuredPaths
from nnabla_detofa.storage.files import read_json

from ..measured_tables import measured_paths
from .estimates import Runs, difference, estimate, shown, table
from .exhibits import Exhibit

PER_BUCKET = 15  # paths shown of a bucket
PAIR = ("ofa", "detofa")  # whose difference is taken apart


def path_losses(runs: Runs, labels: Mapping[str, str]) -> Exhibit:
    """Losses of paths drawn uniformly from each bucket, of the whole space and of the pruned one (Fig. 6)."""
    tables = {method: {seed: measured_paths(run) for seed, run in own.items()} for method, own in runs.items()}
    drawn = {method: {seed: _shown_of(one) for seed, one in own.items()} for method, own in tables.items()}
    n = 1 + int(max(one.bucket.max() for own in drawn.values() for one in own.values()))
    means = {method: {seed: bucket_means(one, n) for seed, one in own.items()} for method, own in drawn.items()}
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
        {"method": method, "seed": seed, "bucket": bucket, "cost": cost, "loss": loss}
        for method, own in drawn.items()
        for seed, one in own.items()
        for bucket, cost, loss in zip(one.bucket.tolist(), _costs(one).tolist(), one.loss.tolist(), strict=True)
    ]
    run = next(iter(runs[first].values()))
    axes = {"edges": [budget / 1e6 for budget in run.budgets], "cost": millions(run.said("cost.name"))[1]}
    shown_tables = {
        labels[method]: (np.concatenate([_costs(one) for one in own]) / 1e6, np.concatenate([one.loss for one in own]))
        for method, own in ((method, [*each.values()]) for method, each in drawn.items())
    }
    lines = [*table(cells), *_taken_apart(runs, tables, labels)]
    return Exhibit(rows, lines, figures.path_losses(shown_tables, one_scale=True, **axes))


def _costs(one: MeasuredPaths) -> np.ndarray:
    """The cost that the buckets are of, (n,)."""
    return one.flops if one.cost is None else one.cost


def bucket_means(one: MeasuredPaths, n: int) -> np.ndarray:
    """Mean loss of each of n buckets; nan where none was measured."""
    own = [one.loss[one.bucket == bucket] for bucket in range(n)]
    return np.array([losses.mean() if len(losses) else np.nan for losses in own])


def _taken_apart(runs: Runs, tables: Mapping[str, Mapping[int, MeasuredPaths]], labels: Mapping[str, str]) -> list[str]:
    """How much of the difference is there already where OFA's supernet takes paths of DetOFA's pruned space. Nothing
    where no pair has such a path."""
    if not {*PAIR} <= {*tables}:
        return []
    parts, paths = [], 0
    ofa, detofa = (tables[method] for method in PAIR)
    theirs, ours = (labels[method] for method in PAIR)
    for seed in sorted(ofa.keys() & detofa.keys()):
        pruned = SearchSpace.from_dict(read_json(runs[PAIR[1]][seed].folder / "pruned_space.json"))
        kept = pruned.contains(ofa[seed].paths)
        if not np.isnan(apart := taken_apart(ofa[seed], detofa[seed], kept)).any():
            parts.append(apart)
            paths += int(kept.sum())
    if not parts:
        return []
    names = ("all of it", "by the choice of paths", "the rest, by their training")
    cells = [[f"{ours} minus {theirs}, loss", "pairs", "difference"]]
    for name, *one in zip(names, *estimate(parts), strict=True):
        cells.append([name, str(len(parts)), shown(*map(float, one), sign="+", digits=4)])
    remark = (
        f"{paths} of the paths that were measured in {theirs}'s supernets lie in {ours}'s pruned space of the same"
        " seed. By the choice of paths: their loss there minus the mean of their bucket. The rest: the mean of their"
        f" bucket in {ours}'s supernet minus that loss. A bucket counts as often as it has such paths."
    )
    return ["", *table(cells), "", remark]


def taken_apart(ofa: MeasuredPaths, detofa: MeasuredPaths, kept: np.ndarray) -> tuple[float, float, float]:
    """Mean difference of loss, its part by the choice of paths, and the rest, where `kept` (n,) are the paths of OFA
    that pruning leaves: all three over the buckets of these, each as often as it has some; nan where there are none."""
    n = 1 + int(max(ofa.bucket.max(), detofa.bucket.max()))
    means, bucket = bucket_means(ofa, n), ofa.bucket[kept]
    after = bucket_means(detofa, n)[bucket]
    known = ~np.isnan(after)
    if not known.any():
        return np.nan, np.nan, np.nan
    before, own = means[bucket][known], ofa.loss[kept][known]
    whole, choice = float((after[known] - before).mean()), float((own - before).mean())
    return whole, choice, whole - choice


def _shown_of(one: MeasuredPaths) -> MeasuredPaths:
    """PER_BUCKET paths of each bucket."""
    order = np.random.default_rng(0).permutation(len(one.loss))  # the table is sorted by genes
    return one.at(np.concatenate([order[one.bucket[order] == b][:PER_BUCKET] for b in np.unique(one.bucket)]))
