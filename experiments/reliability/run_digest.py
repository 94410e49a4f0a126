"""A digest of a run's results, without what may differ between two equal runs: seconds, and when it was."""

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py

TIMES = ("seconds", "path_pruning_share", "sums")  # checksums are of files that hold seconds too


def digest_of(folder: Path) -> dict[str, str]:
    """A digest of every result in a run's folder by name, and of the last checkpoint of each of its training stages."""
    results = {one.name: one for one in folder.iterdir() if one.suffix in (".csv", ".h5", ".json", ".png")}
    for stage in folder.glob("checkpoint_*"):
        last = max(one for one in stage.iterdir() if one.name.isdecimal())
        results |= {f"{stage.name}/{one.name}": one for one in last.iterdir() if one.name != "sums.json"}
    return {name: _digest(file) for name, file in results.items()}


def _digest(file: Path) -> str:
    if file.suffix == ".h5":
        return _of_arrays(file)
    content = file.read_bytes()
    if file.suffix == ".json":
        content = json.dumps(_timeless(json.loads(content)), sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def _of_arrays(file: Path) -> str:
    """Of names, types, shapes and bits of all arrays."""
    found = hashlib.sha256()

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found.update(f"{name} {item.dtype} {item.shape} ".encode() + item[()].tobytes())

    with h5py.File(file, "r") as content:
        content.visititems(take)
    return found.hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in TIMES}
    return [_timeless(one) for one in value] if isinstance(value, list) else value
