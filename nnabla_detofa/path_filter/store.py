"""The file of a path filter: HDF5 with a versioned JSON header and one float32 array a parameter."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import WeightsError
from ..hdf5 import as_bytes, opened, read_arrays
from ..storage.files import write_bytes

FORMAT, VERSION = "nnabla_detofa path filter", 1


def write(file: Path, described: Mapping, weights: dict[str, np.ndarray]) -> None:
    """The file, whole or not at all."""
    header = json.dumps({"format": FORMAT, "version": VERSION, **described})
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, as_bytes({f"weights/{name}": value for name, value in weights.items()}, header=header))


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


def require_shapes(file: Path, weights: dict[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """WeightsError that names the first parameter that is missing, unknown, of another shape or not finite."""
    for name in sorted(shapes.keys() ^ weights.keys()):
        raise WeightsError(f"{file}: parameter '{name}' is {'missing' if name in shapes else 'unknown'}")
    for name, value in weights.items():
        if value.shape != shapes[name] or value.dtype != np.float32:
            raise WeightsError(
                f"{file}: parameter '{name}' is {value.shape} {value.dtype}; it must be {shapes[name]} float32"
            )
        if not np.isfinite(value).all():
            raise WeightsError(f"{file}: parameter '{name}' holds values that are not finite")


def require_agreement(file: Path, what: str, stored: Mapping, wanted: Mapping) -> None:
    """WeightsError that names every entry in which a stored description differs from the wanted one."""
    stored, wanted = (json.loads(json.dumps(dict(one))) for one in (stored, wanted))  # lists for tuples
    differing = [name for name in {**wanted, **stored} if stored.get(name) != wanted.get(name)]
    if differing:
        parts = (f"{name} {stored.get(name)}, where {wanted.get(name)} is wanted" for name in differing)
        raise WeightsError(f"{file} holds a path filter of another {what}: {'; '.join(parts)}")
