"""Keys that the code reads, beyond those that a configuration lists (an addition; not in the paper).

What a file of `conf/` leaves out has a default where it is declared. These declarations are asked here, so that
`dataloader.voc.augment.flip=0` needs no + of Hydra's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

from ..errors import ConfigError, unknown
from ..options import Options
from ..run_options import ArgsOptions, PretrainingOptions, RunOptions
from ..supernet.networks import SPACES
from .config_check import UNREAD_HPARAMS, Config, solver_options
from .plugin import COMPONENTS, SUBSTITUTES

MODULES = {name: module for _, name, module in (*COMPONENTS, *SUBSTITUTES)}
RUNNERS: dict[str, type[Options]] = {"DetOFASearcher": RunOptions, "OFAPretrainer": PretrainingOptions}


def unknown_key(config: Mapping[str, Any], key: str) -> ConfigError | None:
    """The error of an unknown dotted `key`: its first part that is neither in the configuration nor read by anyone."""
    place = key.split(".")
    at: Any = config
    for depth, name in enumerate(place):
        there = set(at) if isinstance(at, Mapping) else set()
        could = below(config, place[:depth])
        if name not in there | could:
            prefix = "".join(f"{one}." for one in place[:depth])
            return unknown("key", prefix + name, [f"{prefix}{one}" for one in (there | could) - {"hydra"}])
        at = at[name] if name in there else None
    return None


def below(config: Mapping[str, Any], place: Sequence[str]) -> set[str]:
    """The names that the code reads directly below a place of the configuration; none where it reads no names."""
    runner = RUNNERS.get(_at(config, "args", "algorithm"), RunOptions)
    match list(place):
        case []:
            return _names(Config)
        case ["args", *inside]:
            return _names(ArgsOptions, inside) - {"comm", "event"}
        case ["hparams"]:
            return {*_names(runner), *UNREAD_HPARAMS} - {"args"}
        case ["hparams", "phases", _]:
            return {*_names(runner, ["phases"]), "depths", "widths", "expands"}
        case ["hparams", "schedule"]:
            return _names(runner, ["schedule"])
        case ["space"]:
            return {"name"}
        case ["optimizer", name]:
            return _names(solver_options(_at(config, "optimizer", name, "name")))
        case ["network", name]:
            network = getattr(MODULES.get(name), "SearchNet" if _at(config, "args", "search") else "TrainNet", None)
            return _names(getattr(network, "declared", None))
        case ["network", name, "space"]:
            space = _at(config, "space", "name") or "ofa_resnet50"
            return {"name", *SPACES[space]().family.to_dict()} - {"coupled"} if space in SPACES else set()
        case ["dataloader", name, *inside]:
            return _names(getattr(getattr(MODULES.get(name), "DataLoader", None), "declared", None), inside)
        case [group, *inside] if group != "hparams":
            return _names(RunOptions, [group, *inside])
    return set()


def _at(config: Any, *place: str) -> Any:
    for name in place:
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _names(kind: Any, inside: Sequence[str] = ()) -> set[str]:
    """The options that a class declares, or those that one of them holds."""
    for name in inside:
        hint = get_type_hints(kind).get(name) if _declares(kind) else None
        kind = next(filter(_declares, _parts(hint)), None)
    if isinstance(kind, type) and issubclass(kind, Options):
        return set(kind.model_fields)
    return {one.name for one in fields(kind)} if is_dataclass(kind) else set()


def _declares(kind: Any) -> bool:
    return is_dataclass(kind) or (isinstance(kind, type) and issubclass(kind, Options))


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for one in get_args(hint):
        yield from _parts(one)
