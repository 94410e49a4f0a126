"""Measuring many paths, shared by all processes, in tables that grow (Algorithm 1, line 3; Section 4.1)."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..detection import N_RESAMPLES, resampling
from ..errors import ConfigError, NumericError
from ..storage import Kept, MeasuredPaths, PathTable, Work
from .measuring import FixedImages, PathMeasurer, PathPreparer
from .path_statistics import Taken
from .run import Run

EVALUATION = "evaluation_bn_images"
# numbers of images below `path_filter`, and the part of the data that each is of
IMAGES = {"bn_images": "train", EVALUATION: "train", "validation_images": "valid"}
HELD_OUT = "held_out_ap"  # the figure that decides between paths of different buckets


def n_images(run: Run, key: str) -> int:
    """The images that `path_filter.KEY` asks for; where the data have fewer, as many as there are.

    Those of a ranking are half of them where there is a second measurement, whose images are others. ConfigError where
    that leaves none.
    """
    dataset, sets = run.data[IMAGES[key]].dataset, _image_sets(run, key)
    if there := len(dataset) // sets:
        return min(_asked(run, key), there)
    part = f"the {IMAGES[key]} part of {dataset.name} has"
    if not len(dataset):
        raise ConfigError(f"{part} no image, and path_filter.{key} asks for some; hold out more")
    raise ConfigError(
        f"{part} {len(dataset)} image, and path_filter.second_measurement asks for {sets} disjoint sets; leave it out"
        " or hold out more"
    )


def _asked(run: Run, key: str) -> int:
    return getattr(run.options.path_filter, key)


def _image_sets(run: Run, key: str) -> int:
    """Into how many disjoint sets the images are divided."""
    return 2 if run.options.path_filter.second_measurement and key != EVALUATION else 1


def say_fewer_images(run: Run) -> None:
    """A line for each number of images that the data do not have."""
    for key, split in IMAGES.items():
        if run.model.only is not None and key != EVALUATION:
            continue  # no path is ranked
        if (n := n_images(run, key)) < (asked := _asked(run, key)):
            dataset = run.data[split].dataset
            used = "which are all used" if _image_sets(run, key) == 1 else f"of which each measurement uses {n}"
            run.say(f"path_filter.{key} is {asked}; the {split} part of {dataset.name} has {len(dataset)}, {used}")


def measurer(run: Run, part: int = 0) -> PathMeasurer:
    """Measures paths on the `part`-th disjoint set of validation images, and of those for BN re-estimation."""
    sets = {key: _fixed_images(run, key, part) for key in ("bn_images", "validation_images")}
    return PathMeasurer(run.model, run.options.loss_weights, **sets)


def kept_bytes(run: Run) -> int:
    """The memory of each process for the images that paths are measured on."""
    return sum(_fixed_images(run, key).kept_bytes for key in ("bn_images", "validation_images"))


def preparer(run: Run) -> PathPreparer:
    """Makes the network ready for a path whose figure is asked for, which needs no held-out image."""
    return PathPreparer(run.model, _fixed_images(run, EVALUATION))


def _fixed_images(run: Run, key: str, part: int = 0) -> FixedImages:
    n = n_images(run, key)
    indices = np.arange(part * n, (part + 1) * n)
    return FixedImages(run.data[IMAGES[key]], indices, targets=IMAGES[key] == "valid")


def measured(
    run: Run,
    name: str,
    paths: Callable[[], np.ndarray],
    inputs: dict,
    *,
    n_paths: int,
    part: int = 0,
    after: Sequence[str] | None = None,
) -> MeasuredPaths:
    """Validation losses of paths as a stage, in `name`.csv; NumericError where one is not finite."""
    table = path_table(run, name)
    keys = ("bn_images", "validation_images")
    images = {key: n_images(run, key) for key in keys}
    images["mini_batch_valid"] = run.options.mini_batch_valid  # BN re-estimation normalises by batches
    return run.stages.run(
        name,
        {**inputs, **images},
        Kept([f"{name}.csv"], table.read),
        lambda: fill(run, table, name, paths(), measurer(run, part).loss),
        rehearsed=lambda: table.empty(),
        takes=measuring_work(run, n_paths, images["validation_images"]),
        after=after,
    )


def measuring_work(run: Run, n_paths: int, images: int, *, bn: str = "bn_images") -> Work:
    """BN re-estimation of so many paths, and so many images for each."""
    bn_images = n_images(run, bn)
    detail = f"{n_paths:,} paths, {bn_images:,} images for BN and {images:,} more for each"
    return Work(detail, images=n_paths * (bn_images + images), paths=n_paths)


def path_table(run: Run, name: str, value: str = "loss") -> PathTable:
    """The table of a stage's measured paths."""
    return PathTable(
        run.folder / f"{name}.csv", run.space.family.gene_names, value=value, with_cost=run.cost is not run.flops
    )


def fill(
    run: Run, table: PathTable, name: str, paths: np.ndarray, value: Callable[[np.ndarray], float]
) -> MeasuredPaths:
    """The value of every path, in a table that grows row by row and goes on where it was interrupted."""
    done = table.read()
    run.processes.barrier()  # all have read it before one writes it
    n_done = len(done.loss)
    if not np.array_equal(done.paths, paths[:n_done]):
        n_done = 0
    costs = run.cost(paths)
    own = costs if run.cost is not run.flops else None
    found = MeasuredPaths(paths, run.flops(paths), run.budgets.bucket(costs), np.zeros(len(paths)), own)
    found.loss[:n_done] = done.loss[:n_done]
    if run.folder.writes:
        table.start(found.at(slice(n_done)))
    for some, values in shared(run, name, paths, value, first=n_done):
        found.loss[some] = values
        for path, one in zip(paths[some], values, strict=True):
            if not np.isfinite(one):
                raise NumericError(
                    f"the validation {table.value} of path {path.tolist()} is {one}; the training diverged"
                )
        if run.folder.writes:
            table.append(found.at(some))
    return found


def shared(
    run: Run,
    name: str,
    paths: np.ndarray,
    value: Callable[[np.ndarray], float | np.ndarray],
    *,
    first: int = 0,
    shape: tuple[int, ...] = (),
) -> Iterator[tuple[slice, np.ndarray]]:
    """Which paths, from the `first` on, and their values, each of `shape`: one path at a time for each process. The
    session may be stopped behind each time."""
    ranks = run.processes.n
    run.processes.require_same(f"paths in {name}", paths[first:])
    for start in run.session.progress(range(first, len(paths), ranks), name):
        values = np.zeros((ranks, *shape))
        if (mine := start + run.processes.rank) < len(paths):
            values[run.processes.rank] = value(paths[mine])
        some = slice(start, min(start + ranks, len(paths)))
        yield some, run.processes.sum(values)[: some.stop - some.start]
        run.folder.count_seconds()
        run.session.pause()


# -- figures of detectors (Section 4.1) -----------------------------------------------------------------------------


def figure_inputs(run: Run, split: str) -> dict:
    """All that decides the figures of paths on a split beside the weights."""
    loader = run.data[split]
    return {
        "metric": run.options.metric,
        EVALUATION: n_images(run, EVALUATION),
        "mini_batch_valid": run.options.mini_batch_valid,
        "images": loader.split_digest if split == "test" else loader.dataset.digest,
    }


def figure_of(run: Run, split: str) -> Callable[[np.ndarray], float]:
    """The metric of a path on all images of a split, in 0–1, after BN re-estimation and without fine-tuning."""
    loader, prepare = run.data[split], preparer(run).prepare

    def figure(path: np.ndarray) -> float:
        prepare(path)
        return run.model.task.figure(run.options.metric, run.model, loader)

    return figure


def evaluation_work(run: Run, n_paths: int, split: str = "test") -> Work:
    """The metric of so many paths on all images of a split."""
    return measuring_work(run, n_paths, len(run.data[split].dataset), bn=EVALUATION)


def figures(run: Run, name: str, paths: np.ndarray) -> np.ndarray:
    """The metric of each path on the test split; (n,)."""
    found = np.zeros(len(paths))
    for some, values in shared(run, name, paths, figure_of(run, "test")):
        found[some] = values
    return found


class Assessed(NamedTuple):
    """n paths on the test split: `figure` (n,), `per_class` (n, classes), nan where nothing is of one, and `resampled`
    (n, resamples), the figures on the same resampled images for all paths."""

    figure: np.ndarray
    per_class: np.ndarray
    resampled: np.ndarray


def assessed(
    run: Run,
    name: str,
    paths: np.ndarray,
    *,
    prepare: Callable[[np.ndarray], None] | None = None,
    statistics: Taken | None = None,
) -> Assessed:
    """The metric of each path on the test split, with what tells how certain it is.

    `prepare` makes the network ready for a path, with BN statistics that are estimated for it where it is None. Where
    `statistics` takes them, each path's figures are kept beside, and an interrupted evaluation goes on. The images
    decide which resamples are drawn, so that those of other runs on the same images are the same.
    """
    loader, prepare = run.data["test"], prepare or preparer(run).prepare
    bounds = np.cumsum([1, loader.n_classes])

    def value(path: np.ndarray) -> np.ndarray:
        prepare(path)
        rng = resampling(loader.split_digest)
        one = np.hstack(run.model.task.assess(run.options.metric, run.model, loader, rng=rng))
        if statistics is not None:
            statistics.take(path)
        return one

    found = np.zeros((len(paths), bounds[-1] + N_RESAMPLES))
    done = [] if statistics is None else statistics.go_on(paths)
    if done:
        found[: len(done)] = done
    run.processes.barrier()  # all have read what is there before one writes it
    for some, values in shared(run, name, paths, value, first=len(done), shape=found.shape[1:]):
        found[some] = values
        if statistics is not None:
            statistics.keep(paths[some], values)
    figure, *rest = np.split(found, bounds, axis=1)
    return Assessed(figure[:, 0], *rest)


def held_out_figures(run: Run, name: str, paths: np.ndarray) -> np.ndarray:
    """The metric of each path on all held-out images, (n,), in `name`.csv, which grows as that of measured losses.

    Not defined, so nan, and the table without rows, where these images have no object to find.
    """
    table = path_table(run, name, HELD_OUT)
    if run.model.task.is_defined(run.data["valid"]):
        return fill(run, table, name, paths, figure_of(run, "valid")).loss
    if run.folder.writes:
        table.start(table.empty())
    return np.full(len(paths), np.nan)
