"""Latency as a cost: a table of layers timed on this device or on the user's own, and how well it predicts networks.

An addition; the paper's budgets are FLOPs.
"""

import csv
import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..options import IMAGE_SIZE
from ..run_options import CostOptions
from ..space import CostModel, Layer
from ..space.layers import sides_of
from ..storage import Kept, NumberTable, Stages
from ..storage.files import read_json, write_text
from ..supernet import extract
from ..supernet.latency import Stopwatch, layer_forward, network_forward
from .session import Session

NANOSECONDS = "nanoseconds"
LARGEST = 2**48  # a cost table holds numbers below it
NUMBER = re.compile("[0-9]{1,15}")
STAGE, TABLE, CHECK, AGREEMENT = "latency", "latency.csv", "latency_check.csv", "latency_check.json"


def latency_model(
    model: Any,
    image_size: tuple[int, int],
    options: CostOptions,
    *,
    stages: Stages,
    session: Session,
    synchronise: Callable[[], None],
    network: dict,
) -> CostModel:
    """The latency of the network's paths: sums of the table `options.table`, or of one that is timed on this device.

    Nanoseconds, as all files of it. A stage: the table is `latency.csv` of the run folder in either case. Unless
    `options.check_paths` is 0, random paths are timed whole on this device and set against the sums, in
    `latency_check.csv` and `latency_check.json`. `network`: its options, by which a table is known.
    """
    layers, given = model.network_layers(image_size), options.table
    inputs: dict[str, Any] = {**dict(options), "network": network, "image_size": IMAGE_SIZE.plain(image_size)}
    if given is not None:
        times = read_times(Path(given), layers.distinct())  # before the folder is touched
        inputs["table"] = hashlib.sha256(_text(times, _columns(times)).encode()).hexdigest()[:12]
    file = stages / TABLE
    stopwatch = Stopwatch(repetitions=options.repetitions, warm_up=options.warm_up, synchronise=synchronise)

    def read() -> CostModel:
        return CostModel.latency(layers, read_times(file, layers.distinct()))

    def work() -> CostModel:
        if stages.writes:
            if given is not None:
                write_text(file, _text(times, _columns(times)))
            else:
                _time_layers(model, session, file, layers.distinct(), stopwatch, options.batch)
            if options.check_paths:
                found = _time_networks(model, session, stages, read(), image_size, stopwatch, options)
                stages.write(AGREEMENT, found)
        session.processes.barrier()  # the others read what the first has written
        return read()

    files = [TABLE, *([CHECK, AGREEMENT] if options.check_paths else [])]
    cost = stages.run(STAGE, inputs, Kept(files, read), work, after=[])
    if options.check_paths:
        session.say(told(read_json(stages / AGREEMENT)))
    return cost


def read_times(file: Path, layers: Collection[Layer], *, whole: bool = True) -> dict[Layer, int]:
    """Nanoseconds of each of the layers; without `whole`, of those whose lines are complete.

    ConfigError, naming the line, for what is no such table: a layer that is missing, unknown or there twice, a number
    that is none.
    """
    try:
        text = file.read_text(encoding="utf-8")
        lines = (text if whole else text[: text.rfind("\n") + 1]).splitlines()
        header, *rows = list(csv.reader(lines)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"the latency table {file} cannot be read: {error}") from error
    columns = _columns(layers)
    if header != [*columns, NANOSECONDS]:
        wanted = ",".join([*columns, NANOSECONDS])
        raise ConfigError(f"the latency table {file} begins with {','.join(header)!r}, not {wanted!r}")
    known = {tuple(_cells(layer, columns)): layer for layer in layers}
    times: dict[Layer, int] = {}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        where = f"the latency table {file}, line {number}, {','.join(row)}"
        *key, cell = (cell.strip() for cell in row)
        layer = known.get(tuple(key))
        if layer is None:
            raise ConfigError(f"{where}: no path of this network has that layer")
        if layer in times:
            raise ConfigError(f"{where}: this layer is there twice")
        if not NUMBER.fullmatch(cell) or not 1 <= int(cell) < LARGEST:
            raise ConfigError(f"{where}: nanoseconds is {cell!r}; it must be a whole number from 1 to below 2**48")
        times[layer] = int(cell)
    if whole and (missing := [layer for layer in layers if layer not in times]):
        first = ",".join(_cells(missing[0], columns))
        raise ConfigError(f"the latency table {file} lacks {len(missing)} of {len(layers)} layers, the first: {first}")
    return times


def _columns(layers: Collection[Layer]) -> list[str]:
    """The fields of a layer that a table of these has: those that only layers of other networks need are left out."""
    optional = Layer._field_defaults
    needed = {name for layer in layers for name, usual in optional.items() if getattr(layer, name) != usual}
    return [name for name in Layer._fields if name not in optional or name in needed]


def _text(times: Mapping[Layer, int], columns: Sequence[str]) -> str:
    """A table as it stands in its file."""
    header = ",".join([*columns, NANOSECONDS])
    return header + "\n" + "".join(_line(layer, ns, columns) for layer, ns in times.items())


def _line(layer: Layer, nanoseconds: int, columns: Sequence[str]) -> str:
    return ",".join([*_cells(layer, columns), str(nanoseconds)]) + "\n"


def _cells(layer: Layer, columns: Sequence[str]) -> list[str]:
    """The layer as a table has it; its map is 24x32 where height and width differ."""
    side = "x".join(map(str, dict.fromkeys(sides_of(layer.side))))
    return [side if name == "side" else str(getattr(layer, name)) for name in columns]


def _time_layers(
    model: Any, session: Session, file: Path, layers: Collection[Layer], stopwatch: Stopwatch, batch: int
) -> None:
    """Time the layers that the file does not have yet; each is a line of it as soon as it is timed."""
    times, columns = read_times(file, layers, whole=False) if file.is_file() else {}, _columns(layers)
    write_text(file, _text(times, columns))
    with file.open("a") as stream:
        for layer in session.progress([layer for layer in layers if layer not in times], STAGE):
            stream.write(_line(layer, stopwatch.nanoseconds(layer_forward(layer, model, batch=batch)), columns))
            stream.flush()


def _time_networks(
    model: Any,
    session: Session,
    stages: Stages,
    cost: CostModel,
    image_size: tuple[int, int],
    stopwatch: Stopwatch,
    options: CostOptions,
) -> dict[str, float | int | None]:
    """Time random paths as networks of their own, beside the sums of the table; how well these agree."""
    paths = model.space.sample(options.check_paths, session.rng(STAGE))
    table = NumberTable(stages / CHECK, ["predicted", "measured", *model.space.family.gene_names])
    rows = [[int(predicted), 0, *path.tolist()] for predicted, path in zip(cost(paths), paths, strict=True)]
    done = table.read().astype(np.int64).tolist()
    if [[predicted, 0, *path] for predicted, _, *path in done] != rows[: len(done)]:
        done = []  # by another table
    rows[: len(done)] = done
    table.start(done)
    for row, path in session.progress([*zip(rows, paths, strict=True)][len(done) :], f"{STAGE} of whole networks"):
        row[1] = stopwatch.nanoseconds(network_forward(extract(model, path), image_size, batch=options.batch))
        table.append([row])
    return agreement(*np.array(rows)[:, :2].T)


def agreement(predicted: np.ndarray, measured: np.ndarray) -> dict[str, float | int | None]:
    """Agreement of predictions (n,) with measured values (n,); a correlation is None where all values are equal."""
    return {
        "paths": len(measured),
        "pearson": _correlation(predicted, measured),
        "spearman": _correlation(_ranks(predicted), _ranks(measured)),
        "mean_relative_error": float(np.mean(np.abs(predicted - measured) / measured)),
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else None


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0 up; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]


def told(found: dict) -> str:
    """The agreement as a line for the user."""
    correlations = ", ".join(
        f"{name.capitalize()} {'none' if found[name] is None else format(found[name], '.3f')}"
        for name in ("pearson", "spearman")
    )
    return (
        f"latency: sums of the table against {found['paths']} whole networks timed on this device:"
        f" {correlations}, mean relative error {found['mean_relative_error']:.1%}"
    )
