"""The gain of pre-training a path filter (Section 3.1.2): ranking of unseen paths by the number of measured ones.

    OMP_NUM_THREADS=1 python experiments/filter_transfer.py --filter log/pretrain/path_filter.h5 \\
        --paths log/detector/paths_final.csv --again log/detector/paths_final_again.csv
    OMP_NUM_THREADS=1 python experiments/filter_transfer.py --synthetic 0.8

The filter is what a pre-training run left, the paths are those that a detection run of the same space measured. Each
split holds the same paths out for all rows; the filters with and without pre-training see the same others, and are
judged by the losses `again`, on other images, where there are any. Intervals are of the mean over the splits; these
share their paths, so they say nothing of other supernets.

`--synthetic` needs no run: losses of paths of the paper's space are a number for each choice and one for each two of
them, and detection's have the given correlation with classification's.
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.paper.estimates import estimate
from nnabla_detofa.errors import ConfigError
from nnabla_detofa.path_filter import PathFilter, evaluate, fit, ridge_score
from nnabla_detofa.path_filter.store import read
from nnabla_detofa.space import Budgets, CostModel, ResNet50, SearchSpace
from nnabla_detofa.storage import PathTable

FIGURES = ("kendall_tau", "precision")
WITHOUT, WITH, ALONE, RIDGE = "without", "pre-trained", "pre-trained, not fitted", "ridge regression"


class Paths(NamedTuple):
    """Measured paths: tokens (n, L), buckets and losses (n,), and the losses that they are judged by."""

    tokens: np.ndarray
    buckets: np.ndarray
    losses: np.ndarray
    judged_by: np.ndarray


def read_paths(filter_file: Path, paths: Path, again: Path | None) -> Paths:
    """The tables of a detection run, as the space that the filter was saved with reads them."""
    described = read(filter_file)[0]["space"]
    space = SearchSpace(ResNet50.from_dict({name: value for name, value in described.items() if name != "cost"}))
    measured, *other = (
        PathTable(file, list(space.family.gene_names)).read() for file in (paths, again) if file is not None
    )
    if other and not np.array_equal(other[0].paths, measured.paths):
        raise ConfigError(f"{again} is of other paths than {paths}")
    judged_by = other[0].loss if other else measured.loss
    return Paths(space.tokenize(measured.paths), measured.bucket, measured.loss, judged_by)


# ---- the experiment


def learning_curve(file: Path, paths: Paths, options: argparse.Namespace) -> dict[tuple[int, str], np.ndarray]:
    """Figures (splits, FIGURES) of each ranker, by the measured paths that it had a bucket."""
    rows: dict[tuple[int, str], list] = {}
    for split in range(options.splits):
        for count, name, scores, test in one_split(file, paths, options, np.random.default_rng(split)):
            found = evaluate(scores, paths.judged_by[test], paths.buckets[test])
            rows.setdefault((count, name), []).append([found[figure] for figure in FIGURES])
    return {key: np.array(each) for key, each in rows.items()}


def one_split(file: Path, paths: Paths, options: argparse.Namespace, rng: np.random.Generator):
    """(paths a bucket, ranker, its scores of the held-out paths, those paths) of one split."""
    tokens, buckets, losses, _ = paths
    order = [rng.permutation(np.flatnonzero(buckets == bucket)) for bucket in np.unique(buckets)]
    test = np.concatenate([own[max(options.counts) :] for own in order])
    layout, design = PathFilter.load(file).layout, dict(PathFilter.load(file).design)
    settings = {"epochs": options.epochs, "margin": options.margin}
    for count in options.counts:
        seen = np.concatenate([own[:count] for own in order])
        known = tokens[seen], buckets[seen], losses[seen]
        for name, rate in ((WITHOUT, options.learning_rate), (WITH, options.fine_tuning_rate)):
            path_filter = PathFilter(layout, rng=rng, **design)
            if name == WITH:
                path_filter.start_from(file)
                yield count, ALONE, path_filter.score(tokens[test], buckets[test]), test
            fit(path_filter, *known, rng=rng, learning_rate=rate, **settings)
            yield count, name, path_filter.score(tokens[test], buckets[test]), test
        yield count, RIDGE, ridge_score(*known, tokens[test]), test


def interval(values: np.ndarray) -> str:
    """Mean and the half-width of its 95 % interval over the splits."""
    mean, low, _ = estimate(values)
    return f"{mean:.3f} ± {mean - low:.3f}"


def report(curve: dict[tuple[int, str], np.ndarray], counts: list[int]) -> str:
    """A line for each number of paths and ranker, and what pre-training brings on the same splits."""
    lines = [f"{'paths a bucket':16}{'ranker':26}{'in-bucket tau':>18}{'weakest-25 % precision':>26}"]
    for count in counts:
        rows = {name: curve[count, name] for name in (WITHOUT, WITH, ALONE, RIDGE)}
        rows["gain of pre-training"] = rows[WITH] - rows[WITHOUT]
        for name, figures in rows.items():
            tau, precision = (interval(column) for column in figures.T)
            lines.append(f"{count:<16}{name:26}{tau:>18}{precision:>26}")
    return "\n".join(lines)


# ---- losses without a run


def synthetic(correlation: float, n: int, options: argparse.Namespace, folder: Path) -> tuple[Path, Paths]:
    """A filter pre-trained on losses of one truth, and `n` paths a bucket measured by another correlated with it."""
    rng = np.random.default_rng(options.seed)
    space = SearchSpace.ofa_resnet50()
    cost = CostModel.flops(space, image_size=384, n_classes=20)
    budgets = Budgets.equal_width(cost)
    n_before = options.pretraining_paths

    def draw(size: int) -> np.ndarray:
        return np.concatenate(budgets.sample(space, cost, size, rng))

    paths = np.concatenate([draw(n_before), draw(n)])
    tokens, buckets = space.tokenize(paths), budgets.bucket(cost(paths))
    own, other = (truth(tokens, buckets, options.additive, rng) for _ in range(2))
    detection = correlation * own + np.sqrt(1 - correlation**2) * other
    noise = options.noise * rng.standard_normal((2, len(paths)))
    before, after = slice(0, n_before * len(budgets)), slice(n_before * len(budgets), None)
    sizes = {"dim": options.dim, "hidden": options.dim, "layers": options.layers}
    path_filter = PathFilter(space.token_layout(), len(budgets), rng=rng, main_effects=options.main_effects, **sizes)
    known = tokens[before], buckets[before], (own + noise[0])[before]
    settings = {"epochs": options.epochs, "learning_rate": options.learning_rate, "margin": options.margin}
    fit(path_filter, *known, rng=rng, **settings)
    path_filter.save(folder / "path_filter.h5", space=space.family.to_dict())
    return folder / "path_filter.h5", Paths(
        tokens[after], buckets[after], (detection + noise[1])[after], detection[after]
    )


def truth(tokens: np.ndarray, buckets: np.ndarray, additive: float, rng: np.random.Generator) -> np.ndarray:
    """Losses (n,) of mean 0 and deviation 1 in each bucket; choices one by one are the `additive` share of variance."""
    vocabulary, where = int(tokens.max()) + 1, np.arange(tokens.shape[1])
    single = rng.standard_normal((tokens.shape[1], vocabulary))[where, tokens].sum(axis=1)
    first, second = (rng.standard_normal((tokens.shape[1], vocabulary, 4))[where, tokens] for _ in range(2))
    pairs = np.einsum("nid,njd->n", first, second) - np.einsum("nid,nid->n", first, second)
    share = np.sqrt(additive)
    return share * standardised(single, buckets) + np.sqrt(1 - additive) * standardised(pairs, buckets)


def standardised(values: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 in each bucket."""
    values = values.astype(np.float64)
    for bucket in np.unique(buckets):
        own = buckets == bucket
        values[own] = (values[own] - values[own].mean()) / values[own].std()
    return values


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The options of the command, those that do not fit together refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", type=Path, help="path_filter.h5 of the pre-training run")
    parser.add_argument("--paths", type=Path, help="paths_final.csv of the detection run")
    parser.add_argument("--again", type=Path, help="the same paths measured on other images")
    parser.add_argument("--synthetic", type=float, metavar="CORRELATION", help="of the two truths, in [0, 1]")
    parser.add_argument("--counts", type=int, nargs="+", default=[25, 50, 100, 200], help="measured paths a bucket")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--margin", type=float, default=1.0)
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="from fresh weights")
    parser.add_argument("--fine-tuning-rate", type=float, default=3e-4, help="from pre-trained weights")
    own = parser.add_argument_group("with --synthetic")
    own.add_argument("--pretraining-paths", type=int, default=400, help="a bucket")
    own.add_argument("--held-out", type=int, default=100, help="a bucket")
    own.add_argument("--additive", type=float, default=0.7, help="share of the variance that is one choice's alone")
    own.add_argument("--noise", type=float, default=0.5, help="of a measurement, in deviations of the truth")
    own.add_argument("--main-effects", action="store_true", help="as path_filter.network.main_effects")
    own.add_argument("--dim", type=int, default=128, help="of the filter, as its hidden layers'")
    own.add_argument("--layers", type=int, default=3, help="of the filter")
    own.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(given)
    if (options.synthetic is None) == (options.filter is None or options.paths is None):
        parser.error("give --filter and --paths, or --synthetic")
    return options


def main(given: list[str] | None = None) -> None:
    options = arguments(given)
    with tempfile.TemporaryDirectory() as name:
        if options.synthetic is None:
            file, paths = options.filter, read_paths(options.filter, options.paths, options.again)
        else:
            n = max(options.counts) + options.held_out
            file, paths = synthetic(options.synthetic, n, options, Path(name))
        fewest = np.bincount(paths.buckets)[np.unique(paths.buckets)].min()
        options.counts = [count for count in sorted(options.counts) if count + 4 <= fewest]
        if not options.counts:
            raise SystemExit(f"a bucket has {fewest} measured paths; some must be left to be ranked")
        curve = learning_curve(file, paths, options)
    print(f"{len(paths.losses)} measured paths, {fewest} in the smallest bucket; {options.splits} splits, mean ± 95 %")
    print(report(curve, options.counts))


if __name__ == "__main__":
    main()
