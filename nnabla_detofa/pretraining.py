"""Pre-training of supernet and path filter on classification (Section 4.1), by OFA's recipe as the host runs it.

The largest network is trained first. It then teaches the paths of ever more depths, expands and widths, and the path
filter learns from the classification losses of the trained paths. A detector's run starts from `weights.h5` and
`path_filter.h5`. Its buckets are other numbers of FLOPs, since image and heads differ; bucket b there starts from what
the filter learnt of bucket b here: both are the same share of the way from the cheapest path to the dearest.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import product
from typing import Any

import nnabla as nn
import numpy as np

from .errors import ConfigError, SpaceError
from .filter_stages import MANY_PATHS, assess_path_filter, fit_path_filter, measure_paths
from .report.lines import quality_lines
from .report.summary import data_set
from .shrinking import Phase, opening, read_phases
from .space import SearchSpace
from .supernet import transfer_weights
from .training import (
    WEIGHTS,
    Run,
    Schedule,
    drawn_paths,
    evaluation_work,
    figure_inputs,
    figures,
    learning_rate,
    run_identity,
    train,
)

IDENTITY = ("seed", "mini_batch_train", "lambda_kd")
TEACHER = "teacher.h5"


def pretrain(run: Run) -> dict[str, Any]:
    """A classification supernet trained phase by phase, its paths measured, and a path filter fitted to them."""
    phases = read_phases(run)
    ends = {phase.name: train_phase(run, phases, number) for number, phase in enumerate(phases)}
    measured = measure_paths(run, "paths", run.space)
    fit_path_filter(run, "path_filter", measured, auto=MANY_PATHS)
    quality = assess_path_filter(run, "paths", measured, auto=MANY_PATHS)
    return report(run, quality, ends, top1(run, "top1", dict(corners(run.space)), after=phases[-1].name))


def train_phase(run: Run, phases: list[Phase], number: int) -> list[dict]:
    """A phase with its own batch, and then the top-1 accuracy of its largest and its smallest path."""
    phase = phases[number]
    enter(run, phase)
    taught = number > 0 and run.options.lambda_kd > 0
    run.step.prepare = lambda model, number: model.apply(dropout_seed=dropout_seed(run, number))
    run.step.more_losses = Teacher(run).losses if taught else None
    leaves = WEIGHTS if phase is phases[-1] else TEACHER if number == 0 else None
    train(
        run,
        phase.name,
        drawn_paths(run, phase.name, phase.space),
        {**(run_identity(run, *IDENTITY) if number == 0 else {}), "phase": phase.given.model_dump(mode="json")},
        first=phase.first,
        last=phase.last,
        rate=_own_cosine(phase),
        begin=opening(run, phases, number),
        leaves=leaves,
        forward=int(taught),
    )
    ends = {"largest": phase.space.largest(), "smallest": run.cost.argmin(phase.space)}
    rows = top1(run, f"top1_{phase.name}", ends, after=phase.name)
    for row in rows:
        run.say(f"{phase.name}: top-1 of its {row['name']} path {100 * row['top1']:.2f} %")
    return rows


def enter(run: Run, phase: Phase) -> None:
    """Steps are those of this phase from here on; ConfigError for a batch that does not divide."""
    batch, loader = phase.given.batch_size or run.options.batch_size_train, run.data["train"]
    at_once, images = run.processes.n * run.options.mini_batch_train, len(loader.dataset)
    if batch % at_once or batch > images:
        raise ConfigError(
            key=f"hparams.phases.{phase.name}.batch_size",
            given=batch,
            allowed=f"a multiple of {at_once} (mini_batch_train times processes) and at most {images}, the number of"
            " training images",
        )
    run.step.accumulate = loader.batches_a_step = batch // at_once
    run.trainer.steps_an_epoch = len(loader) // (batch // run.processes.n)


def _own_cosine(phase: Phase) -> Schedule:
    """Half a cosine of the phase's own."""
    given = phase.given
    rate = learning_rate(
        "cosine", given.rate, total=phase.last - phase.first, ramp=given.ramp, ramp_from=given.ramp_from
    )
    return lambda epoch: rate(epoch - phase.first)


def dropout_seed(run: Run, number: int) -> int:
    """Seed of the dropout of a mini-batch, from the run's seed, the step and the number in it; 31 bits."""
    place = divmod(run.trainer.n_done, run.trainer.steps_an_epoch)  # steps alone repeat where phases have other batches
    sequence = np.random.SeedSequence([run.options.seed, *place, number])
    return int(sequence.generate_state(1)[0] >> 1)


class Teacher:
    """The largest network as the first phase left it."""

    def __init__(self, run: Run):
        self._run = run

    @cached_property
    def network(self) -> Any:
        """As the host's, it normalises by each batch's own statistics, which fit whatever size the images have."""
        network = self._run.model.alone(self._run.space.largest(), drop_rate=0.0)
        network.apply(training=True)
        transfer_weights(network, self._run.folder / TEACHER)
        return network

    def losses(self, outputs: Any, inputs: list[nn.Variable]) -> Mapping[str, tuple[float, nn.Variable]]:
        """The cross entropy to the teacher's answer, with its weight."""
        with nn.no_grad():
            answer = self.network(*inputs)
        return {"distillation": (self._run.options.lambda_kd, self._run.model.kd_loss(outputs, answer))}


def top1(run: Run, name: str, paths: dict[str, np.ndarray], *, after: str) -> list[dict]:
    """Name, FLOPs and top-1 accuracy on the test split of each of these paths, in `name`.json."""
    rows = np.array(list(paths.values()))

    def as_rows(found: np.ndarray) -> list[dict]:
        columns = zip(paths, run.flops(rows).tolist(), found.tolist(), rows.tolist(), strict=True)
        return [dict(zip(("name", "flops", "top1", "path"), row, strict=True)) for row in columns]

    return run.stages.run(
        name,
        figure_inputs(run, "test"),
        run.folder.json(f"{name}.json"),
        lambda: as_rows(figures(run, "evaluate", rows)),
        rehearsed=lambda: as_rows(np.full(len(rows), np.nan)),
        takes=evaluation_work(run, len(rows)),
        after=[after],
    )


def report(run: Run, quality: dict, ends: dict[str, list[dict]], paths: list[dict]) -> dict[str, Any]:
    """`summary.json`."""

    def work() -> dict[str, Any]:
        return {
            "seed": run.options.seed,
            **data_set(run),
            "space_size": run.space.size(),
            "seconds": run.folder.seconds,
            "metric": run.options.metric,
            "phases": {name: {row["name"]: row["top1"] for row in rows} for name, rows in ends.items()},
            "paths": paths,
            "buckets": run.budgets.edges.tolist(),
            "filter": quality["filter"],
            "filter_quality": quality,
        }

    inputs = {"phases": ends, "filter_quality": quality, "paths": paths}
    return run.stages.run("report", inputs, run.folder.json("summary.json"), work, rehearsed=dict)


def pretraining_lines(found: dict[str, Any]) -> Iterator[str]:
    """The tables for the user."""
    yield from quality_lines(found["filter_quality"])
    yield f"{'path':>20} {'MMAC':>9} {'top-1 (%)':>9}"
    for row in found["paths"]:
        yield f"{row['name']:>20} {row['flops'] / 1e6:9.1f} {100 * row['top1']:9.2f}"


def corners(space: SearchSpace) -> Iterator[tuple[str, np.ndarray]]:
    """The paths that have one value of each choice throughout, each the largest or the smallest; by name."""
    choices = sorted(space.family.choices.items())  # depths, expands, widths
    for values in product(*(dict.fromkeys((own[-1], own[0])) for _, own in choices)):
        one = {name: [value] for (name, _), value in zip(choices, values, strict=True)}
        try:
            path = space.only(**one).enumerate()[0]
        except SpaceError:
            continue  # coupled choices do not go together
        yield ", ".join(f"{name[0].upper()} {value:g}" for (name, _), value in zip(choices, values, strict=True)), path
