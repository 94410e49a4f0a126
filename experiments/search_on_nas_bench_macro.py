"""Evaluations that the search needs where the truth is known: NAS-Bench-Macro's table as the score (Section 3.3).

    OMP_NUM_THREADS=1 python experiments/search_on_nas_bench_macro.py --table nas_bench_macro.csv

The table has every chain of eight layers with three choices each: path, flops, mean_acc. A skip (0) behind the first
layer of a stage is no layer, so chains that differ in where such skips stand are one network (their rows are equal);
the space here holds each network once, skips last, as our search spaces do. Ten budgets divide the range of FLOPs
equally. `evolve`, regularised evolution and random search each look for the most accurate network under a budget; what
counts is how many distinct networks they have looked up when they meet it.
"""

import argparse
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nnabla_detofa.errors import SpaceError
from nnabla_detofa.report.compared_methods import students_t
from nnabla_detofa.search import evolve
from nnabla_detofa.space import Budgets
from nnabla_detofa.storage.tables import read_rows

LAYERS, CHOICES = 8, 3
COMMUTING = (slice(3, 5), slice(6, 8))  # behind the first layer of the second and of the third stage
STEPS = 20_000  # after which regularised evolution gives up


class Macro:
    """The networks of the table, (n, 8) int8: a `Space` and a `Cost` for `evolve`."""

    def __init__(self, chains: np.ndarray, flops: np.ndarray, accuracy: np.ndarray) -> None:
        order = np.argsort(self._code(chains))
        self._flops, self._accuracy = flops[order], accuracy[order]
        for column in (self._flops, self._accuracy):
            if (
                len(column) != CHOICES**LAYERS
                or (column[self._code(canonical(chains))] != column[self._code(chains)]).any()
            ):
                raise SystemExit("the table must hold each chain once, and equal networks with equal figures")
        self.paths = np.unique(canonical(chains), axis=0)

    @classmethod
    def read(cls, file: Path) -> "Macro":
        rows = read_rows(file)
        chains = np.array([list(row["path"]) for row in rows], np.int8)
        return cls(chains, *(np.array([float(row[name]) for row in rows]) for name in ("flops", "mean_acc")))

    @staticmethod
    def _code(paths: np.ndarray) -> np.ndarray:
        return paths @ CHOICES ** np.arange(LAYERS)[::-1]

    def __call__(self, paths: np.ndarray) -> np.ndarray:
        """FLOPs."""
        return self._flops[self._code(paths)]

    def accuracy(self, paths: np.ndarray) -> np.ndarray:
        return self._accuracy[self._code(paths)]

    def range(self, space: "Macro") -> tuple[float, float]:  # noqa: ARG002
        return self._flops.min(), self._flops.max()

    def inside(self, low: float, high: float) -> np.ndarray:
        """Every network with low <= FLOPs < high."""
        flops = self(self.paths)
        return self.paths[(flops >= low) & (flops < high)]

    def sample(self, n: int, rng: np.random.Generator, *, cost: "Macro", low: float, high: float) -> np.ndarray:  # noqa: ARG002
        inside = self.inside(low, high)
        if not len(inside):
            raise SpaceError(f"no network of the table has {low:,.0f} to {high:,.0f} FLOPs")
        return rng.choice(inside, n)

    def mutate(self, paths: np.ndarray, rng: np.random.Generator, probability: float) -> np.ndarray:
        redrawn = rng.integers(CHOICES, size=paths.shape, dtype=np.int8)
        return canonical(np.where(rng.random(paths.shape) < probability, redrawn, paths))

    def crossover(self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return canonical(np.where(rng.random(first.shape) < 0.5, first, second))


def canonical(chains: np.ndarray) -> np.ndarray:
    """The chains (n, 8) with the skips that may stand anywhere in their stage behind its other layers."""
    chains = chains.copy()
    for stage in COMMUTING:
        order = np.argsort(chains[:, stage] == 0, axis=1, kind="stable")
        chains[:, stage] = np.take_along_axis(chains[:, stage], order, axis=1)
    return chains


# Gives the networks that it looks up, (n, 8) at a time, among those of low <= FLOPs < high, until it ends.
Search = Callable[[Macro, float, float, np.random.Generator], Iterator[np.ndarray]]


def random_search(space: Macro, low: float, high: float, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Every network of the range in random order, none twice."""
    yield rng.permutation(space.inside(low, high))


def regularised_evolution(population: int) -> Search:
    """Real et al., 2019: the best of a random quarter gets a child with one layer changed, and the oldest dies."""

    def search(space: Macro, low: float, high: float, rng: np.random.Generator) -> Iterator[np.ndarray]:
        living = deque(space.sample(population, rng, cost=space, low=low, high=high))
        yield np.array(living)
        for _ in range(STEPS):
            some = np.array(living)[rng.integers(population, size=population // 4)]
            child, layer = some[[space.accuracy(some).argmax()]], rng.integers(LAYERS)
            child[0, layer] = (child[0, layer] + rng.integers(1, CHOICES)) % CHOICES
            child = canonical(child)
            if low <= space(child)[0] < high:  # the others are neither looked up nor counted
                yield child
                living.popleft()
                living.append(child[0])

    return search


def evaluations(search: Search, space: Macro, low: float, high: float, seed: int) -> float:
    """Distinct networks that a search had looked up when it met the best of the range; nan where it never did."""
    best, met = space.accuracy(space.inside(low, high)).max(), set()
    for paths in search(space, low, high, np.random.default_rng(seed)):
        for path, accuracy in zip(paths, space.accuracy(paths), strict=True):
            met.add(path.tobytes())
            if accuracy == best:
                return len(met)
    return np.nan


def evaluations_of_evolve(space: Macro, budgets: Budgets, limits: Sequence[float], seed: int, population: int) -> float:
    """As `evaluations`, of one call of `evolve`: until the best under every limit was met; nan for any regret."""
    met: list[np.ndarray] = []

    def score(paths: np.ndarray) -> np.ndarray:
        met.append(paths)
        return space.accuracy(paths)

    rng = np.random.default_rng(seed)
    found = evolve(space, score, space, limits, budgets=budgets, rng=rng, population=population)
    numbers = {path.tobytes(): number for number, path in enumerate(np.concatenate(met), 1)}
    for one in found:
        low, high = budgets.edges[one.bucket], np.nextafter(one.limit, np.inf)
        if one.score < space.accuracy(space.inside(low, high)).max():
            return np.nan
    return max(numbers[one.path.tobytes()] for one in found)


def cell(counts: Sequence[float]) -> str:
    """Mean over the searches that met the best, its 95 % interval, and how many never did."""
    met = np.array([count for count in counts if np.isfinite(count)])
    if not len(met):
        return "never"
    half = f" ± {met.mean() - students_t(met).low:.0f}" if len(met) > 1 else ""
    return f"{met.mean():.0f}{half}" + (f", {len(counts) - len(met)} never" if len(met) < len(counts) else "")


def table(space: Macro, budgets: Budgets, limits: Sequence[float], populations: Sequence[int], seeds: int) -> list[str]:
    """Lines of a Markdown table: each limit alone and, for `evolve`, all of them in one call."""
    peers = {f"regularised, {n}": regularised_evolution(n) for n in populations} | {"random": random_search}
    names = ["limit, MFLOPs", "networks", "best, %", *(f"evolve, {n}" for n in populations), *peers]
    lines = [f"| {' | '.join(names)} |", "|---:" * len(names) + "|"]
    for limit in limits:
        low, high = budgets.range(int(np.searchsorted(budgets.edges[1:-1], limit)))
        high = min(high, np.nextafter(limit, np.inf))
        inside = space.inside(low, high)
        ours = [[evaluations_of_evolve(space, budgets, [limit], seed, n) for seed in range(seeds)] for n in populations]
        others = [[evaluations(peer, space, low, high, seed) for seed in range(seeds)] for peer in peers.values()]
        cells = [f"{limit / 1e6:.1f}", len(inside), f"{space.accuracy(inside).max():.2f}", *map(cell, [*ours, *others])]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    together = [[evaluations_of_evolve(space, budgets, limits, seed, n) for seed in range(seeds)] for n in populations]
    cells = [f"all {len(limits)} in one call", "", "", *map(cell, together), *[""] * len(peers)]
    return [*lines, f"| {' | '.join(cells)} |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="the CSV file")
    parser.add_argument("--limits", type=int, default=10, help="number of budgets")
    parser.add_argument("--seeds", type=int, default=20, help="number of searches under each")
    parser.add_argument("--populations", type=int, nargs="+", default=[100, 20])
    parser.add_argument("--bounded", action="store_true", help="search the bucket of each budget, as DetOFA does")
    options = parser.parse_args()
    space, start = Macro.read(options.table), time.perf_counter()
    edges = np.linspace(*space.range(space), options.limits + 1)
    budgets = Budgets(edges if options.bounded else edges[[0, -1]])
    print(f"{len(space.paths)} networks, {options.seeds} seeds")
    print("\n".join(table(space, budgets, edges[1:], options.populations, options.seeds)))
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
