"""Keys that the code reads, beyond those that a configuration lists (an addition; not in the paper).

What a file of `conf/` leaves out has a default where it is declared. These declarations are asked here, so that
`dataloader.voc.augment.flip=0` needs no + of Hydra's.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from ..errors import ConfigError, unknown
from ..options import Options
from ..run_options import HOST_HPARAMS, ArgsOptions, PretrainingOptions, RunOptions
from ..space import Family
from .config_check import Config, solver_options
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
            return names(Config)
        case ["args"]:
            return names(ArgsOptions) - {"comm", "event"}
        case ["hparams"]:
            return {*names(runner), *HOST_HPARAMS} - {"args"}
        case ["hparams", "phases", _]:
            found = (_family(config, name) for name in _at(config, "network") or ())
            return {*names(runner, "phases"), *(kind for family in found if family for kind in family.choices)}
        case ["hparams", "schedule"]:
            return names(runner, "schedule")
        case ["space"]:
            return {"name"}
        case ["optimizer", name]:
            return names(solver_options(_at(config, "optimizer", name, "name")))
        case ["network", name]:
            network = getattr(MODULES.get(name), "SearchNet" if _at(config, "args", "search") else "TrainNet", None)
            return names(declared(network))
        case ["network", name, "space"]:
            return {"name", *(family.to_dict() if (family := _family(config, name)) else ())} - {"coupled", "family"}
        case ["dataloader", name, *inside]:
            return names(declared(getattr(MODULES.get(name), "DataLoader", None)), *inside)
        case [group, *inside] if group != "hparams":
            return names(RunOptions, group, *inside)
    return set()


def _at(config: Any, *place: str) -> Any:
    for name in place:
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _family(config: Any, network: str) -> Family | None:
    """That of the search space that a network of the configuration names, itself or by `space.name`; else its own."""
    spaces: Any = getattr(getattr(MODULES.get(network), "SearchNet", None), "spaces", {})
    names = _at(config, "network", network, "space", "name"), _at(config, "space", "name"), *spaces
    return next((spaces[name]().family for name in names if name in list(spaces)), None)


def declared(component: Any) -> type[Options] | None:
    """The class of the options of a network or of a data set's loader."""
    return getattr(component, "declared", None)


def names(kind: Any, *inside: str) -> set[str]:
    """The options that a class declares, or those that one of them holds."""
    for name in inside:
        kind = held(get_type_hints(kind).get(name)) if kind else None
    return set(kind.model_fields) if kind else set()


def held(hint: Any) -> type[Options] | None:
    """The class of options in an annotation: itself, an optional one, or that of a dictionary; None where none is."""
    return next((one for one in _parts(hint) if isinstance(one, type) and issubclass(one, Options)), None)


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for one in get_args(hint):
        yield from _parts(one)
