"""MIT's PyTorch checkpoint of OFA-ResNet50 or OFA-MobileNetV3 as a weights file for `pretrained`.

An addition; not in the paper.

    python -m nnabla_detofa.convert_mit ofa_supernet_resnet50 ofa_resnet50.h5

Needs PyTorch: pip install 'nnabla-detofa[convert]'. The checkpoint's pickled part is read as tensors alone, so that a
file can run no code.
"""

import argparse
import logging
import pickle
import sys
from pathlib import Path

import numpy as np

from .errors import DetOFAError, HostError, WeightsError

DONE, WRONG_INPUT = 0, 2


def main(arguments: list[str] | None = None) -> int:
    """Convert; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m nnabla_detofa.convert_mit", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("checkpoint", type=Path, help="MIT's PyTorch file")
    parser.add_argument("weights", type=Path, help="the file to write, with suffix .h5")
    given = parser.parse_args(arguments)
    logging.getLogger("nnabla").setLevel(logging.WARNING)
    try:
        print(convert(given.checkpoint, given.weights))
    except DetOFAError as error:
        print(f"convert_mit: {error}", file=sys.stderr)
        return WRONG_INPUT
    return DONE


def convert(checkpoint: Path, weights: Path) -> str:
    """Write `weights` from `checkpoint`; returns a line on what was written and how it is used."""
    from .supernet import original_of, write_mit_weights  # late: reading a checkpoint needs PyTorch, and no nnabla

    if weights.suffix != ".h5":
        raise WeightsError(f"{weights} must have the suffix .h5; NNabla knows its files by it")
    state = read_checkpoint(checkpoint)
    try:
        n = write_mit_weights(state, weights)
    except WeightsError as error:
        raise WeightsError(f"{checkpoint}: {error}") from error
    original = original_of(state)
    network, activation = f"network.{original.family}_centernet", original.stem_activation
    return (
        f"{weights}: {n} of {len(state)} entries, without the counts of batches seen; use it with"
        f" {network}.pretrained={weights}{f' {network}.stem_activation={activation}' if activation else ''}"
    )


def read_checkpoint(file: Path) -> dict[str, np.ndarray]:
    """The state dictionary of a PyTorch checkpoint as arrays.

    Raises HostError without PyTorch, WeightsError for what is no checkpoint, or one that holds more than data.
    """
    try:
        import torch
    except ImportError as error:
        raise HostError("reading a PyTorch checkpoint needs PyTorch: pip install 'nnabla-detofa[convert]'") from error
    if not file.is_file():
        raise WeightsError(f"there is no checkpoint {file}")
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{file} is no PyTorch checkpoint of tensors alone, and a pickle may run code: {_first_line(error)}"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(f"{file} cannot be read as a PyTorch checkpoint: {_first_line(error)}") from error
    state = stored.get("state_dict", stored) if isinstance(stored, dict) else stored
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{file} holds no state dictionary, which is a tensor for each name")
    return {str(name): value.float().numpy() for name, value in state.items()}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


if __name__ == "__main__":
    sys.exit(main())
