"""The BN statistics of evaluated detectors, in a file with what else their use needs (Section 4.1)."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import WeightsError
from ..hdf5 import as_bytes, opened, read_arrays
from ..options import IMAGE_SIZE
from ..storage.files import write_bytes
from ..supernet import Supernet, extract, statistics_of
from .run import Run

STATISTICS = "statistics.h5"
ABOUT = "about"  # an attribute: JSON
PATH, FIGURES = "path", "figures"  # datasets of each group; the latter until all paths are evaluated
START = ("pretrained", "labels", "seed")  # options of a network that its weights replace


class Statistics(NamedTuple):
    """`about`: what `about` says of the run. `arrays`: for the bytes of each path its statistics by name. `figures`:
    those of each path that an unfinished evaluation has done."""

    about: dict[str, Any]
    arrays: dict[bytes, dict[str, np.ndarray]]
    figures: dict[bytes, np.ndarray]

    def detector(self, network: Supernet, path: np.ndarray, **changed: Any) -> Supernet:
        """The path of the supernet alone, as `extract`, with the statistics that it was evaluated with."""
        alone = extract(network, path, **changed)
        parameters = alone.get_parameters()
        for name, value in self.arrays[path.tobytes()].items():
            parameters[name].d = value
        return alone


class Taken:
    """Statistics that are taken from a run's network, path by path, and then those of all its processes."""

    def __init__(self, run: Run):
        self._run = run
        self._own: dict[bytes, dict[str, np.ndarray]] = {}
        self._of_all = Statistics(about(run), {}, {})

    def take(self, path: np.ndarray) -> None:
        """Take those of a path that the network has now."""
        self._own[path.tobytes()] = statistics_of(self._run.model, path)

    def go_on(self, paths: np.ndarray) -> list[np.ndarray]:
        """The figures of the first of these paths, as an interrupted evaluation left them with their statistics."""
        file, first = self._run.folder / STATISTICS, [path.tobytes() for path in paths]
        if file.is_file():
            found = read(file)
            if [*found.figures] == first[: len(found.figures)]:
                self._of_all = found
        return [*self._of_all.figures.values()]

    def keep(self, paths: np.ndarray, figures: np.ndarray) -> None:
        """Add paths, each taken by any one process, and their figures (n, ...) to the file."""
        self._gather(paths)
        self._of_all.figures.update(zip([path.tobytes() for path in paths], figures, strict=True))
        self._write(self._of_all)

    def write(self, paths: np.ndarray) -> None:
        """The file of these paths, which any process has taken."""
        self._gather([path for path in paths if path.tobytes() not in self._of_all.arrays])
        arrays = {path.tobytes(): self._of_all.arrays[path.tobytes()] for path in paths}
        self._write(self._of_all._replace(arrays=arrays, figures={}))

    def _gather(self, paths: Iterable[np.ndarray]) -> None:
        self._of_all.arrays.update((path.tobytes(), self._gathered(path)) for path in paths)

    def _gathered(self, path: np.ndarray) -> dict[str, np.ndarray]:
        own = self._own.get(path.tobytes())
        values = own or {name: np.zeros_like(value) for name, value in statistics_of(self._run.model, path).items()}
        together = self._run.processes.sum(np.concatenate([value.ravel() for value in values.values()]))
        parts = np.split(together, np.cumsum([value.size for value in values.values()])[:-1])
        return {name: part.reshape(values[name].shape) for name, part in zip(values, parts, strict=True)}

    def _write(self, statistics: Statistics) -> None:
        if self._run.folder.writes:
            write(self._run.folder / STATISTICS, statistics)


def about(run: Run) -> dict[str, Any]:
    """Facts of the run that a detector needs beside its own path and weights."""
    ((name, options),) = run.options.identity["network"].items()
    loader = run.data["train"]
    ids = getattr(loader.dataset, "category_ids", ())
    return {
        "classes": list(loader.classes),
        "category_ids": list(ids or range(1, len(loader.classes) + 1)),
        "image_size": IMAGE_SIZE.plain(run.image_size),
        "stride": run.model.output_stride,
        "network": {name: {key: value for key, value in options.items() if key not in START}},
        "cost": {"name": run.cost.name, "unit": run.cost.unit},
        "metric": run.options.metric,
        "dataset": loader.dataset.name,
        "seed": run.options.seed,
    }


def write(file: Path, statistics: Statistics) -> None:
    """The file, whole or not at all."""
    arrays = {
        f"{number}/{name}": value
        for number, (path, own) in enumerate(statistics.arrays.items())
        for name, value in {PATH: np.frombuffer(path, np.int8), **own}.items()
    }
    arrays |= {f"{number}/{FIGURES}": value for number, value in enumerate(statistics.figures.values())}
    write_bytes(file, as_bytes(arrays, **{ABOUT: json.dumps(statistics.about)}))


def read(file: Path) -> Statistics:
    """The statistics that `write` wrote; WeightsError where the file is damaged."""
    with opened(file, lambda reason: WeightsError(f"{file} cannot be read: {reason}")) as source:
        about = json.loads(source.attrs[ABOUT])
        groups = [read_arrays(source[name]) for name in sorted(source, key=int)]
        arrays = {own.pop(PATH).tobytes(): own for own in groups}
        return Statistics(about, arrays, {path: own.pop(FIGURES) for path, own in arrays.items() if FIGURES in own})
