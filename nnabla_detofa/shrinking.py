"""Progressive shrinking (OFA; a baseline of Section 4.2): a training stage a phase, each opening more choices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError, SpaceError
from .space import SearchSpace
from .supernet import sort_channels
from .training import WEIGHTS, Run, Schedule, drawn_paths, schedule, train

# the other stages of runs, after which files are called; a phase is one, and its figures are another, `top1_NAME`
TAKEN = {
    *("warmup", "paths_warmup", "path_filter_warmup", "operations", "thresholds", "finetune", "weights", "teacher"),
    *("paths_final", "paths_final_again", "path_filter_final", "filter_quality", "search", "evaluate", "report"),
    *("export", "page"),
    *("paths", "paths_again", "path_filter", "top1", "latency"),
}


@dataclass(frozen=True)
class Phase:
    """A stretch of training: its paths, and which epochs of the whole run are its own, from `first` to before `last`;
    `given` is what the configuration says of it."""

    name: str
    space: SearchSpace
    first: int
    last: int
    given: Any


def read_phases(run: Run) -> list[Phase]:
    """The phases of `hparams.phases` in order: each trains the largest path and all paths of the phase before it.

    One without `epochs` is as long as the whole schedule; choices that are not named are open. ConfigError for phases
    that cannot follow each other, or that leave paths untrained.
    """
    phases: list[Phase] = []
    for name, given in run.options.phases.items():
        where = f"hparams.phases.{name}"
        if name in TAKEN or name.startswith("top1_"):
            raise ConfigError(f"{where} is called as something else of a run is: use another name", key=where)
        try:
            space = run.space.only(**given.choices)
        except SpaceError as error:
            raise ConfigError(f"{where} opens no path: {error}", key=where) from error
        if not space.contains(run.space.largest()[None])[0]:
            raise ConfigError(f"{where} leaves out the largest path: list the largest choice of each", key=where)
        if phases and not space.includes(phases[-1].space):
            raise ConfigError(
                f"{where} leaves out choices that the phase before it, {phases[-1].name}, has trained: the phases are"
                " out of order; each must list all choices of the one before it",
                key=where,
            )
        first = phases[-1].last if phases else 0
        phases.append(Phase(name, space, first, first + (given.epochs or run.epochs), given))
    if phases[-1].space != run.space:
        raise ConfigError(
            f"hparams.phases.{phases[-1].name} is the last phase and opens {phases[-1].space.size():,} of"
            f" {run.space.size():,} paths: it must open all, for all are searched"
        )
    return phases


def shrink(run: Run, inputs: Mapping[str, Any]) -> None:
    """Train all phases: each goes through the whole schedule anew, from the weights of the phase before it."""
    phases = read_phases(run)
    for number, phase in enumerate(phases):
        train(
            run,
            phase.name,
            drawn_paths(run, phase.name, phase.space),
            {**(inputs if number == 0 else {}), "phase": phase.given.model_dump(mode="json")},
            first=phase.first,
            last=phase.last,
            rate=_stretched(schedule(run), phase, run.epochs),
            begin=opening(run, phases, number),
            leaves=WEIGHTS if phase is phases[-1] else None,
        )


def opening(run: Run, phases: list[Phase], number: int) -> Callable[[], None]:
    """The beginning of a phase: where it opens smaller numbers of channels, the most important ones are sorted to the
    front; the solver forgets the moments of those that were there before."""
    largest = {name: [values[-1]] for name, values in run.space.family.choices.items()}
    before = phases[number - 1].space if number else run.space.only(**largest)

    def begin() -> None:
        if n_sorted := sort_channels(run.model, before=before, after=phases[number].space):
            run.say(f"{phases[number].name}: the channels of {n_sorted} maps sorted by importance")
        run.step.solver.set_parameters(run.model.get_parameters(grad_only=True))

    return begin


def _stretched(rate: Schedule, phase: Phase, epochs: int) -> Schedule:
    return lambda epoch: rate(epochs * (epoch - phase.first) / (phase.last - phase.first))
