"""A detector as ONNX: pixels in, boxes or classes out (an addition; not in the paper). Needs the extra `onnx`.

The layers of an extracted network are written one by one, each normalisation folded into the convolution before it;
in front of them stands the normalisation of pixels, behind them what their task answers: for boxes the decoding of
`detection/decode.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..data.augment import DEVIATION, MEAN
from ..detection import decode
from ..errors import HostError
from ..space import Layer
from ..space.layers import HEAD, IDENTITY
from ..supernet import Supernet
from ..supernet.elastic import LINEAR, RELU, ConvNorm, ElasticBatchNorm
from ..supernet.modules import Bottleneck, Head, Stem, UpConvolution
from .maps import BOXES, OUTPUTS, TOP
from .nnp import maps_of
from .runtime import session_of

OPSET, IR_VERSION = 13, 8  # what ONNX Runtime has read since 2021
INPUT = "images"
LOGITS = "logits"  # inside every graph
SAMPLES = 2  # random images that a file is compared on
TOLERANCE = 1e-3  # of the greatest value of a map


class Graph:
    """Nodes and constants in the making; what adds a node takes and gives names of values."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, named: Sequence[str] = (), **attributes: Any) -> str:
        """A node; the name of its first output. Outputs have names of their own unless they are `named`."""
        name = f"{kind}_{len(self.nodes)}"
        outputs = [*(named or [name])]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return outputs[0]

    def constant(self, value: Any, kind: type = np.float32) -> str:
        """A constant of that type."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def convolution(self, x: str, weight: np.ndarray, bias: np.ndarray, window: Any, kind: str = "Conv", **own) -> str:
        """A convolution, or of another `kind`, with a bias."""
        kernel, stride, pad = window
        shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self.add(kind, x, self.constant(weight), self.constant(bias), **shape, **own)

    def activation(self, x: str, ceiling: float | None) -> str:
        """x clipped to [0, ceiling]; None leaves it as it is."""
        if ceiling is LINEAR:
            return x
        if np.isinf(ceiling):
            return self.add("Relu", x)
        return self.add("Clip", x, self.constant(0.0), self.constant(ceiling))


# -- layers (Section 4.1) --------------------------------------------------------------------------------------------


def folded(norm: ElasticBatchNorm) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each channel that a normalisation comes to outside training."""
    bn = norm.bn
    gamma, beta, mean, variance = (p.d.astype(np.float64).ravel() for p in (bn._gamma, bn._beta, bn._mean, bn._var))
    scale = gamma / np.sqrt(variance + bn._eps)
    return scale, beta - scale * mean


def normed(graph: Graph, x: str, module: ConvNorm, shortcut: str | None = None) -> str:
    """Convolution and normalisation in one, the shortcut added, the activation."""
    scale, shift = folded(module.bn)
    weight = module.conv.conv._W.d * scale[:, None, None, None]
    y = graph.convolution(x, weight, shift, module.conv.window)
    return graph.activation(y if shortcut is None else graph.add("Add", y, shortcut), module.ceiling)


def stem(graph: Graph, x: str, module: Stem, layer: Layer) -> str:
    """See `Stem`."""
    x = normed(graph, x, module.modules["0"])
    if layer.shortcut == IDENTITY:
        x = graph.add("Add", normed(graph, x, module.modules["1"].conv), x)
    x = normed(graph, x, module.modules["2"])
    if layer.stride < 4:
        return x
    return graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)


def bottleneck(graph: Graph, x: str, module: Bottleneck, layer: Layer) -> str:
    """See `Bottleneck`."""
    y = normed(graph, normed(graph, x, module.conv1), module.conv2)
    if layer.shortcut != IDENTITY:
        if layer.stride > 1:
            size = [layer.stride] * 2
            x = graph.add("AveragePool", x, kernel_shape=size, strides=size, ceil_mode=1, count_include_pad=0)
        x = normed(graph, x, module.downsample)
    return normed(graph, y, module.conv3, x)


def up_convolution(graph: Graph, x: str, module: UpConvolution, _layer: Layer) -> str:
    """See `UpConvolution`."""
    scale, shift = folded(module.bn)
    weight = module.conv._W.d * scale[:, None, None]
    return graph.activation(graph.convolution(x, weight, shift, module.conv.WINDOW, "ConvTranspose"), RELU)


def head(graph: Graph, x: str, module: Head, _layer: Layer) -> str:
    """See `Head`."""
    for part, ceiling in ((module.hidden, RELU), (module.output, LINEAR)):
        x = graph.activation(graph.convolution(x, part.conv._W.d, part.conv._b.d, part.window), ceiling)
    return x


LAYERS: dict[type, Callable[[Graph, str, Any, Layer], str]] = {
    Stem: stem,
    Bottleneck: bottleneck,
    UpConvolution: up_convolution,
    Head: head,
}


# -- what stands around them ------------------------------------------------------------------------------------------


def pixels(graph: Graph) -> str:
    """Bytes (n, h, w, 3) RGB as (n, 3, h, w) in ImageNet's standard units, as `data.augment.normalise` gives them."""
    x = graph.add("Cast", graph.add("Transpose", INPUT, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    factor, shift = 1 / 255 / DEVIATION, -MEAN / DEVIATION
    x = graph.add("Mul", x, graph.constant(factor[:, None, None]))
    return graph.add("Add", x, graph.constant(shift[:, None, None]))


def layers(graph: Graph, network: Supernet) -> None:
    """The layers of a network's path, and its heads' maps: LOGITS, and the others under the names of the task."""
    x, found = pixels(graph), []
    for place, layer in network.steps(network.path):
        module = network.layers[place]
        y = LAYERS[type(module)](graph, x, module, layer)
        if layer.kind == HEAD:
            found.append(y)
        else:
            x = y
    for y, name in zip(found, (LOGITS, *network.task.outputs[1:]), strict=True):
        graph.add("Identity", y, named=[name])


def probabilities(graph: Graph, logits: str, named: Sequence[str] = ()) -> str:
    """σ of logits, 0 of −∞; ONNX Runtime's own Sigmoid is 1.5e-8 there."""
    exponential = graph.add("Exp", graph.add("Neg", logits))
    return graph.add("Reciprocal", graph.add("Add", exponential, graph.constant(1.0)), named=named)


def decoded(graph: Graph, *, n_classes: int, sides: tuple[int, int], stride: int) -> None:
    """Boxes in input pixels, scores and labels of the TOP best peaks, as `detection.decode` finds and orders them."""
    height, width = sides
    cells, k = height * width, min(TOP, n_classes * height * width)
    highest = graph.add("MaxPool", LOGITS, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
    peaks = graph.add("Where", graph.add("Equal", LOGITS, highest), LOGITS, graph.constant(-np.inf))
    flat = graph.add("Reshape", peaks, graph.constant([0, -1], np.int64))
    best, index = "best_logits", "best_places"
    graph.add("TopK", flat, graph.constant([k], np.int64), named=[best, index], axis=1)
    labels = graph.add("Div", index, graph.constant(cells, np.int64))
    cell = graph.add("Mod", index, graph.constant(cells, np.int64))
    row, column = (graph.add(kind, cell, graph.constant(width, np.int64)) for kind in ("Div", "Mod"))
    last = graph.constant([-1], np.int64)
    places = [
        graph.add("Cast", graph.add("Unsqueeze", one, last), to=TensorProto.FLOAT)
        for one in (column, row)  # x before y
    ]
    corner = graph.add("Concat", *places, axis=-1)
    values = graph.add("Concat", *OUTPUTS[1:], axis=1)
    values = graph.add("Reshape", values, graph.constant([0, 4, -1], np.int64))
    values = graph.add("Transpose", values, perm=[0, 2, 1])
    values = graph.add("GatherND", values, graph.add("Unsqueeze", cell, last), batch_dims=1)
    graph.add("Split", values, graph.constant([2, 2], np.int64), named=["best_sizes", "best_offsets"], axis=-1)
    half = graph.add("Mul", "best_sizes", graph.constant(0.5))
    centre = graph.add("Add", corner, "best_offsets")
    corners = graph.add("Concat", graph.add("Sub", centre, half), graph.add("Add", centre, half), axis=-1)
    boxes = graph.add("Mul", corners, graph.constant(stride))
    for one, name in zip((boxes, probabilities(graph, best), labels), BOXES, strict=True):
        if k == TOP:
            graph.add("Identity", one, named=[name])
        else:  # so small a map has fewer cells: rows of score 0 behind them
            behind = [0, 0, 0, 0, TOP - k, 0] if name == "boxes" else [0, 0, 0, TOP - k]
            graph.add("Pad", one, graph.constant(behind, np.int64), named=[name])


Outputs = dict[str, tuple[Any, list[int]]]  # by name their type, and their shape behind the number of images


def boxes_of(graph: Graph, network: Supernet, sides: tuple[int, int], *, raw: bool) -> Outputs:
    """The outputs of a detector: boxes with scores and labels, or its maps."""
    stride, n_classes = network.output_stride, network.task.n_classes
    cells = sides[0] // stride, sides[1] // stride
    if raw:
        probabilities(graph, LOGITS, named=OUTPUTS[:1])
        return {name: (TensorProto.FLOAT, [c, *cells]) for name, c in zip(OUTPUTS, (n_classes, 2, 2), strict=True)}
    decoded(graph, n_classes=n_classes, sides=cells, stride=stride)
    kinds = {"boxes": (TensorProto.FLOAT, [TOP, 4]), "scores": (TensorProto.FLOAT, [TOP])}
    return {**kinds, "labels": (TensorProto.INT64, [TOP])}


def classes_of(graph: Graph, network: Supernet, sides: tuple[int, int], *, raw: bool) -> Outputs:
    """The outputs of a segmenter: logits of cells, and the class of each input pixel, between cells as `class_map`."""
    stride, n_classes = network.output_stride, network.task.n_classes
    logits = {LOGITS: (TensorProto.FLOAT, [n_classes, sides[0] // stride, sides[1] // stride])}
    if raw:
        return logits
    zoom = graph.constant([1, 1, stride, stride])
    large = graph.add("Resize", LOGITS, "", zoom, mode="linear", coordinate_transformation_mode="half_pixel")
    graph.add("Cast", graph.add("ArgMax", large, axis=1, keepdims=0), to=TensorProto.UINT8, named=["classes"])
    return {**logits, "classes": (TensorProto.UINT8, [*sides])}


ANSWERS: dict[str, Callable[..., Outputs]] = {"detection": boxes_of, "segmentation": classes_of}


def model_of(
    network: Supernet, *, sides: tuple[int, int], metadata: Mapping[str, str], raw: bool = False
) -> onnx.ModelProto:
    """The detector of an extracted network for images of `sides` (height, width) pixels, any number at once.

    `raw`: its outputs are the heat map, sizes and offsets, (n, C, h, w) and (n, 2, h, w) in cells, instead of boxes;
    of a segmenter the logits alone.
    """
    graph = Graph()
    layers(graph, network)
    shapes = ANSWERS[network.task.name](graph, network, sides, raw=raw)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "detector",
            [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", *sides, 3])],
            [helper.make_tensor_value_info(name, kind, ["n", *shape]) for name, (kind, shape) in shapes.items()],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="nnabla_detofa",
    )
    helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    return model


def require_equal(model: onnx.ModelProto, network: Supernet) -> None:
    """HostError where ONNX Runtime's answers for a few random images are not those of NNabla."""
    (given,) = model.graph.input
    _, *shape = (one.dim_value for one in given.type.tensor_type.shape.dim)
    images = np.random.default_rng(0).integers(0, 256, (SAMPLES, *shape), np.uint8)
    wanted = dict(zip((LOGITS, *network.task.outputs[1:]), maps_of(network, images), strict=True))
    open_box = onnx.ModelProto()
    open_box.CopyFrom(model)
    shown = [one.name for one in model.graph.output]
    for name in wanted:
        if name not in shown:
            open_box.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    names = [one.name for one in open_box.graph.output]
    found = dict(zip(names, session_of(open_box.SerializeToString()).run(None, {INPUT: images}), strict=True))
    if BOXES[0] in found:  # of the same maps, so that no two peaks can change places
        peaks = decode(*(found[name] for name in wanted), top=TOP, logits=True)
        k = peaks.scores.shape[1]
        wanted |= {"boxes": peaks.boxes * network.output_stride, "scores": peaks.scores, "labels": peaks.labels}
        found |= {name: found[name][:, :k] for name in BOXES}
    for name, value in wanted.items():
        far = np.abs(found[name] - value).max()
        if not far <= TOLERANCE * max(1.0, np.abs(value).max()):
            raise HostError(f"ONNX Runtime's {name} differ from NNabla's by up to {far:.3g}; the ONNX file is refused")
