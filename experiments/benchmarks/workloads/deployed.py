"""One path of the paper's space as a detector of its own: one image, from its pixels to boxes, by three runtimes."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

from nnabla_detofa.deploy import Detector
from nnabla_detofa.deploy.maps import normalised
from nnabla_detofa.deploy.nnp import NnpMaps, nnp_of, values_of
from nnabla_detofa.deploy.onnx_graph import model_of
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import Supernet, extract
from nnabla_detofa.tasks import CenterNet


def onnx(network: Supernet, size: int):
    """By ONNX Runtime, one thread; peaks are part of the file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    content = model_of(network, sides=(size, size), metadata={}).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})


def nnp(network: Supernet, size: int):
    """By NNabla's functions, as a detector's NNP file is read."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "detector.nnp")
        file.write_bytes(nnp_of(network, sides=(size, size)))
        maps = NnpMaps(file)
    return lambda images: Detector.of_maps(maps(normalised(images)), network.output_stride, logits=True)


def kernels(network: Supernet, size: int):  # noqa: ARG001
    """By our own kernels, the graph built anew each time as where a path is measured."""
    network.apply(training=False)
    return lambda images: Detector.of_maps(values_of(network, normalised(images)), network.output_stride, logits=True)


RUNTIMES = {"onnx": onnx, "nnp": nnp, "kernels": kernels}


def answer(runtime: str, path: str, size: int, n_classes: int = 20):
    """The smallest or the largest path, on noise; `path` is the name of the space's method."""
    space = SearchSpace.ofa_resnet50()
    supernet = Supernet(space, CenterNet(n_classes=n_classes), rng=np.random.default_rng(0))
    network = extract(supernet, getattr(space, path)(), kernels="numpy" if runtime == "kernels" else "nnabla")
    boxes = RUNTIMES[runtime](network, size)
    images = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)

    def run() -> None:
        boxes(images)

    return run
