"""Checkpoints of a training stage: weights, solver and position, as HDF5 and JSON."""

import os
import shutil
from pathlib import Path

import nnabla as nn
import numpy as np

from ..errors import NumericError, RunFolderError
from ..supernet import load_weights, save_weights
from .files import read_json, write_json

WEIGHTS, SOLVER, POSITION = "weights.h5", "solver.h5", "position.json"


def save_checkpoint(folder: Path, *, network, solver, position: dict) -> None:
    """Write all three beside and swap the folders, so that there is a whole checkpoint at any moment.

    NumericError for weights that are not finite; the checkpoint before stays.
    """
    for name, parameter in network.get_parameters().items():
        if not np.isfinite(parameter.d).all():
            raise NumericError(f"{name} is not finite; the last checkpoint is kept; try a lower optimizer.train.alpha")
    beside, before = folder.with_name(f".{folder.name}.writing"), folder.with_name(f".{folder.name}.before")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_weights(network, beside / WEIGHTS)
    solver.save_states(str(beside / SOLVER))
    write_json(beside / POSITION, position)
    if folder.exists():
        shutil.rmtree(before, ignore_errors=True)
        folder.rename(before)
    beside.rename(folder)
    _flush(folder.parent)
    shutil.rmtree(before, ignore_errors=True)


def load_checkpoint(folder: Path, *, network, solver) -> dict | None:
    """Restore what `save_checkpoint` wrote and return its position; None where there is no checkpoint."""
    before = folder.with_name(f".{folder.name}.before")
    if not folder.exists() and before.exists():  # stopped between the two renames
        before.rename(folder)
    if not folder.exists():
        return None
    position = read_json(folder / POSITION)
    load_weights(network, folder / WEIGHTS)
    try:
        with nn.parameter_scope("", {}):
            solver.load_states(str(folder / SOLVER))
    except Exception as error:
        raise RunFolderError(f"{folder / SOLVER} cannot be read ({error}); delete {folder} to train anew") from error
    return position


def _flush(folder: Path) -> None:
    """Make the renames in a folder outlast a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
