"""The parameter names of MIT's OFA networks (PyTorch, package `ofa`) as the host's; an addition, not in the paper."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import nnabla as nn
import numpy as np

from ..errors import WeightsError
from .elastic import STATISTICS
from .weights import write_parameters

# Published files say `conv.weight` where the present package says `conv.conv.weight`; both are read.
_LAYER = (
    r"\.(?P<kind>conv|bn|linear)(?:\.(?P=kind))?\.(?P<value>weight|bias|running_mean|running_var|num_batches_tracked)"
)
_BLOCK = r"blocks\.{}\.(?:mobile_inverted_)?conv\."
_FIRST, _ANY = _BLOCK.format("0"), _BLOCK.format(r"\d+")
_FORMS = {  # by kind of layer and their name: ours, and the number of its axes
    ("conv", "weight"): ("_W", 4),
    ("bn", "weight"): ("_gamma", 1),
    ("bn", "bias"): ("_beta", 1),
    ("bn", "running_mean"): ("_mean", 1),
    ("bn", "running_var"): ("_var", 1),
    ("linear", "weight"): ("_W", 2),
    ("linear", "bias"): ("_b", 1),
    ("fc", "weight"): ("_W", 4),
    ("fc", "bias"): ("_b", 1),
    ("matrix", "7to5_matrix"): ("7to5_matrix", 2),
    ("matrix", "5to3_matrix"): ("5to3_matrix", 2),
}


class Original(NamedTuple):
    """A network of theirs: `family` is ours, `names` are patterns of its names, each with what they become."""

    title: str
    family: str
    stem_activation: str | None
    names: dict[str, str]


RESNET50 = Original(
    "OFA-ResNet50",
    "ofa_resnet50",
    "relu",
    {
        rf"(?P<place>input_stem\.[02]|input_stem\.1\.conv|blocks\.\d+\.(?:conv[123]|downsample)){_LAYER}": (
            "{place}/{kind}/{kind}/{ours}"
        ),
        rf"(?P<place>classifier){_LAYER}": "{place}/0/{kind}/{kind}/{ours}",
    },
)
MOBILENETV3 = Original(
    "OFA-MobileNetV3",
    "ofa_mbv3",
    None,
    {
        rf"(?P<place>first_conv|final_expand_layer|feature_mix_layer|classifier|{_FIRST}(?:depth_conv|point_linear))"
        rf"{_LAYER}": "{place}/{kind}/{ours}",
        rf"(?P<place>{_ANY}(?:inverted_bottleneck|depth_conv|point_linear)){_LAYER}": "{place}/{kind}/{kind}/{ours}",
        rf"(?P<place>{_ANY}depth_conv\.se\.(?P<kind>fc)\.(?:reduce|expand))\.(?P<value>weight|bias)": "{place}/{ours}",
        rf"(?P<place>{_ANY}depth_conv\.conv)\.(?P<value>\dto\d_(?P<kind>matrix))": "{place}/{ours}",
    },
)


def original_of(state: Mapping[str, np.ndarray]) -> Original:
    """The network whose state dictionary it seems to be."""
    return MOBILENETV3 if any(name.startswith("first_conv.") for name in state) else RESNET50


def from_mit(state: Mapping[str, np.ndarray]) -> dict[str, nn.Variable]:
    """MIT's state dictionary as parameters by the host's names; the counts of batches seen are the only ones left out.

    WeightsError for a name or shape that their network does not have; whether all are there, loading tells.
    """
    original, found = original_of(state), {}
    for name, value in state.items():
        matches = ((re.fullmatch(pattern, name), becomes) for pattern, becomes in original.names.items())
        match, becomes = next(((match, becomes) for match, becomes in matches if match), (None, ""))
        if match and match["value"] == "num_batches_tracked":
            continue
        if not match or (match["kind"], match["value"]) not in _FORMS:
            raise WeightsError(f"{name} is no parameter of MIT's {original.title}")
        kind, (ours, axes) = match["kind"], _FORMS[match["kind"], match["value"]]
        if np.ndim(value) != axes:
            raise WeightsError(f"{name} has shape {np.shape(value)}, which MIT's {original.title} does not have")
        place = match["place"].replace("mobile_inverted_conv", "conv").replace(".", "/")
        array = value.T if axes == 2 else value.reshape(1, -1, 1, 1) if kind == "bn" else value
        found[becomes.format(place=place, kind=kind, ours=ours)] = nn.Variable.from_numpy_array(
            np.ascontiguousarray(array, np.float32), need_grad=ours not in STATISTICS
        )
    if not found:
        raise WeightsError("there are no parameters of MIT's OFA-ResNet50 or OFA-MobileNetV3")
    return found


def write_mit_weights(state: Mapping[str, np.ndarray], file: Path) -> int:
    """`from_mit` as a weights file; returns the number of parameters."""
    parameters = from_mit(state)
    write_parameters(parameters, file, stem_activation=original_of(state).stem_activation)
    return len(parameters)
