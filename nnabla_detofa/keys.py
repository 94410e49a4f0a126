"""Keys that the code reads, beyond those that a configuration lists (an addition; not in the paper).

What a file of `conf/` leaves out has a default where it is read: in the signature of the function or in the fields of
the options that get it. They are asked here, so that `dataloader.voc.augment.flip=0` needs no + of Hydra's.
"""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, get_args

from .errors import ConfigError, unknown
from .host.check import HOST_HPARAMS, OPTIMIZER_KEYS, SOLVERS, inherited_options
from .host.launch import GROUPS, OUR_GROUPS
from .host.plugin import COMPONENTS, SUBSTITUTES
from .pretraining import OFAPretrainer
from .ranking import FIT_KEYS, NETWORK_KEYS, PATH_FILTER_KEYS
from .searcher import DetOFASearcher, OFAPretrainer
from .searching import SEARCH_KEYS
from .supernet.building import SPACES
from .training.costs import OPTIONS as COSTS
from .training.phases import CHOICES
from .training.schedule import learning_rate
from .training.settings import keywords
from .training.trainer import ARGS, CHECKPOINT, HOST_ARGS

MODULES = {name: module for _, name, module in (*COMPONENTS, *SUBSTITUTES)}
RUNNERS = (DetOFASearcher, OFAPretrainer)
PHASE = ("epochs", *CHOICES, "rate", "batch_size", "ramp", "ramp_from")


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
    match list(place):
        case []:
            return {*GROUPS, *OUR_GROUPS}
        case ["args"]:
            return {*ARGS, *HOST_ARGS, *CHECKPOINT} - {"comm", "event"}
        case ["hparams"]:
            read = (runner.HPARAMS for runner in RUNNERS if runner.__name__ == _at(config, "args", "algorithm"))
            return {"cost", *HOST_HPARAMS}.union(*read)
        case ["hparams", "schedule"]:
            return {"name", *keywords(learning_rate, "total", "batch")}
        case ["hparams", "phases", _]:
            return set(PHASE)
        case ["pruning"]:
            return PRUNING_KEYS
        case ["path_filter"]:
            return set(PATH_FILTER_KEYS)
        case ["path_filter", "network"]:
            return NETWORK_KEYS
        case ["path_filter", "fit"]:
            return FIT_KEYS
        case ["search"]:
            return SEARCH_KEYS
        case ["sampler"]:
            return {"name"}
        case ["cost"]:
            return {"name"}.union(*COSTS.values())
        case ["optimizer", name]:
            solver = _at(config, "optimizer", name, "name")
            return {*OPTIMIZER_KEYS, *(signature(SOLVERS[solver]).parameters if solver in SOLVERS else ())}
        case ["network", name]:
            return _of_network(MODULES.get(name), "SearchNet" if _at(config, "args", "search") else "TrainNet")
        case ["network", name, "space"]:
            space = _at(config, "network", name, "space", "name") or "ofa_resnet50"
            return {"name", *SPACES[space]().structure.to_dict()} - {"coupled"} if space in SPACES else set()
        case ["dataloader", name, *inside]:
            loader = getattr(MODULES.get(name), "DataLoader", None)
            return _of_options(getattr(loader, "declared", None), inside)
    return set()


def _at(config: Any, *place: str) -> Any:
    for name in place:
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def _of_network(module: Any, kind: str) -> set[str]:
    network = getattr(module, kind, None)
    if network is None:
        return set()
    named = (p for p in signature(network).parameters.values() if p.kind is not p.VAR_KEYWORD)
    return {*(p.name for p in named), *inherited_options(network)}


def _of_options(options: Any, inside: Sequence[str]) -> set[str]:
    """The fields of a class of options, or of the options that one of them holds."""
    for name in inside:
        field = getattr(options, "model_fields", {}).get(name)
        hint = field and field.annotation
        options = next((one for one in (hint, *get_args(hint)) if hasattr(one, "model_fields")), None)
    return set(getattr(options, "model_fields", ()))
