"""A step whose loss or gradient is not finite, kept so that it can be run again (an addition; not in the paper).

    python -m nnabla_detofa.training.replay log/NAME/debug_step_N

The folder is a checkpoint, though of weights that may not be finite (those behind the update, if that lost one), with
the step's batches: no other file is needed. A distilled loss is run again without its teacher.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nnabla as nn
import numpy as np

from ..errors import DetOFAError, RunFolderError
from ..hdf5 import as_bytes, opened, read_arrays
from ..storage.files import damage, read_json, write_folder
from ..supernet import Supernet, network_of
from .checkpoint import STATE, WEIGHTS, as_contents

BATCHES = "batches.h5"  # <batch>/inputs/<number> and <batch>/targets/<number>


def save_step(
    folder: Path, record: dict[str, Any], batches: Sequence[Mapping[str, list]], *, network: Supernet, solver
) -> None:
    """Write weights, solver, batches and the `record` of the step: its path, network, loss weights, images by batch."""
    arrays = {
        f"{number}/{kind}/{i}": array
        for number, batch in enumerate(batches)
        for kind in ("inputs", "targets")
        for i, array in enumerate(batch[kind])
    }
    shutil.rmtree(folder, ignore_errors=True)  # the same step of an earlier session
    write_folder(folder, {**as_contents(network, solver, record), BATCHES: as_bytes(arrays)})


def replay(folder: Path) -> tuple[dict[str, Any], list[dict[str, float]], list[str]]:
    """Run a kept step again, without its update.

    Returns its record, the losses of each of its batches by name, and the parameters whose gradients are not finite.
    RunFolderError where the folder is no such step, or damaged.
    """

    def refuse(reason: str) -> RunFolderError:
        return RunFolderError(f"{folder} is no step that was kept, or damaged: {reason}")

    if damaged := damage(folder, (STATE, WEIGHTS, BATCHES)):
        raise refuse(damaged)
    record = read_json(folder / STATE)
    with opened(folder / WEIGHTS, refuse) as one, opened(folder / BATCHES, refuse) as other:
        weights, batches = read_arrays(one), read_arrays(other)
    try:
        network = _network(record, weights)
        parameters = network.get_parameters(grad_only=True)
        for parameter in parameters.values():
            parameter.g = 0
        losses = [_losses(network, batches, number, record) for number in range(len(record["images"]))]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise refuse(f"{type(error).__name__}: {error}") from error
    return record, losses, [name for name, p in parameters.items() if not np.isfinite(p.g).all()]


def _network(record: Mapping[str, Any], weights: Mapping[str, np.ndarray]) -> Supernet:
    """That of the step, with its path active; `load_weights` would refuse what is not finite."""
    network = network_of({name: {**options, "pretrained": None} for name, options in record["network"].items()})
    for name, parameter in network.get_parameters().items():
        parameter.d = weights[name]
    network.activate(np.array(record["path"], np.int8))
    network.apply(training=True)
    return network


def _losses(
    network: Supernet, batches: Mapping[str, np.ndarray], number: int, record: Mapping[str, Any]
) -> dict[str, float]:
    names = [
        [name for name in sorted(batches) if name.startswith(f"{number}/{kind}")] for kind in ("inputs", "targets")
    ]
    inputs, targets = ([nn.Variable.from_numpy_array(batches[name]) for name in some] for some in names)
    outputs = network(*inputs)
    terms = network.metrics(outputs, targets)
    loss = network.loss(outputs, targets, record["loss_weights"], terms)
    nn.forward_all([loss, *terms.values()], clear_no_need_grad=True)
    found = {"loss": float(loss.d), **{name: float(term.d) for name, term in terms.items()}}
    loss.backward(clear_buffer=True)
    return found


def main(arguments: list[str]) -> int:
    """Print what a kept step gives now; returns the exit code."""
    try:
        if len(arguments) != 1:
            raise RunFolderError("give one folder: python -m nnabla_detofa.training.replay log/NAME/debug_step_N")
        record, losses, lost = replay(Path(arguments[0]))
    except DetOFAError as error:
        print(f"nnabla_detofa: {error}", file=sys.stderr)
        return 2
    print(f"step {record['step']}, path {record['path']}; not finite in the network: {record['lost'] or 'nothing'}")
    for number, (found, images) in enumerate(zip(losses, record["images"], strict=True)):
        shown = ", ".join(f"{name} {value:.6g}" for name, value in found.items())
        print(f"batch {number}: {shown}; images {', '.join(images)}")
    print(f"gradients that are not finite: {len(lost)}{', the first of ' + lost[0] if lost else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
