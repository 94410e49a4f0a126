"""Phases of progressive shrinking (OFA; the paper's Section 4.1): which choices are open, for how many epochs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from ..space import SearchSpace
from .settings import require_count, require_keys

CHOICES = ("depths", "widths", "expands")
# the other stages of runs; a phase is one, and its figures are another, `top1_NAME`
STAGES = (
    *("warmup", "paths_warmup", "path_filter_warmup", "operations", "thresholds", "finetune"),
    *("paths_final", "paths_final_again", "path_filter_final", "filter_quality", "search", "evaluate", "report"),
    *("paths", "paths_again", "path_filter", "top1", "latency"),
)
TAKEN = {*STAGES, "weights", "teacher"}  # and files


@dataclass(frozen=True)
class Phase:
    """A stretch of training: its paths, and which epochs of the whole run are its own, from `first` to before `last`.

    `options` are its other keys, which the configuration gives or leaves at a default.
    """

    name: str
    space: SearchSpace
    first: int
    last: int
    options: Mapping[str, Any]


def read_phases(
    where: str,
    given: Mapping[str, Mapping],
    whole: SearchSpace,
    *,
    options: tuple[str, ...] = (),
    defaults: Mapping[str, Any] | None = None,
    first: int = 0,
) -> list[Phase]:
    """The phases {name: {epochs, depths, widths, expands}} in order; choices that are not named are open.

    Args:
        where: the configuration's key, for messages.
        whole: the space that the last phase may open all of.
        options, defaults: keys that a phase needs besides, and those that it may leave out.
        first: the first phase's first epoch.

    Raises:
        ConfigError: a wrong key or value; phases out of order: each trains the largest path and all paths of the
            phase before it.
    """
    require_keys(where, given, given)
    if not given:
        raise ConfigError(f"{where} is empty; it must name at least one phase")
    phases: list[Phase] = []
    extra = {**dict.fromkeys(options), **(defaults or {})}
    for name, one in given.items():
        place = f"{where}.{name}"
        _require_name(where, name)
        require_keys(place, one, ("epochs", *CHOICES, *extra), needed=("epochs", *options))
        space = whole.only(**{key: one.get(key) for key in CHOICES})
        _require_order(place, space, phases)
        last = first + require_count(f"{place}.epochs", one["epochs"])
        own = {key: one.get(key, default) for key, default in extra.items()}
        phases.append(Phase(name, space, first, last, own))
        first = last
    return phases


def _require_name(where: str, name: object) -> None:
    if not isinstance(name, str) or not (name.isascii() and name.isidentifier()):
        raise ConfigError(
            f"{where} names a phase {name!r}; files are called after it: use letters, digits and _, all of ASCII"
        )
    if name in TAKEN or name.startswith("top1_"):
        raise ConfigError(f"{where} names a phase {name!r}, as something else of a run is called; use another name")


def _require_order(place: str, space: SearchSpace, before: list[Phase]) -> None:
    if not space.contains(space.structure.upper[None])[0]:
        raise ConfigError(
            f"{place} leaves out the largest path; every phase must list the largest depth, width and expand"
        )
    if before and not space.includes(before[-1].space):
        raise ConfigError(
            f"{place} leaves out choices that the phase before it, {before[-1].name}, has trained;"
            " the phases are out of order: each must list all choices of the one before it"
        )
