"""How many images it takes to measure a path: the same images for every path, or each path's own (Algorithm 1, line 3).

    OMP_NUM_THREADS=1 python -m experiments.images_per_path --run log/detofa_demo --out log/images [--seconds 280]

On the supernet of a finished run of `conf/detofa_demo.yaml`. Some paths of every bucket are measured by our
`PathMeasurer` on as many disjoint sets of pictures as there are paths in a bucket; a third of a set re-estimates the BN
statistics. The same losses then tell both ways:

- same images: every path by its loss on one set, as we do;
- own images: every path of a bucket by its loss on another set, as where a loader goes on from path to path.

The truth are losses on many other pictures. What is reported is the in-bucket tau of the measured losses, and tau and
weakest-25 % precision, on paths that were not measured, of path filters and ridge regressions fitted to them. All
pictures are drawn for this, with another seed than the run's. --seconds measures in pieces: the same command goes on.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.finished_run import FinishedRun
from nnabla_detofa.path_filter import PathFilter, evaluate, fit, ridge_score
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.storage import NumberTable
from nnabla_detofa.storage.files import read_json
from nnabla_detofa.supernet import load_weights
from nnabla_detofa.training.measuring import PathMeasurer

SIZES = (12, 36, 108, 324)  # images for a path: BN and validation
SETS = 10  # of each size, and as many measured paths in a bucket
UNSEEN = 8  # other paths of a bucket
TRUTH = (384, 1024)  # BN and validation images
BATCH = 64
COLUMNS = ("images", "set", "path", "loss")
SEED = 1  # of pictures and paths; the demo's is 0
FIGURES = ("kendall_tau", "precision")
Score = Callable[[np.ndarray, int], np.ndarray]  # measured losses (n,), seed -> scores of the unseen paths


class Paths(NamedTuple):
    """paths (n, genes), bucket (n,) and rank (n,) inside it: 0 … SETS - 1 are measured, the others unseen."""

    paths: np.ndarray
    bucket: np.ndarray
    rank: np.ndarray


class Run(FinishedRun):
    """Its supernet, and pictures like its own."""

    def __init__(self, folder: Path, pictures: Path) -> None:
        super().__init__(folder)
        load_weights(self.network, folder / "weights.h5")
        numbers = {"n_train": sum(TRUTH) + SETS * sum(SIZES), "n_test": 1}
        self._loader = self.loader(BATCH, training=True, held_out=0, seed=SEED, root=pictures, generate=numbers)
        self._space = SearchSpace.from_dict(read_json(folder / "pruned_space.json"), within=self.network.space)

    @property
    def filter_options(self) -> dict[str, Any]:
        """The run's own "network" and "fit" of the path filter."""
        return self.stages["path_filter_final"]["inputs"]

    def draw_paths(self) -> Paths:
        """Different paths of every bucket of the pruned space, in random order."""
        rng, chosen = np.random.default_rng(SEED), []
        for bucket in range(len(self.budgets)):
            (drawn,) = self.budgets.sample(self._space, self.cost, 1000, rng, [bucket])
            chosen.append(rng.permutation(np.unique(drawn, axis=0))[: SETS + UNSEEN])
        rank = np.concatenate([np.arange(len(each)) for each in chosen])
        return Paths(np.concatenate(chosen), np.repeat(np.arange(len(chosen)), [len(each) for each in chosen]), rank)

    def measurer_from(self, first: int, bn_images: int, validation_images: int) -> PathMeasurer:
        """Measures on the pictures from `first` on."""
        middle = first + bn_images
        bn, validation = range(first, middle), range(middle, middle + validation_images)
        return self.measurer((self._loader, bn), (self._loader, validation))


def measurements(run: Run, paths: Paths) -> Iterator[tuple[int, int, PathMeasurer, np.ndarray]]:
    """(images, set, its measurer, which paths): the truth of all paths, and every set of every size."""
    yield sum(TRUTH), 0, run.measurer_from(0, *TRUTH), np.arange(len(paths.rank))
    first = sum(TRUTH)
    for images in SIZES:
        for number in range(SETS):
            bn_images = images // 3
            measurer = run.measurer_from(first, bn_images, images - bn_images)
            yield images, number, measurer, np.flatnonzero(paths.rank < SETS)
            first += images


def measure(run: Run, paths: Paths, table: NumberTable, seconds: float) -> bool:
    """Add what the table lacks, for some seconds; whether it is complete."""
    done, end, row = len(table.read()), time.monotonic() + seconds, 0
    if not done:
        table.start([])
    for images, number, measurer, chosen in measurements(run, paths):
        for path in chosen:
            if row >= done:
                if time.monotonic() > end:
                    return False
                table.append([(images, number, path, measurer.loss(paths.paths[path]))])
            row += 1
    return True


def losses_of(rows: np.ndarray, images: int, paths: Paths) -> np.ndarray:
    """Losses on each set of a size, (sets, paths); nan where a path was not measured."""
    rows = rows[rows[:, 0] == images]
    losses = np.full((int(rows[:, 1].max()) + 1, len(paths.rank)), np.nan)
    losses[rows[:, 1].astype(int), rows[:, 2].astype(int)] = rows[:, 3]
    return losses


def rankers(run: Run, paths: Paths) -> dict[str, Score]:
    """What is fitted to the measured paths' losses and scores the others."""
    tokens, options = run.network.space.tokenize(paths.paths), run.filter_options
    seen, buckets = paths.rank < SETS, paths.bucket

    def path_filter(losses: np.ndarray, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        one = PathFilter(run.network.space.token_layout(), int(buckets.max()) + 1, rng=rng, **options["network"])
        fit(one, tokens[seen], buckets[seen], losses, rng=rng, **options["fit"])
        return one.score(tokens[~seen], buckets[~seen])

    def ridge(losses: np.ndarray, seed: int) -> np.ndarray:  # noqa: ARG001
        return ridge_score(tokens[seen], buckets[seen], losses, tokens[~seen])

    return {"path filter": path_filter, "ridge regression": ridge}


def figures(losses: np.ndarray, truth: np.ndarray, paths: Paths, scorers: dict[str, Score], seed: int) -> list[float]:
    """In-bucket tau of the measured losses, then tau and precision of each ranker on the unseen paths."""
    seen = paths.rank < SETS
    found = [evaluate(-losses, truth[seen], paths.bucket[seen])["kendall_tau"]]
    for score in scorers.values():
        judged = evaluate(score(losses, seed), truth[~seen], paths.bucket[~seen])
        found += [judged[name] for name in FIGURES]
    return found


def curves(scorers: dict[str, Score], paths: Paths, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of both ways, (sizes, repetitions, figures), and of the truth itself, (1, 1, figures)."""
    seen, truth = paths.rank < SETS, losses_of(rows, sum(TRUTH), paths)[0]
    rank, columns = paths.rank[seen], np.arange(np.count_nonzero(seen))
    found: dict[str, list] = {"same images": [], "own images": []}
    for images in SIZES:
        losses = losses_of(rows, images, paths)[:, seen]
        for way, first in (("same images", np.zeros_like(rank)), ("own images", rank)):
            repeated = [losses[(first + shift) % SETS, columns] for shift in range(SETS)]
            found[way].append([figures(one, truth, paths, scorers, seed) for seed, one in enumerate(repeated)])
    ends = {"the truth": [[figures(truth[seen], truth, paths, scorers, 0)]]}
    return {way: np.array(values) for way, values in (found | ends).items()}


def table(found: dict[str, np.ndarray]) -> list[str]:
    """Lines of a Markdown table: means over the repetitions with their 95 % intervals (1.96 standard errors)."""
    names = ["tau of the losses", *(f"{r}: {f}" for r in ("path filter", "ridge") for f in ("tau", "precision"))]
    lines = [f"| images a path | way | {' | '.join(names)} |", "|---:|---" + "|---:" * len(names) + "|"]
    for way, values in found.items():
        for images, each in zip(SIZES if len(values) > 1 else [sum(TRUTH)], values, strict=True):
            half = 1.96 * each.std(axis=0, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else None
            cells = [
                f"{mean:.3f}" + (f" ± {half[i]:.3f}" if half is not None else "")
                for i, mean in enumerate(each.mean(axis=0))
            ]
            lines.append(f"| {images} | {way} | {' | '.join(cells)} |")
    return lines


def fewer_images(found: dict[str, np.ndarray]) -> list[str]:
    """For each figure and size: on how many same images it is as good as on that many own ones (log-linear)."""
    same, own = (found[way].mean(axis=1) for way in ("same images", "own images"))
    lines = []
    names = ["tau of the losses", "path filter's tau", "path filter's precision"]
    for column, name in enumerate(names[: same.shape[1]]):
        rising = np.maximum.accumulate(same[:, column])
        told = []
        for images, value in zip(SIZES, own[:, column], strict=True):
            equal = np.exp(np.interp(value, rising, np.log(SIZES)))
            told.append(f"{images} own = {'at most ' if value <= rising[0] else ''}{equal:.0f} same")
        lines.append(f"{name}: {', '.join(told)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the folder of a finished run of the demo")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and measured losses")
    parser.add_argument(
        "--seconds", type=float, default=np.inf, help="measure so long at most, then go on another time"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    run = Run(options.run, options.out / "pictures")
    paths, losses = run.draw_paths(), NumberTable(options.out / "losses.csv", COLUMNS)
    if not measure(run, paths, losses, options.seconds):
        print(f"{len(losses.read())} losses measured; run again to go on")
        return
    found = curves(rankers(run, paths), paths, losses.read())
    print("\n".join([*table(found), "", *fewer_images(found)]))


if __name__ == "__main__":
    main()
