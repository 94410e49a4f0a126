"""The files of one detector of the paper's space."""

import numpy as np

from nnabla_detofa.deploy.nnp import nnp_of
from nnabla_detofa.deploy.onnx_graph import model_of
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import Supernet, extract
from nnabla_detofa.tasks import CenterNet


def exporting(kind: str, size: int, n_classes: int = 20):
    """The largest detector as the bytes of an ONNX or of an NNP file (`kind`)."""
    space, sides = SearchSpace.ofa_resnet50(), (size, size)
    supernet = Supernet(space, CenterNet(n_classes=n_classes), rng=np.random.default_rng(0))
    network = extract(supernet, space.largest(), kernels="nnabla")

    def run() -> None:
        if kind == "onnx":
            model_of(network, sides=sides, metadata={}).SerializeToString()
        else:
            nnp_of(network, sides=sides)

    return run
