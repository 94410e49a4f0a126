"""The parameter names of MIT's OFA-ResNet50 (PyTorch, package `ofa`) as the host's; an addition, not in the paper."""

import re
from collections.abc import Mapping
from pathlib import Path

import nnabla as nn
import numpy as np

from ..errors import WeightsError
from .weights import write_parameters

# Published files say `conv.weight` where the present package says `conv.conv.weight`; both are read.
_NAME = re.compile(
    r"(?P<place>input_stem\.[02]|input_stem\.1\.conv|blocks\.\d+\.(?:conv[123]|downsample)|classifier)"
    r"\.(?P<kind>conv|bn|linear)(?:\.(?P=kind))?"
    r"\.(?P<value>weight|bias|running_mean|running_var|num_batches_tracked)"
)
_VALUES = {
    ("conv", "weight"): "_W",
    ("bn", "weight"): "_gamma",
    ("bn", "bias"): "_beta",
    ("bn", "running_mean"): "_mean",
    ("bn", "running_var"): "_var",
    ("linear", "weight"): "_W",
    ("linear", "bias"): "_b",
}
_AXES = {"conv": 4, "bn": 1, "linear": None}  # of every value of that kind; a linear layer has both


def from_mit(state: Mapping[str, np.ndarray]) -> dict[str, nn.Variable]:
    """MIT's state dictionary as parameters by the host's names; the counts of batches seen are the only ones left out.

    WeightsError for a name or shape that OFA-ResNet50 does not have; whether all are there, loading tells.
    """
    found: dict[str, nn.Variable] = {}
    for name, value in state.items():
        match = _NAME.fullmatch(name)
        if match and match["value"] == "num_batches_tracked":
            continue
        if not match or (match["kind"], match["value"]) not in _VALUES:
            raise WeightsError(f"{name} is no parameter of MIT's OFA-ResNet50")
        place, kind, ours = match["place"].replace(".", "/"), match["kind"], _VALUES[match["kind"], match["value"]]
        if np.ndim(value) != (_AXES[kind] or (2 if ours == "_W" else 1)):
            raise WeightsError(f"{name} has shape {np.shape(value)}, which MIT's OFA-ResNet50 does not have")
        place = "classifier/0" if place == "classifier" else place
        array = value.T if kind == "linear" else value.reshape(1, -1, 1, 1) if kind == "bn" else value
        learned = ours not in ("_mean", "_var")
        found[f"{place}/{kind}/{kind}/{ours}"] = nn.Variable.from_numpy_array(
            np.ascontiguousarray(array, np.float32), need_grad=learned
        )
    if not found:
        raise WeightsError("there are no parameters of MIT's OFA-ResNet50")
    return found


def write_mit_weights(state: Mapping[str, np.ndarray], file: Path) -> int:
    """`from_mit` as a weights file; returns the number of parameters."""
    parameters = from_mit(state)
    write_parameters(parameters, file, stem_activation="relu")
    return len(parameters)
