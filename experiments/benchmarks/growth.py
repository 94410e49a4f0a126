"""Growth of our times and of our memory, with all that a run can have more of."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .genotypes import genotypes
from .paired_timing import Workload, measured

SIZES = [64, 128, 224]


class Curve(NamedTuple):
    """A line of a table: seconds and megabytes at each of `points`, and the exponents of their growth.

    title: the work, and of what the points are. megabytes: at most in a run, more than its imports took.
    """

    title: str
    points: list[float]
    seconds: list[float]
    megabytes: list[float]

    @property
    def exponents(self) -> tuple[float, float]:
        """Those of seconds and of megabytes: 1 doubles with the points, 0 stays."""
        return exponent(self.points, self.seconds), exponent(self.points, self.megabytes)


def exponent(points: Sequence[float], values: Sequence[float]) -> float:
    """The slope of a line through both in logarithms."""
    return float(np.polyfit(np.log(points), np.log(np.maximum(values, 1e-9)), 1)[0])


def _curve(title: str, points: list, tasks: list[Workload], repetitions: int, work: Sequence[float] = ()) -> Curve:
    """Of one task a point; `work` are its units in a call, where the seconds of a whole call are meant."""
    found = measured(tasks, repetitions)
    units = work or [1] * len(points)
    seconds = [one.seconds * n for one, n in zip(found, units, strict=True)]
    return Curve(title, points, seconds, [one.peak for one in found])


def _steps(title: str, points: list, options: list[dict], repetitions: int, name: str = "detector") -> Curve:
    """Steps of eight paths, of a detector at 64 px and batch 8 where the options do not say otherwise."""
    given = [{"size": 64, "genotypes": genotypes(8, one.get("width_scale", 1.0)), **one} for one in options]
    return _curve(title, points, [Workload("workloads.supernet", name, one) for one in given], repetitions)


def step_by_size(repetitions: int) -> Curve:
    return _steps("step of a detector, batch 8, by pixels a side", SIZES, [{"size": n} for n in SIZES], repetitions)


def step_by_width(repetitions: int) -> Curve:
    widths = [0.25, 0.5, 1.0]
    title = "step of a backbone, 128 px, batch 8, by width"
    return _steps(title, widths, [{"size": 128, "width_scale": n} for n in widths], repetitions, "backbone")


def step_by_images(repetitions: int) -> Curve:
    counts = [4, 8, 16, 32]
    return _steps("step of a detector, 64 px, by images", counts, [{"batch": n} for n in counts], repetitions)


def step_by_classes(repetitions: int) -> Curve:
    counts = [5, 20, 80]
    title = "step of a detector, 64 px, batch 8, by classes"
    return _steps(title, counts, [{"n_classes": n} for n in counts], repetitions)


def evaluation_by_size(repetitions: int) -> Curve:
    tasks = [Workload("workloads.evaluating", "evaluation", {"size": n, "batch": 8}) for n in SIZES]
    return _curve("boxes of a batch of 8 by the largest detector, by pixels a side", SIZES, tasks, repetitions)


def evaluation_by_images(repetitions: int) -> Curve:
    counts = [4, 8, 16, 32]
    tasks = [Workload("workloads.evaluating", "evaluation", {"size": 64, "batch": n}) for n in counts]
    return _curve("boxes of a batch by the largest detector, 64 px, by images", counts, tasks, repetitions)


def search_by_budgets(repetitions: int) -> Curve:
    counts, generations = [1, 2, 5], 20
    tasks = [Workload("workloads.paths", "search", {"n_limits": n, "generations": generations}) for n in counts]
    work = [n * generations for n in counts]
    return _curve(f"search of {generations} generations, by budgets at once", counts, tasks, min(repetitions, 3), work)


def search_by_space(repetitions: int) -> Curve:
    """Of blocks: the paper's space has up to 18, so its genes and tokens grow with them."""
    depths, generations = [[1, 1, 1, 1], [2, 2, 2, 2], [2, 2, 4, 2]], 20
    options = {"n_limits": 2, "generations": generations}
    tasks = [Workload("workloads.paths", "search", {**options, "base_depths": one}) for one in depths]
    title = f"search of {generations} generations under 2 budgets, by blocks of the space"
    blocks = [sum(one) + 2 * len(one) for one in depths]
    return _curve(title, blocks, tasks, min(repetitions, 3), [2 * generations] * len(depths))


def fit_by_paths(repetitions: int) -> Curve:
    counts = [250, 500, 1000, 2000]
    tasks = [Workload("workloads.paths", "fit", {"n": n, "epochs": 1}) for n in counts]
    return _curve("an epoch of the path filter's fit, one thread, by paths", counts, tasks, repetitions)


def score_by_paths(repetitions: int) -> Curve:
    counts = [10, 100, 1000, 10_000]
    tasks = [Workload("workloads.paths", "score", {"n": n, "batch": n}) for n in counts]
    return _curve("scores of paths in one call, one thread, by paths", counts, tasks, repetitions, counts)


def loader_by_images(repetitions: int) -> Curve:
    counts = [16, 32, 64]
    tasks = [Workload("workloads.images", "loader", {"n": n, "workers": 2}) for n in counts]
    return _curve("training images of 512 px, two threads, by images", counts, tasks, repetitions, counts)


CURVES: dict[str, Callable[[int], Curve]] = {
    f"growth_{curve.__name__}": curve
    for curve in (
        step_by_size,
        step_by_width,
        step_by_images,
        step_by_classes,
        evaluation_by_size,
        evaluation_by_images,
        search_by_budgets,
        search_by_space,
        fit_by_paths,
        score_by_paths,
        loader_by_images,
    )
}
