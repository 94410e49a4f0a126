"""The plan of a run: its stages, memory and time, without doing it (an addition; not in the paper)."""

import time
from collections.abc import Callable, Iterator, Mapping
from math import ceil
from typing import Any, NamedTuple

import nnabla as nn
import numpy as np

from ..space import CostModel
from ..space.layers import FLOAT_BYTES
from ..storage import Work
from ..training import Run, drawn_paths, kept_bytes, measurer
from ..training.gradients import PathGradients
from .lines import duration

TIMED_STEPS = 3
LINK = 10e9  # bytes a second
MOST_DOUBLINGS = 6  # of the processes that a plan looks at
TIMED_BYTES = 2 << 30  # of maps and gradients, at most, on a CPU: a plan must fit where the run might not


class Pace(NamedTuple):
    """Seconds that one image takes in an update of the weights, and in a forward pass; measured with `n` at a time.

    exchange: seconds a step in which gradients become their means over the processes that measured it.
    loading: seconds that one image takes the loader's threads, beside training.
    """

    training: float
    forward: float
    n: int
    exchange: float = 0.0
    loading: float = 0.0


def plan_lines(run: Run, name: str, stages: Mapping[str, Work]) -> Iterator[str]:
    """The plan of a run that was rehearsed, line by line as they are known."""
    device = f"{nn.get_current_context().backend[0].split(':')[0]}, {run.options.args.type_config}"
    yield f"plan of {name} ({device}, {_count(run.processes.n, 'process')}); nothing is trained or kept"
    yield _row("images", _images(run))
    yield _row("paths", f"{run.space.size():,}" if run.model.only is None else "1")
    yield from _costs(run)
    floats = _map_floats(run)
    for line in _memory(run, floats):
        yield _row("memory", line)
    pace = measure_pace(run, floats)
    exchange = Exchange.of(run, pace)
    seconds = {stage: _seconds(work, pace, run.processes.n, exchange) for stage, work in stages.items()}
    for stage, took in seconds.items():
        yield _row(stage, f"{stages[stage].detail}: about {duration(took)}")
    yield _row(
        "in all",
        f"about {duration(sum(seconds.values()))}, from {TIMED_STEPS} steps of {_count(pace.n, 'image')} on this"
        f" machine: {pace.training:.3g} s an image in training, {pace.forward:.3g} s in measuring, {pace.loading:.3g} s"
        " in loading, beside training; path filters, pruning and evolution come on top",
    )
    durations = {n: sum(_seconds(work, pace, n, exchange) for work in stages.values()) for n in _numbers(run)}
    told = ", ".join(f"{n}: {duration(took)}" for n, took in durations.items())
    yield _row("by processes", f"{told}; {exchange}, and a device as this one for each")


class Exchange(NamedTuple):
    """The exchange of `size` bytes of gradients in a step, at `speed` bytes a second between neighbours in a ring."""

    size: int
    speed: float
    measured: bool

    @classmethod
    def of(cls, run: Run, pace: Pace) -> "Exchange":
        """As it was measured, or as it is assumed where one process has nobody to exchange with."""
        size, n = FLOAT_BYTES * _weights(run), run.processes.n
        if pace.exchange:
            return cls(size, _passed_on(size, n) / pace.exchange, True)
        return cls(size, LINK, False)

    def seconds(self, n: int) -> float:
        """Of a step of n processes."""
        return _passed_on(self.size, n) / self.speed

    def __str__(self) -> str:
        known = "as measured here" if self.measured else "as one 100-gigabit link has, assumed"
        return f"gradients of at most {_bytes(self.size)} a step at {_bytes(self.speed)} a second, {known}"


def _passed_on(size: int, n: int) -> float:
    """Bytes that each process sends where n of them, in a ring, add up `size` bytes and all have the sums."""
    return 2 * (n - 1) / n * size


def _numbers(run: Run) -> list[int]:
    """Numbers of processes that the batch can be divided by."""
    batch = run.options.batch_size_train
    return sorted({run.processes.n} | {2**i for i in range(MOST_DOUBLINGS) if batch % 2**i == 0})


def _images(run: Run) -> str:
    train, valid, test = (run.data[split].dataset for split in ("train", "valid", "test"))
    held_out = f" and {len(valid):,} held out" if run.model.only is None else ""
    return f"{len(train):,} to train on{held_out} of {train.name}; {len(test):,} to test on of {test.name}"


def _weights(run: Run) -> int:
    return sum(one.size for one in run.model.get_parameters(grad_only=True).values())


def _costs(run: Run) -> Iterator[str]:
    if run.model.only is not None:
        yield _row("parameters", f"{_weights(run):,}")
        for cost in dict.fromkeys((run.flops, run.cost)):
            yield _row(_name(run, cost), f"{cost(run.model.only[None])[0]:,.0f} {cost.unit}")
        return
    low, high = CostModel.of(run.model.network_layers(run.image_size), "parameters").range(run.space)
    yield _row("parameters", f"{_weights(run):,} in the supernet; {low:,.0f} to {high:,.0f} in a path")
    for cost in dict.fromkeys((run.flops, run.cost)):
        low, high = cost.range(run.space)
        yield _row(_name(run, cost), f"{low:,.0f} to {high:,.0f} {cost.unit} a path")
    size = run.space.size()
    for bucket, n in enumerate(run.budgets.counts(run.space, run.cost)):
        low, high = run.budgets.range(bucket)
        yield _row(f"bucket {bucket}", f"{low:,.0f} to {high:,.0f} {run.cost.unit}, {n / size:.2%} of the paths")


def _name(run: Run, cost: CostModel) -> str:
    return "FLOPs" if cost is run.flops else cost.name


def _map_floats(run: Run) -> int:
    """Values of all maps between the inputs of one image and its loss, for the largest path."""
    run.model.activate(run.model.largest)
    floats = 0

    def add(function: Any) -> None:
        nonlocal floats
        floats += sum(y.size for y in function.outputs)

    run.step.graph(_cut(run.data["train"].next(), 1))[0].visit(add)
    return floats


def _memory(run: Run, floats: int) -> Iterator[str]:
    mini_batch, only = run.options.mini_batch_train, run.model.only
    cost = CostModel.of(run.model.network_layers(run.image_size), "memory")
    shown = " to ".join(map(_bytes, cost.range(run.space) if only is None else cost(only[None])))
    yield f"{shown} for the maps of one image that meets a path, without weights"
    step = 2 * FLOAT_BYTES * floats * mini_batch
    yield f"at most {_bytes(step)} for maps and gradients of a mini-batch of {mini_batch}, the largest path"
    yield f"{_bytes(2 * FLOAT_BYTES * _weights(run))} for the network's weights and gradients, and the solver's own"
    if only is None and (kept := kept_bytes(run)):
        yield f"{_bytes(kept)} of each process for the images that paths are measured on, which stay in memory"


def measure_pace(run: Run, floats: int) -> Pace:
    """Time a few steps and measured paths; the weights that they leave are of no use."""
    n = run.options.mini_batch_train
    if nn.get_current_context().backend[0].startswith("cpu"):
        n = min(n, max(1, TIMED_BYTES // (2 * FLOAT_BYTES * floats)))
    loading = _time_loading(run.step.loader)
    run.step.loader, run.step.accumulate = FewImages(run.step.loader, n), 1
    sampler = drawn_paths(run, "plan", run.space)
    paths = [sampler.next() for _ in range(TIMED_STEPS)]
    few = run.options.path_filter.model_copy(update={"bn_images": n, "validation_images": n})
    run.options = run.options.model_copy(update={"path_filter": few})
    measure = measurer(run)
    run.step(run.model.largest)  # the first time is slower, and the largest path shows whether it fits
    measure.loss(paths[0])
    exchange = _time_exchange(run)
    training = max(_time(run, run.step, paths) - exchange, 0.0)
    return Pace(training / n, _time(run, measure.loss, paths) / (2 * n), n, exchange, loading)


def _time_loading(loader: Any) -> float:
    """Mean seconds of an image, once what was made ahead is used up."""
    for _ in range(loader.options.prefetch):
        loader.next()
    start = time.perf_counter()
    for _ in range(TIMED_STEPS):
        loader.next()
    return (time.perf_counter() - start) / (TIMED_STEPS * loader.batch_size)


def _time_exchange(run: Run) -> float:
    """Mean seconds in which the gradients of a step become their means over all processes."""
    if run.processes.n == 1:
        return 0.0
    gradients = PathGradients(run.model.get_parameters(grad_only=True), run.step.solver, on_device=False).arrays
    return _time(run, lambda _: run.processes.average(gradients), [run.space.largest()] * TIMED_STEPS)


def _time(run: Run, work: Callable[[np.ndarray], Any], paths: list[np.ndarray]) -> float:
    """Mean seconds of `work(path)`."""
    run.event.default_stream_synchronize()
    start = time.perf_counter()
    for path in run.session.progress(paths, "timing"):
        work(path)
        run.event.default_stream_synchronize()
    return (time.perf_counter() - start) / len(paths)


class FewImages:
    """A loader whose batches are cut to their first images."""

    def __init__(self, loader: Any, n: int):
        self._loader, self._n = loader, n

    def next(self) -> dict[str, Any]:
        """As the loader's."""
        return _cut(self._loader.next(), self._n)


def _cut(batch: Mapping[str, Any], n: int) -> dict[str, Any]:
    return {key: [array[:n] for array in batch[key]] for key in ("inputs", "targets")}


def _seconds(work: Work, pace: Pace, n: int, exchange: Exchange) -> float:
    """Seconds of a stage of n processes, which share each batch evenly and exchange what they found; a path is measured
    whole by one of them."""
    turns = ceil(work.paths / n) / work.paths if work.paths else 1 / n
    trained = work.steps * (work.batch * max(pace.training, pace.loading) / n + exchange.seconds(n))
    return trained + work.images * pace.forward * turns


def _row(name: str, text: str) -> str:
    return f"  {name:<18} {text}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}{'es' if noun.endswith('s') else 's'}"


def _bytes(n: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n / 1e3:.3g} kB"
