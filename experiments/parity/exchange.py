"""Exchange between the two environments: arrays in .npz files, without pickle, and the names that they go by.

Needs NumPy alone, so that both sides import it.
"""

import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from experiments.benchmarks.paired_timing import PYTHONS, ROOT

OPTIONS = "options"  # the entry that holds JSON
Arrays = dict[str, np.ndarray]

_VALUES = {
    **{"_W": "weight", "_b": "bias", "_gamma": "weight", "_beta": "bias"},
    **{"_mean": "running_mean", "_var": "running_var"},
}


def torch_name(name: str) -> str:
    """The reference's name of our parameter: OFA's own for the backbone, shorter ones for neck and heads."""
    place, value = name.rsplit("/", 1)
    if place.startswith("neck/"):
        place = place.replace("/bn/bn", "/bn")
    elif place.startswith("heads/"):
        place = place.removesuffix("/conv")
    else:
        place = f"backbone/{place}"
    return f"{place}/{_VALUES[value]}".replace("/", ".")


def to_torch(ours: Mapping[str, np.ndarray]) -> Arrays:
    """Our parameters, or what belongs to them, by the reference's names and in its shapes: (C,), not (1, C, 1, 1)."""
    return {torch_name(name): value if "/bn/" not in name else value.reshape(-1) for name, value in ours.items()}


def from_torch(theirs: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    """The reference's parameters by our names and in our shapes; KeyError where one is missing."""
    return {name: np.asarray(theirs[torch_name(name)]).reshape(shape) for name, shape in shapes.items()}


def group(arrays: Mapping[str, np.ndarray], prefix: str) -> Arrays:
    """The arrays "PREFIX/…", without the prefix."""
    return {name.removeprefix(f"{prefix}/"): value for name, value in arrays.items() if name.startswith(f"{prefix}/")}


def prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """The arrays as "PREFIX/…"."""
    return {f"{prefix}/{name}": value for name, value in arrays.items()}


def write(file: Path, arrays: Mapping[str, np.ndarray], options: Mapping | None = None) -> None:
    """Arrays by name, and whatever JSON can hold."""
    np.savez(file, **arrays, **{OPTIONS: np.array(json.dumps(options or {}))})


def read(file: Path) -> tuple[Arrays, dict]:
    """The arrays that `write` wrote; a file with pickled objects is refused (ValueError)."""
    with np.load(file, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return arrays, json.loads(str(arrays.pop(OPTIONS)))


def ask(task: str, arrays: Mapping[str, np.ndarray], options: Mapping) -> Arrays:
    """The answer of the reference, in a process of the peers' environment."""
    python = PYTHONS["peers"]
    if not Path(python).is_file():
        raise SystemExit(f"the reference needs PyTorch and OFA in {python}; make .venv-peers/stamp builds them")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "ask.npz", arrays, options)
        subprocess.run([python, "-m", "experiments.parity.reference", task, str(folder)], cwd=ROOT, check=True)
        return read(folder / "answer.npz")[0]
