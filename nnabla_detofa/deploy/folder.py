"""A detector's folder: whole or not at all, or with some of its files anew (an addition; not in the paper)."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..ranking import Ranked
from ..storage.files import as_json, damage, write_folder
from ..supernet import Supernet, weights_as_bytes
from .front import Front
from .maps import DESCRIPTION, as_metadata, extra
from .nnp import nnp_of


def onnx_file(network: Supernet, described: Mapping[str, Any], *, sides: tuple[int, int], raw: bool = False) -> bytes:
    """`detector.onnx`; HostError without the extra, or where its answers are not NNabla's."""
    with extra():
        from .onnx_graph import model_of, require_equal
    model = model_of(network, sides=sides, metadata=as_metadata(described), raw=raw)
    require_equal(model, network)
    return model.SerializeToString()


def nnp_file(network: Supernet, _described: Mapping[str, Any], *, sides: tuple[int, int], **_: Any) -> bytes:
    """`detector.nnp`."""
    return nnp_of(network, sides=sides)


def h5_file(network: Supernet, _described: Mapping[str, Any], **_: Any) -> bytes:
    """`detector.h5`, which `TrainNet` of the description's network takes as `pretrained`."""
    return weights_as_bytes(network)


FORMATS: dict[str, Callable[..., bytes]] = {"onnx": onnx_file, "nnp": nnp_file, "h5": h5_file}


def write_detector(front: Front, one: Ranked, within: Path, formats: Sequence[str], **options: Any) -> Path:
    """The detector's folder below `within`; files of other formats of the same detector that are there stay."""
    network, described, folder = front.network_of(one), front.described(one), within / one.folder
    files = {f"detector.{name}": FORMATS[name](network, described, sides=front.sides, **options) for name in formats}
    text = as_json(described).encode()
    write_folder(folder, {DESCRIPTION: text, **_kept(folder, described), **files}, replaces=True)
    return folder


def _kept(folder: Path, described: Mapping[str, Any]) -> dict[str, bytes]:
    """The undamaged files of the folder that hold this very detector."""
    names = [f"detector.{name}" for name in FORMATS if (folder / f"detector.{name}").is_file()]
    if not names or damage(folder, (DESCRIPTION, *names)) is not None:
        return {}
    there = json.loads((folder / DESCRIPTION).read_text())
    same = all(there.get(key) == described[key] for key in ("digest", "path"))
    return {name: (folder / name).read_bytes() for name in names} if same else {}
