"""How many paths to measure, and on how many images: the same for every path, or each path's own (Algorithm 1, line 3).

    OMP_NUM_THREADS=1 python -m experiments.images_per_path --run log/detofa_demo --out log/images [--seconds 280]
    ... --run log/detofa_letters --sizes 28 112 448 --sets 3 --measured 20

On the supernet of a finished run on generated pictures. Some paths of every bucket are measured by our `PathMeasurer`
on disjoint sets of pictures; a third of a set re-estimates the BN statistics. The same losses then tell both ways:

- same images: every path by its loss on one set, as we do;
- own images: neighbouring paths of a bucket by their losses on different sets, as where a loader goes on from path to
  path.

The truth are losses on many other pictures. What is reported is the in-bucket tau of the measured losses, and tau and
weakest-25 % precision, on paths that were not measured, of path filters and ridge regressions fitted to them: by images
a path, and by paths of a bucket. All pictures are drawn for this, with another seed than the run's. --seconds measures
in pieces: the same command goes on.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.measured_tables import basis_of
from experiments.rebuilt_run import RebuiltRun
from nnabla_detofa.errors import ConfigError
from nnabla_detofa.path_filter import PathFilter, evaluate, fit, ridge_score
from nnabla_detofa.report.compared_methods import students_t
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.storage import NumberTable
from nnabla_detofa.storage.files import read_json
from nnabla_detofa.supernet import load_weights
from nnabla_detofa.training.measuring import PathMeasurer

TRUTH = (384, 1024)  # BN and validation images
BATCH = 64
COLUMNS = ("images", "set", "path", "loss")
SEED = 1  # of pictures and paths; the demo's is 0
FIGURES = ("kendall_tau", "precision")
# measured losses (n,), which paths they are of (all paths,), seed -> scores of the unseen paths
Score = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


class Design(NamedTuple):
    """The numbers of what is measured.

    sizes: images for a path (BN and validation). sets: of each size. measured, unseen: paths of a bucket.
    """

    sizes: tuple[int, ...] = (12, 36, 108, 324)
    sets: int = 10
    measured: int = 10
    unseen: int = 8

    @property
    def images(self) -> int:
        """The number of pictures that are drawn."""
        return sum(TRUTH) + self.sets * sum(self.sizes)

    @property
    def counts(self) -> list[int]:
        """Of measured paths of a bucket, all of them last."""
        return [n for n in (self.measured // 4, self.measured // 2, self.measured) if n > 1]


class Paths(NamedTuple):
    """paths (n, genes), bucket (n,) and rank (n,) inside it: 0 … measured - 1, the others unseen."""

    paths: np.ndarray
    bucket: np.ndarray
    rank: np.ndarray


class Run(RebuiltRun):
    """Its supernet, and pictures like its own."""

    def __init__(self, folder: Path, pictures: Path, design: Design) -> None:
        super().__init__(folder)
        load_weights(self.network, folder / "weights.h5")
        self.design = design
        numbers = {"n_train": design.images, "n_test": 1, "seed": SEED}
        self._loader = self.loader(BATCH, training=True, generated=numbers, held_out=0, seed=SEED, root=pictures)
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
            chosen.append(rng.permutation(np.unique(drawn, axis=0))[: self.design.measured + self.design.unseen])
        rank = np.concatenate([np.arange(len(each)) for each in chosen])
        return Paths(np.concatenate(chosen), np.repeat(np.arange(len(chosen)), [len(each) for each in chosen]), rank)

    def measurer_from(self, first: int, bn_images: int, validation_images: int) -> PathMeasurer:
        """Measures on the pictures from `first` on."""
        middle = first + bn_images
        bn, validation = range(first, middle), range(middle, middle + validation_images)
        return self.measurer((self._loader, bn), (self._loader, validation))


def measurements(run: Run, paths: Paths, design: Design) -> Iterator[tuple[int, int, PathMeasurer, np.ndarray]]:
    """(images, set, its measurer, which paths): the truth of all paths, and every set of every size."""
    yield sum(TRUTH), 0, run.measurer_from(0, *TRUTH), np.arange(len(paths.rank))
    first = sum(TRUTH)
    for images in design.sizes:
        for number in range(design.sets):
            bn_images = images // 3
            measurer = run.measurer_from(first, bn_images, images - bn_images)
            yield images, number, measurer, np.flatnonzero(paths.rank < design.measured)
            first += images


def measure(run: Run, paths: Paths, design: Design, table: NumberTable, seconds: float) -> bool:
    """Add what the table lacks, for some seconds; whether it is complete. ConfigError where it has other rows."""
    known, end, row = table.read(), time.monotonic() + seconds, 0
    if not len(known):
        table.start([])
    for images, number, measurer, chosen in measurements(run, paths, design):
        for path in chosen:
            if row < len(known):
                if known[row, :-1].tolist() != [images, number, path]:
                    raise ConfigError(
                        "losses.csv is of other --sizes, --sets, --measured or --unseen: take another --out"
                    )
            else:
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
    """Rankers that are fitted to the measured paths' losses and score the unseen ones."""
    space, options = run.network.space, run.filter_options
    tokens, buckets = space.tokenize(paths.paths), paths.bucket
    unseen, basis = paths.rank >= run.design.measured, basis_of(space, paths.paths)

    def path_filter(losses: np.ndarray, seen: np.ndarray, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        one = PathFilter(space.token_layout(), int(buckets.max()) + 1, rng=rng, **options["network"])
        fit(one, tokens[seen], buckets[seen], losses, rng=rng, **options["fit"])
        return one.score(tokens[unseen], buckets[unseen])

    def ridge(losses: np.ndarray, seen: np.ndarray, seed: int) -> np.ndarray:  # noqa: ARG001
        return ridge_score(tokens[seen], buckets[seen], losses, tokens[unseen])

    def ridge_on_genes(losses: np.ndarray, seen: np.ndarray, seed: int) -> np.ndarray:  # noqa: ARG001
        return ridge_score(tokens[seen], buckets[seen], losses, tokens[unseen], basis)

    return {"path filter": path_filter, "ridge": ridge, "ridge on genes": ridge_on_genes}


@dataclass(frozen=True)
class Judge:
    """Judges measured losses, and rankers that are fitted to them, by losses on many other pictures."""

    design: Design
    paths: Paths
    rows: np.ndarray
    scorers: dict[str, Score]

    @cached_property
    def truth(self) -> np.ndarray:
        return losses_of(self.rows, sum(TRUTH), self.paths)[0]

    def figures(self, losses: np.ndarray, seen: np.ndarray, seed: int) -> list[float]:
        """In-bucket tau of the losses of `seen` paths, then tau and precision of each ranker on the unseen paths."""
        truth, bucket, unseen = self.truth, self.paths.bucket, self.paths.rank >= self.design.measured
        found = [evaluate(-losses, truth[seen], bucket[seen])["kendall_tau"]]
        for score in self.scorers.values():
            judged = evaluate(score(losses, seen, seed), truth[unseen], bucket[unseen])
            found += [judged[name] for name in FIGURES]
        return found

    def by_images(self) -> dict[str, np.ndarray]:
        """Figures of both ways, (sizes, repetitions, figures), and of the truth itself, (1, 1, figures)."""
        seen, sets = self.paths.rank < self.design.measured, self.design.sets
        rank, columns = self.paths.rank[seen], np.arange(np.count_nonzero(seen))
        own: list = []
        for images in self.design.sizes:
            losses = losses_of(self.rows, images, self.paths)[:, seen]
            repeated = [losses[(rank + shift) % sets, columns] for shift in range(sets)]
            own.append([self.figures(one, seen, seed) for seed, one in enumerate(repeated)])
        truth = np.array([[self.figures(self.truth[seen], seen, 0)]])
        return {"same images": self._of_all, "own images": np.array(own), "the truth": truth}

    def by_paths(self) -> dict[int, np.ndarray]:
        """Figures on the same images by how many paths of a bucket are seen, (sizes, repetitions, figures)."""
        *fewer, all_ = self.design.counts
        return {count: self._same_images(count) for count in fewer} | {all_: self._of_all}

    @cached_property
    def _of_all(self) -> np.ndarray:
        return self._same_images(self.design.measured)

    def _same_images(self, count: int) -> np.ndarray:
        """Where so many paths of a bucket are seen, by a set after the other."""
        seen = self.paths.rank < count
        each = [losses_of(self.rows, images, self.paths)[:, seen] for images in self.design.sizes]
        return np.array([[self.figures(one, seen, seed) for seed, one in enumerate(sets)] for sets in each])


def table(design: Design, found: dict[str, np.ndarray], names: Iterable[str]) -> list[str]:
    """Lines of a Markdown table: means over the repetitions, with 95 % intervals by Student's t.

    These are of the images alone: paths and truth are the same in all rows. Repetitions of own images share losses.
    """
    titles = ["tau of the losses", *(f"{r}: {f}" for r in names for f in ("tau", "precision"))]
    lines = [f"| images a path | way | {' | '.join(titles)} |", "|---:|---" + "|---:" * len(titles) + "|"]
    for way, values in found.items():
        for images, each in zip([sum(TRUTH)] if way == "the truth" else design.sizes, values, strict=True):
            lines.append(f"| {images} | {way} | {' | '.join(_cells(each))} |")
    return lines


def table_by_paths(design: Design, found: dict[int, np.ndarray], names: Iterable[str]) -> list[str]:
    """As `table`, of tau alone, a line for each number of paths and of images."""
    lines = [f"| paths a bucket | images a path | {' | '.join(f'{r}: tau' for r in names)} |"]
    lines.append("|---:" * lines[0].count("|", 1) + "|")
    for count, values in found.items():
        for images, each in zip(design.sizes, values, strict=True):
            lines.append(f"| {count} | {images} | {' | '.join(_cells(each)[1::2])} |")
    return lines


def _cells(each: np.ndarray) -> list[str]:
    """A mean for each column of figures (repetitions, figures), with its interval where there are several."""
    if len(each) == 1:
        return [f"{value:.3f}" for value in each[0]]
    mean, _, high = students_t(each)
    return [f"{value:.3f} ± {end - value:.3f}" for value, end in zip(mean, high, strict=True)]


def fewer_images(design: Design, found: dict[str, np.ndarray]) -> list[str]:
    """For each figure and size: on how many same images it is as good as on that many own ones (log-linear)."""
    same, own = (found[way].mean(axis=1) for way in ("same images", "own images"))
    lines = []
    names = ["tau of the losses", "path filter's tau", "path filter's precision"]
    for column, name in enumerate(names[: same.shape[1]]):
        rising = np.maximum.accumulate(same[:, column])
        told = []
        for images, value in zip(design.sizes, own[:, column], strict=True):
            equal = np.exp(np.interp(value, rising, np.log(design.sizes)))
            told.append(f"{images} own = {'at most ' if value <= rising[0] else ''}{equal:.0f} same")
        lines.append(f"{name}: {', '.join(told)}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the folder of a finished run on generated pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder for pictures and measured losses")
    parser.add_argument(
        "--seconds", type=float, default=np.inf, help="measure so long at most, then go on another time"
    )
    given = Design()
    parser.add_argument("--sizes", type=int, nargs="+", default=given.sizes, help="images a path, rising")
    for name in ("sets", "measured", "unseen"):
        parser.add_argument(f"--{name}", type=int, default=getattr(given, name))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    design = Design(tuple(options.sizes), options.sets, options.measured, options.unseen)
    run = Run(options.run, options.out / "pictures", design)
    paths, losses = run.draw_paths(), NumberTable(options.out / "losses.csv", COLUMNS)
    if not measure(run, paths, design, losses, options.seconds):
        print(f"{len(losses.read())} losses measured; run again to go on")
        return
    judge = Judge(design, paths, losses.read(), rankers(run, paths))
    found, names = judge.by_images(), [*judge.scorers]
    print("\n".join([*table(design, found, names), "", *fewer_images(design, found), ""]))
    print("\n".join(table_by_paths(design, judge.by_paths(), names)))


if __name__ == "__main__":
    main()
