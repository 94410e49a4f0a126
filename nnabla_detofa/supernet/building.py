"""Networks as configurations ask for them, and one path of a supernet as a network of its own (Section 4.1)."""

from collections.abc import Mapping
from inspect import signature

import numpy as np

from ..errors import ConfigError, unknown
from ..space import SearchSpace
from .backbone import OFAResNet50

SPACES = {"ofa_resnet50": SearchSpace.ofa_resnet50, "comp_ofa": SearchSpace.comp_ofa}


def search_space(options: Mapping | None) -> SearchSpace:
    """The space of that "name" with the other options; ConfigError for an unknown name or option."""
    if not isinstance(options or {}, Mapping):
        raise ConfigError(f"space is {options!r}; it must hold a name and options, as {{name: ofa_resnet50}}")
    options = {"name": "ofa_resnet50", **(options or {})}
    if (name := options.pop("name")) not in SPACES:
        raise unknown("search space", name, SPACES)
    return SPACES[name](**options)


def require_known(network: type[OFAResNet50], options: Mapping) -> None:
    """ConfigError for an option that neither the class of network nor its backbone knows."""
    calls = signature(network), signature(OFAResNet50)
    known = {p.name for call in calls for p in call.parameters.values() if p.kind is p.KEYWORD_ONLY} - {"rng", "only"}
    for key in options:
        if key not in known:
            raise unknown("option of the network:", key, known)


def extract(supernet: OFAResNet50, path: np.ndarray) -> OFAResNet50:
    """The path as a network of its own: the supernet's weights, statistics and function, to float noise."""
    network = supernet.alone(supernet.require_path(path))
    shared = supernet.get_parameters()
    for name, parameter in network.get_parameters().items():
        parameter.d = shared[name].d[tuple(slice(n) for n in parameter.shape)]
    return network
