"""Weights on disk (HDF5, the host's format and names): saving, exact loading, and transfer to another network.

Channels stay in the file's order: what shrinks with a path is decided by training, never by loading.
"""

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import h5py
import nnabla as nn
import numpy as np

from ..errors import ConfigError, WeightsError
from ..hdf5 import opened, read_arrays
from ..storage.files import write_bytes
from .cut import cut
from .network import Supernet

HEADS = "heads"  # of which each is a part of its own
STEM_ACTIVATION = "stem_activation"  # an attribute of our files: no parameter tells what the stem was trained with
SUFFIX = ".h5"


class Transfer(NamedTuple):
    """Names of a partial load: taken over, left at their initial values, at least for some classes, and in the file but
    not in the network."""

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
    write_parameters(network.get_parameters(), file, stem_activation=network.stem_activation)


def weights_as_bytes(network: Supernet) -> bytes:
    """The bytes that `save_weights` would write."""
    return parameters_as_bytes(network.get_parameters(), stem_activation=network.stem_activation)


def write_parameters(parameters: Mapping[str, nn.Variable], file: Path, *, stem_activation: str | None) -> None:
    """`save_weights` of parameters without a network."""
    write_bytes(file, parameters_as_bytes(parameters, stem_activation=stem_activation))


def parameters_as_bytes(parameters: Mapping[str, nn.Variable], *, stem_activation: str | None) -> bytes:
    """The content of the file, without the stem's activation where that is None; made in memory, because HDF5 does not
    survive a disk that is full."""
    content = BytesIO()
    nn.save_parameters(content, parameters, extension=SUFFIX)
    if stem_activation is not None:
        with h5py.File(content, "a") as stored:
            stored.attrs[STEM_ACTIVATION] = stem_activation
    return content.getvalue()


def load_weights(network: Supernet, file: Path) -> None:
    """Load a file that holds exactly this network's parameters; WeightsError names what differs."""
    (stored, _), own = _read(file), network.get_parameters()
    _require_same(file, stored, own)
    for name, parameter in own.items():
        parameter.d = stored[name]


def transfer_weights(network: Supernet, file: str | Path, *, labels: Sequence[int | None] | None = None) -> Transfer:
    """Load the backbone, and of the other parts (neck, each head, classifier) those that are the same in file and
    network. Of a supernet's file a network that holds one path takes what the path uses.

    `labels`: for each class of the network its label in the file, None for a new one; the same where it is None.
    WeightsError where the backbone, its stem's activation included, is another network's.
    """
    file, expected = Path(file), network.stem_activation
    (stored, activation), own = _read(file), network.get_parameters()
    backbone = _backbone(network)
    if network.only is not None and _differences(_of(backbone, stored), _of(backbone, own)):
        stored = _cut(stored, network)
    labels = labels or ()
    head = f"{HEADS}/{(network.task.outputs or ('',))[0]}"  # that has a channel for each class
    stored = _relabelled(stored, own, labels, f"{head}/output/")
    if not _of(backbone, stored):
        raise WeightsError(
            f"{file} holds the weights of another network: it has {_brief(list(stored))};"
            f" the network has {_brief(list(own))}"
        )
    _require_same(file, _of(backbone, stored), _of(backbone, own))
    if None not in (activation, expected) and activation != expected:
        raise WeightsError(
            f"{file} was trained with stem_activation {activation}, and this network has {expected};"
            f" set the network's stem_activation to {activation}"
        )
    differing = {part for part in _parts(own) if _differences(_of([part], stored), _of([part], own))}
    anew = {head} if labels and set(labels) == {None} else set()
    same = [part for part in _parts(own) if part not in differing | anew]
    loaded = list(_of(same, own))
    for name in loaded:
        own[name].d = stored[name]
    left_out = [name for name in stored if _part(name) not in same]
    new = [name for name in own if _part(name) not in same or (None in labels and name.startswith(f"{head}/output/"))]
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


def _backbone(network: Supernet) -> list[str]:
    """The parts of a network that a transfer must find, each whole."""
    return _parts(place for places in network.space.family.places.values() for place in places)


def _cut(stored: dict[str, np.ndarray], network: Supernet) -> dict[str, np.ndarray]:
    """What the path of the network uses of its supernet's parameters; all as it is where these are none."""
    whole = Supernet(network.space, network.task, rng=np.random.default_rng(0), **dict(network.options))
    shapes, backbone = {name: one.shape for name, one in whole.get_parameters().items()}, _backbone(network)
    if _differences(_of(backbone, stored), _of(backbone, whole.get_parameters())):
        return stored
    own = network.get_parameters()
    kept = {name: value for name, value in stored.items() if name in own or _part(name) not in backbone}
    same = {name: own[name].shape for name in own if name in stored and stored[name].shape == shapes.get(name)}
    return {**kept, **cut(stored, same)}


def _relabelled(
    stored: dict[str, np.ndarray], own: Mapping, labels: Sequence[int | None], place: str
) -> dict[str, np.ndarray]:
    """The parameters with the map at this place of these classes, if any are said; what has no label is as in the
    network."""
    found = dict(stored)
    for name in (name for name in stored if labels and name.startswith(place) and name in own):
        n, n_stored = own[name].shape[0], len(stored[name])
        if len(labels) != n or any(one is not None and one >= n_stored for one in labels):
            allowed = f"for each of {n} classes a label below {n_stored}, or null"
            raise ConfigError(key="labels", given=[*labels], allowed=allowed)
        found[name] = np.stack([own[name].d[i] if j is None else stored[name][j] for i, j in enumerate(labels)])
    return found


def _part(name: str) -> str:
    """The part that a parameter belongs to: the first of its names, of a head the first two."""
    first, *others = name.split("/", 2)
    return "/".join([first, *others[:1]]) if first == HEADS else first


def _parts(names: Iterable[str]) -> list[str]:
    """The parts that parameters belong to, in order."""
    return list(dict.fromkeys(map(_part, names)))


def _of(parts: Iterable[str], parameters: Mapping) -> dict:
    """The parameters of some parts."""
    return {name: value for name, value in parameters.items() if _part(name) in parts}


def _brief(names: list[str], limit: int = 4) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return "; ".join(names[:limit]) + more
