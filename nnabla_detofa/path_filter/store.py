"""The file of a path filter: HDF5 with a versioned JSON header and one float32 array a parameter."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from ..errors import WeightsError
from ..hdf5 import opened, read_arrays
from ..space import TokenLayout
from .network import Design

FORMAT, VERSION = "nnabla_detofa path filter", 1


def write(
    file: Path, layout: TokenLayout, design: Design, weights: dict[str, np.ndarray], space: Mapping | None
) -> None:
    """Writes beside `file` and moves it there when complete; made in memory, as HDF5 fails badly on a full disk."""
    header = {"format": FORMAT, "version": VERSION, "layout": layout._asdict(), "design": asdict(design)}
    header |= {} if space is None else {"space": dict(space)}
    file.parent.mkdir(parents=True, exist_ok=True)
    content = BytesIO()
    with h5py.File(content, "w") as out:
        out.attrs["header"] = json.dumps(header)
        for name, value in weights.items():
            out.create_dataset(f"weights/{name}", data=value)
    unfinished = file.with_name(file.name + ".part")
    unfinished.write_bytes(content.getvalue())
    unfinished.replace(file)


def read(file: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Header and arrays by name.

    Raises:
        WeightsError: no such file, not HDF5, no header of a version this code knows, or cut off.
    """
    if not file.is_file():
        raise WeightsError(f"there is no path filter at {file}")
    with opened(file, lambda reason: WeightsError(f"{file} is damaged or no path filter ({reason})")) as source:
        header = json.loads(source.attrs["header"])
        weights = read_arrays(source["weights"])
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise WeightsError(f"{file} is no path filter: its header lacks '{FORMAT}'")
    if header.get("version") != VERSION:
        raise WeightsError(f"{file} has version {header.get('version')!r}; this release reads version {VERSION}")
    return header, weights


def require_sizes(file: Path, layout: TokenLayout, design: Design, weights: dict[str, np.ndarray]) -> None:
    """WeightsError unless the header's sizes are those of the arrays; before a network of such sizes is made."""
    sizes = {"token": (layout.vocabulary, design.dim), "head/hidden/W": (design.dim, design.hidden)}
    if design.budget_condition:
        sizes["budget"] = (design.n_buckets, design.dim)
    require_same(file, sizes, {name: weights[name] for name in sizes if name in weights})
    if (layers := sum(name.endswith("/key/W") for name in weights)) != design.layers:
        raise WeightsError(f"{file}: it has arrays of {layers} layers, and its header says {design.layers}")


def require_same(file: Path, shapes: Mapping[str, tuple[int, ...]], weights: dict[str, np.ndarray]) -> None:
    """WeightsError that names the first parameter that is missing, unknown, of another shape or not finite."""
    for name in sorted(shapes.keys() ^ weights.keys()):
        raise WeightsError(f"{file}: parameter '{name}' is {'missing' if name in shapes else 'unknown'}")
    for name, value in weights.items():
        if np.shape(value) != shapes[name] or value.dtype != np.float32:
            raise WeightsError(
                f"{file}: parameter '{name}' is {np.shape(value)} {value.dtype}; it must be {shapes[name]} float32"
            )
        if not np.isfinite(value).all():
            raise WeightsError(f"{file}: parameter '{name}' holds values that are not finite")


def require_agreement(file: Path, what: str, stored: Mapping, wanted: Mapping) -> None:
    """WeightsError that names every entry in which a stored description differs from the wanted one."""
    wanted = json.loads(json.dumps(dict(wanted)))  # lists for tuples, as the header has them
    differing = [name for name in {**wanted, **stored} if stored.get(name) != wanted.get(name)]
    if differing:
        parts = (f"{name} {stored.get(name)}, where {wanted.get(name)} is wanted" for name in differing)
        raise WeightsError(f"{file} holds a path filter of another {what}: {'; '.join(parts)}")
