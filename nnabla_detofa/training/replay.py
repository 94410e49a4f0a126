"""A step whose loss is not finite, kept so that it can be run again anywhere (an addition; not in the paper).

    python -m nnabla_detofa.training.replay log/NAME/debug_step_N

The folder is a checkpoint, though of weights that may not be finite, with the step's batches: no other file is needed.
A distilled loss is run again without its teacher.
"""

import shutil
import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import nnabla as nn
import numpy as np

from ..errors import DetOFAError, RunFolderError
from ..supernet import OFAResNet50, classifier, detector
from .checkpoint import STATE, WEIGHTS, as_contents
from .files import damage, read_json, write_folder

NETWORKS = {"ofa_resnet50_centernet": detector, "ofa_resnet50_classifier": classifier}


def save_step(
    folder: Path, record: dict[str, Any], batches: Sequence[Mapping[str, list]], *, network: OFAResNet50, solver
) -> None:
    """Write weights, solver, batches and the `record` of the step: its path, network, loss weights, images by batch."""
    contents = as_contents(network, solver, record)
    for number, batch in enumerate(batches):
        arrays = {f"{kind}_{i}": array for kind in ("inputs", "targets") for i, array in enumerate(batch[kind])}
        content = BytesIO()
        np.savez(content, **arrays)
        contents[f"batch_{number}.npz"] = content.getvalue()
    shutil.rmtree(folder, ignore_errors=True)  # the same step of an earlier session
    write_folder(folder, contents)


def replay(folder: Path) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Run a kept step forward again; returns its record and the losses of each of its batches by name.

    RunFolderError where the folder is no such step, or damaged.
    """
    damaged = damage(folder, (STATE, WEIGHTS))
    if damaged:
        raise RunFolderError(f"{folder} is no step that was kept, or damaged: {damaged}")
    record = read_json(folder / STATE)
    ((name, options),) = record["network"].items()
    network = NETWORKS[name].SearchNet(**{**options, "pretrained": None})
    with nn.parameter_scope("", OrderedDict()):  # `load_weights` would refuse what is not finite
        nn.load_parameters(str(folder / WEIGHTS))
        stored = nn.get_parameters(grad_only=False)
    for name, parameter in network.get_parameters().items():
        parameter.d = stored[name].d
    network.activate(np.array(record["path"], np.int8))
    network.apply(training=True)
    files = [folder / f"batch_{number}.npz" for number in range(len(record["images"]))]
    return record, [_losses(network, file, record["loss_weights"]) for file in files]


def _losses(network: OFAResNet50, file: Path, loss_weights: list[float] | None) -> dict[str, float]:
    with np.load(file) as arrays:
        inputs, targets = (
            [nn.Variable.from_numpy_array(arrays[name]) for name in sorted(arrays) if name.startswith(kind)]
            for kind in ("inputs", "targets")
        )
    outputs = network(*inputs)
    terms = network.metrics(outputs, targets)
    loss = network.loss(outputs, targets, loss_weights, terms)
    nn.forward_all([loss, *terms.values()])
    return {"loss": float(loss.d), **{name: float(term.d) for name, term in terms.items()}}


def main(arguments: list[str]) -> int:
    """Print what a kept step gives now; returns the exit code."""
    try:
        if len(arguments) != 1:
            raise RunFolderError("give one folder: python -m nnabla_detofa.training.replay log/NAME/debug_step_N")
        record, losses = replay(Path(arguments[0]))
    except DetOFAError as error:
        print(f"nnabla_detofa: {error}", file=sys.stderr)
        return 2
    print(f"step {record['step']}, path {record['path']}; not finite before it: {record['lost'] or 'no parameter'}")
    for number, (found, images) in enumerate(zip(losses, record["images"], strict=True)):
        shown = ", ".join(f"{name} {value:.6g}" for name, value in found.items())
        print(f"batch {number}: {shown}; images {', '.join(images)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
