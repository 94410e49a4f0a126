"""Weights on disk (HDF5, the host's format and names): saving, exact loading, and transfer to another network.

Channels stay in the file's order: what shrinks with a path is decided by training, never by loading.
"""

from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import h5py
import nnabla as nn
import numpy as np

from ..errors import WeightsError
from ..hdf5 import opened, read_arrays
from ..storage.files import write_bytes
from .network import Supernet

BACKBONE = ("input_stem", "blocks")  # the parts of a network that a transfer must find, each whole
STEM_ACTIVATION = "stem_activation"  # an attribute of our files: no parameter tells what the stem was trained with
SUFFIX = ".h5"


class Transfer(NamedTuple):
    """Names of a partial load: taken over, left at their initial values, and in the file but not in the network."""

    file: Path
    loaded: list[str]
    new: list[str]
    left_out: list[str]

    def __str__(self) -> str:
        """One line that names the parts of the network and of the file."""
        loaded, new, left_out = (", ".join(_parts(names)) or "nothing" for names in self[1:])
        return f"{self.file}: loaded {loaded} ({len(self.loaded)} parameters); new: {new}; left out: {left_out}"


def save_weights(network: Supernet, file: Path) -> None:
    """Write every parameter by name; the file appears whole or not at all."""
    write_parameters(network.get_parameters(), file, stem_activation=network.options.stem_activation)


def weights_as_bytes(network: Supernet) -> bytes:
    """The bytes that `save_weights` would write."""
    return parameters_as_bytes(network.get_parameters(), stem_activation=network.options.stem_activation)


def write_parameters(parameters: Mapping[str, nn.Variable], file: Path, *, stem_activation: str) -> None:
    """`save_weights` of parameters without a network."""
    write_bytes(file, parameters_as_bytes(parameters, stem_activation=stem_activation))


def parameters_as_bytes(parameters: Mapping[str, nn.Variable], *, stem_activation: str) -> bytes:
    """The content of the file; made in memory, because HDF5 does not survive a disk that is full."""
    content = BytesIO()
    nn.save_parameters(content, parameters, extension=SUFFIX)
    with h5py.File(content, "a") as stored:
        stored.attrs[STEM_ACTIVATION] = stem_activation
    return content.getvalue()


def load_weights(network: Supernet, file: Path) -> None:
    """Load a file that holds exactly this network's parameters; WeightsError names what differs."""
    (stored, _), own = _read(file), network.get_parameters()
    _require_same(file, stored, own)
    for name, parameter in own.items():
        parameter.d = stored[name]


def transfer_weights(network: Supernet, file: str | Path) -> Transfer:
    """Load the backbone, and of the other parts (neck, heads, classifier) those that are the same in file and network.

    WeightsError where the backbone, its stem's activation included, is another network's.
    """
    file, expected = Path(file), network.options.stem_activation
    (stored, activation), own = _read(file), network.get_parameters()
    if not _of(BACKBONE, stored):
        raise WeightsError(
            f"{file} holds the weights of another network: it has {_brief(list(stored))};"
            f" the network has {_brief(list(own))}"
        )
    _require_same(file, _of(BACKBONE, stored), _of(BACKBONE, own))
    if activation not in (None, expected):
        raise WeightsError(
            f"{file} was trained with stem_activation {activation}, and this network has {expected};"
            f" set the network's stem_activation to {activation}"
        )
    same = [part for part in _parts(own) if not _differences(_of([part], stored), _of([part], own))]
    loaded = list(_of(same, own))
    for name in loaded:
        own[name].d = stored[name]
    new, left_out = ([name for name in names if name.split("/", 1)[0] not in same] for names in (own, stored))
    return Transfer(file, loaded, new, left_out)


def _read(file: Path) -> tuple[dict[str, np.ndarray], str | None]:
    """Parameters, and the stem's activation; the host's files do not say it, which is relu6 in the host alone."""
    if not file.is_file():
        raise WeightsError(f"weights file {file} {'is a folder' if file.is_dir() else 'does not exist'}")
    if file.suffix != SUFFIX:
        raise WeightsError(
            f"weights file {file} holds no parameters; it must be NNabla's HDF5, with suffix {SUFFIX}"
            " (`python -m nnabla_detofa.convert_mit` makes one of MIT's PyTorch file)"
        )
    with opened(file, lambda reason: WeightsError(f"weights file {file} cannot be read: {reason}")) as source:
        stored = read_arrays(source)
        names = sorted(stored, key=lambda name: source[name].attrs.get("index", 0))  # NNabla's order of parameters
        activation = source.attrs.get(STEM_ACTIVATION)
    if not stored:
        raise WeightsError(f"weights file {file} holds no parameters")
    for name, value in stored.items():
        if not np.isfinite(value).all():
            raise WeightsError(f"weights file {file}: {name} holds values that are not finite")
    return {name: stored[name] for name in names}, None if activation is None else str(activation)


def _require_same(file: Path, stored: Mapping, own: Mapping) -> None:
    if problems := _differences(stored, own):
        raise WeightsError(f"{file} holds the weights of another network: {_brief(problems)}")


def _differences(stored: Mapping, own: Mapping) -> list[str]:
    """Differences between stored parameters and a network's own, a phrase each."""
    return [
        *(
            f"{name} is {stored[name].shape} in the file and {parameter.shape} in the network"
            for name, parameter in own.items()
            if name in stored and stored[name].shape != parameter.shape
        ),
        *(f"{name} is missing" for name in own if name not in stored),
        *(f"{name} {stored[name].shape} is not in the network" for name in stored if name not in own),
    ]


def _parts(names: Iterable[str]) -> list[str]:
    """The parts that parameters belong to, in order."""
    return list(dict.fromkeys(name.split("/", 1)[0] for name in names))


def _of(parts: Iterable[str], parameters: Mapping) -> dict:
    """The parameters of some parts."""
    return {name: value for name, value in parameters.items() if name.split("/", 1)[0] in parts}


def _brief(names: list[str], limit: int = 4) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return "; ".join(names[:limit]) + more
