"""Weights on disk (HDF5, the host's format and names): saving, exact loading, and loading what fits."""

from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import nnabla as nn

from ..errors import WeightsError
from ..host import Model


class Transfer(NamedTuple):
    """Names of a partial load: taken over, left at their initial values, and in the file but not in the network."""

    loaded: list[str]
    new: list[str]
    left_out: list[str]


def save_weights(network: Model, file: Path) -> None:
    """Write every parameter by name; the file appears whole or not at all."""
    beside = file.with_name(f".{file.stem}.writing.h5")
    nn.save_parameters(str(beside), network.get_parameters())
    beside.replace(file)


def load_weights(network: Model, file: Path) -> None:
    """Load a file that holds exactly this network's parameters; WeightsError names what differs."""
    stored, own = _read(file), network.get_parameters()
    problems = _shape_differences(stored, own)
    problems += [f"{name} is missing" for name in own if name not in stored]
    problems += [f"{name} {stored[name].shape} is not in the network" for name in stored if name not in own]
    if problems:
        raise WeightsError(f"{file} holds the weights of another network: {_brief(problems)}")
    for name, parameter in own.items():
        parameter.d = stored[name].d


def transfer_weights(network: Model, file: Path) -> Transfer:
    """Load the parameters whose names the network knows; WeightsError where a shape differs or no name fits."""
    stored, own = _read(file), network.get_parameters()
    shared = [name for name in own if name in stored]
    problems = _shape_differences(stored, own)
    if problems or not shared:
        reason = _brief(problems) if problems else f"it has {_brief(list(stored))}; the network has {_brief(list(own))}"
        raise WeightsError(f"{file} holds the weights of another network: {reason}")
    for name in shared:
        own[name].d = stored[name].d
    return Transfer(shared, [name for name in own if name not in stored], [name for name in stored if name not in own])


def _read(file: Path) -> OrderedDict:
    file = Path(file)
    if not file.is_file():
        raise WeightsError(f"weights file {file} does not exist")
    try:
        with nn.parameter_scope("", OrderedDict()):
            nn.load_parameters(str(file))
            stored = OrderedDict(nn.get_parameters(grad_only=False))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"weights file {file} cannot be read: {reason}") from error
    if not stored:  # NNabla skips a file whose suffix it does not know
        raise WeightsError(f"weights file {file} holds no parameters; it must be NNabla's HDF5, with suffix .h5")
    return stored


def _shape_differences(stored, own) -> list[str]:
    return [
        f"{name} is {stored[name].shape} in the file and {parameter.shape} in the network"
        for name, parameter in own.items()
        if name in stored and stored[name].shape != parameter.shape
    ]


def _brief(names: list[str], limit: int = 4) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return "; ".join(names[:limit]) + more
