"""What a run would do and take, said without doing it (an addition; not in the paper)."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import nnabla as nn
import numpy as np

from ..space import CostModel
from .samplers import path_sampler

if TYPE_CHECKING:
    from .runner import SupernetRunner

TIMED_STEPS = 3
TIMED_BYTES = 2 << 30  # of maps and gradients, at most, on a CPU: a plan must fit where the run might not
FLOAT_BYTES = 4


class Work(NamedTuple):
    """A stage of a run: `steps` updates of the weights, of `batch` images each over all processes; `images` that pass
    forward through paths. `detail` says in words what makes them up."""

    stage: str
    detail: str
    steps: int = 0
    batch: int = 0
    images: int = 0


class Pace(NamedTuple):
    """Seconds that one image takes in an update of the weights, and in a forward pass; measured with `n` at a time."""

    training: float
    forward: float
    n: int


def plan_lines(run: "SupernetRunner", stages: Iterable[Work]) -> Iterator[str]:
    """The plan of a run whose settings are checked, line by line as they are known."""
    stages, comm = list(stages), run.comm
    device = f"{nn.get_current_context().backend[0].split(':')[0]}, {run.args.get('type_config', 'float')}"
    yield f"plan of {type(run).__name__} ({device}, {_count(comm.n_procs, 'process')}); nothing is trained or kept"
    yield _row("images", _images(run))
    yield _row("paths", f"{run.space.size():,}")
    yield from _costs(run)
    floats = _map_floats(run)
    for line in _memory(run, floats):
        yield _row("memory", line)
    pace = measure_pace(run, floats)
    seconds = [_seconds(run, stage, pace) for stage in stages]
    for stage, duration in zip(stages, seconds, strict=True):
        yield _row(stage.stage, f"{stage.detail}: about {_duration(duration)}")
    yield _row(
        "in all",
        f"about {_duration(sum(seconds))}, from {TIMED_STEPS} steps of {_count(pace.n, 'image')} on this machine:"
        f" {pace.training:.3g} s an image in training, {pace.forward:.3g} s in measuring; path filters, pruning and"
        " evolution come on top",
    )


def _images(run: "SupernetRunner") -> str:
    train, valid, test = (run.dataloader[split].dataset for split in ("train", "valid", "test"))
    return (
        f"{len(train):,} to train on and {len(valid):,} held out of {train.name};"
        f" {len(test):,} to test on of {test.name}"
    )


def _costs(run: "SupernetRunner") -> Iterator[str]:
    parameters = CostModel.of(run.model.network_layers(run.dataloader["train"].options.image_size), "parameters")
    own = sum(one.size for one in run.model.get_parameters(grad_only=True).values())
    low, high = parameters.range(run.space)
    yield _row("parameters", f"{own:,} in the supernet; {low:,.0f} to {high:,.0f} in a path")
    for cost in dict.fromkeys((run.flops, run.cost)):
        low, high = cost.range(run.space)
        yield _row("FLOPs" if cost is run.flops else cost.name, f"{low:,.0f} to {high:,.0f} {cost.unit} a path")
    size = run.space.size()
    for bucket in range(len(run.budgets)):
        low, high = run.budgets.range(bucket)
        share = run.space.count(run.cost, low=low, high=high) / size
        yield _row(f"bucket {bucket}", f"{low:,.0f} to {high:,.0f} {run.cost.unit}, {share:.2%} of the paths")


def _map_floats(run: "SupernetRunner") -> int:
    """Values of all maps between the inputs of one image and its loss, for the largest path."""
    _resize(run, 1)
    run.model.activate(run.space.largest())
    floats = 0

    def add(function) -> None:
        nonlocal floats
        floats += sum(y.size for y in function.outputs)

    run.update_graph("train").visit(add)
    return floats


def _memory(run: "SupernetRunner", floats: int) -> Iterator[str]:
    image_size, mini_batch = run.dataloader["train"].options.image_size, run.hparams["mini_batch_train"]
    low, high = CostModel.of(run.model.network_layers(image_size), "memory").range(run.space)
    yield f"{_bytes(low)} to {_bytes(high)} for the maps of one image that meets a path, without weights"
    step = 2 * FLOAT_BYTES * floats * mini_batch
    yield f"at most {_bytes(step)} for maps and gradients of a mini-batch of {mini_batch}, the largest path"
    weights = sum(one.size for one in run.model.get_parameters(grad_only=True).values())
    yield f"{_bytes(2 * FLOAT_BYTES * weights)} for the supernet's weights and gradients, and the solver's own"


def measure_pace(run: "SupernetRunner", floats: int) -> Pace:
    """Time a few steps and measured paths; the weights that they leave are of no use."""
    n = run.hparams["mini_batch_train"]
    if nn.get_current_context().backend[0].startswith("cpu"):
        n = min(n, max(1, TIMED_BYTES // (2 * FLOAT_BYTES * floats)))
    _resize(run, n)
    run.dataloader["train"] = FewImages(run.dataloader["train"], n)
    sampler = path_sampler(run.hparams["sampler"]["name"], run.space, run.cost, run.budgets, run.rng("plan"))
    paths = [sampler.next() for _ in range(TIMED_STEPS)]
    few = {"bn_images": n, "validation_images": n}
    run.hparams = {**run.hparams, "path_filter": {**run.hparams["path_filter"], **few}}
    measurer = run.measurer()
    run.train_on_batch(path=run.space.largest())  # the first time is slower, and the largest path shows whether it fits
    measurer.loss(paths[0])
    training = _time(run, lambda path: run.train_on_batch(path=path), paths)
    return Pace(training / n, _time(run, measurer.loss, paths) / (2 * n), n)


def _time(run: "SupernetRunner", work, paths: list[np.ndarray]) -> float:
    """Mean seconds of `work(path)`."""
    run.event.default_stream_synchronize()
    start = time.perf_counter()
    for path in run.progress(paths, "timing"):
        work(path)
        run.event.default_stream_synchronize()
    return (time.perf_counter() - start) / len(paths)


def _resize(run: "SupernetRunner", n: int) -> None:
    """Let a step of the run have `n` images."""
    run.mbs_train, run.accum_train = n, 1
    placeholder = run.placeholder["train"]
    for key in ("inputs", "targets"):
        placeholder[key] = [nn.Variable((n, *one.shape[1:])) for one in placeholder[key]]


class FewImages:
    """A loader whose batches for training are cut to their first images."""

    def __init__(self, loader, n: int):
        self._loader, self._n = loader, n

    def next(self) -> dict:
        """As the loader's."""
        batch = self._loader.next()
        return {
            key: value[: self._n] if isinstance(value, np.ndarray) else [array[: self._n] for array in value]
            for key, value in batch.items()
        }

    def __getattr__(self, name: str):
        return getattr(self._loader, name)


def _seconds(run: "SupernetRunner", stage: Work, pace: Pace) -> float:
    """What a stage takes where its images are shared evenly by all processes."""
    return (stage.steps * stage.batch * pace.training + stage.images * pace.forward) / run.comm.n_procs


def _row(name: str, text: str) -> str:
    return f"  {name:<18} {text}"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}{'es' if noun.endswith('s') else 's'}"


def _bytes(n: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n / 1e3:.3g} kB"


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds)} s"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
