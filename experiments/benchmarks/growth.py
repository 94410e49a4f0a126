"""Growth of our times: with width, image size, budgets, paths and workers."""

from collections.abc import Callable
from typing import NamedTuple

from .genotypes import genotypes
from .paired_timing import Workload, alternate


class Curve(NamedTuple):
    """A small table: `values` (in `unit`) for each of `points`."""

    title: str
    unit: str
    points: list[str]
    values: list[float]


def _steps(settings: list[tuple[int, float]], repetitions: int) -> list[float]:
    return alternate(
        [
            Workload(
                "workloads.supernet",
                "backbone",
                {"size": size, "width_scale": width, "genotypes": genotypes(8, width)},
            )
            for size, width in settings
        ],
        repetitions,
    )


def step_by_size(repetitions: int) -> Curve:
    sizes = [64, 96, 128, 224]
    times = _steps([(size, 1.0) for size in sizes], repetitions)
    return Curve("Step by image size, full width, batch 8", "s", [f"{size} px" for size in sizes], times)


def step_by_width(repetitions: int) -> Curve:
    widths = [0.25, 0.5, 1.0]
    times = _steps([(128, width) for width in widths], repetitions)
    return Curve("Step by width, 128 px, batch 8", "s", [f"× {width}" for width in widths], times)


def search_by_budgets(repetitions: int) -> Curve:
    counts, generations = [1, 2, 5], 50
    tasks = [Workload("workloads.paths", "search", {"n_limits": n, "generations": generations}) for n in counts]
    times = alternate(tasks, min(repetitions, 3))
    whole = [n * generations * time for n, time in zip(counts, times, strict=True)]
    return Curve(f"Search of {generations} generations by budgets at once", "s", [str(n) for n in counts], whole)


def score_by_paths(repetitions: int) -> Curve:
    counts = [1, 10, 100, 1000, 10_000]
    times = alternate([Workload("workloads.paths", "score", {"n": n, "batch": n}) for n in counts], repetitions)
    return Curve(
        "Scores by paths in one call, one thread", "paths/s", [f"{n:,}" for n in counts], [1 / t for t in times]
    )


def loader_by_workers(repetitions: int) -> Curve:
    workers = [0, 1, 2]
    times = alternate([Workload("workloads.images", "loader", {"n": 64, "workers": n}) for n in workers], repetitions)
    return Curve("Loader by workers, 512 px", "images/s", [str(n) for n in workers], [1 / time for time in times])


CURVES: list[Callable[[int], Curve]] = [
    step_by_size,
    step_by_width,
    search_by_budgets,
    score_by_paths,
    loader_by_workers,
]
