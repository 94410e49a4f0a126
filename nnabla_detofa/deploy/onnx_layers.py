"""The layers of an extracted network as nodes of ONNX, each normalisation folded into the convolution before it."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..space import Layer
from ..space.layers import HARD_SWISH, IDENTITY
from ..supernet.elastic import LINEAR, RELU, ElasticBatchNorm
from ..supernet.inverted import InvertedBottleneck, PlainConv
from ..supernet.modules import Bottleneck, Head, Stem, UpConvolution
from ..supernet.xception import SeparableConv, XceptionBlock


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

    def hard_sigmoid(self, x: str) -> str:
        """x + 3 clipped to [0, 6], over 6."""
        return self.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)

    def activation(self, x: str, ceiling: Any) -> str:
        """x clipped to [0, ceiling], or its hard-swish; LINEAR leaves it as it is."""
        if ceiling is LINEAR:
            return x
        if ceiling == HARD_SWISH:
            return self.add("Mul", x, self.hard_sigmoid(x))
        if np.isinf(ceiling):
            return self.add("Relu", x)
        return self.add("Clip", x, self.constant(0.0), self.constant(ceiling))


def folded(norm: ElasticBatchNorm) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each channel that a normalisation comes to outside training."""
    bn = norm.bn
    gamma, beta, mean, variance = (p.d.astype(np.float64).ravel() for p in (bn._gamma, bn._beta, bn._mean, bn._var))
    scale = gamma / np.sqrt(variance + bn._eps)
    return scale, beta - scale * mean


def normed(graph: Graph, x: str, module: Any, shortcut: str | None = None, **own: Any) -> str:
    """Convolution and normalisation in one, the shortcut added, the activation."""
    scale, shift = folded(module.bn)
    weight = module.conv.conv._W.d * scale[:, None, None, None]
    y = graph.convolution(x, weight, shift, module.conv.window, **own)
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


def plain(graph: Graph, x: str, module: PlainConv, _layer: Layer) -> str:
    """See `PlainConv`."""
    return normed(graph, x, module)


def inverted(graph: Graph, x: str, module: InvertedBottleneck, layer: Layer) -> str:
    """See `InvertedBottleneck`."""
    parts = module.conv
    y = normed(graph, x, parts.inverted_bottleneck) if layer.n_middle else x
    y = normed(graph, y, parts.depth_conv, group=layer.n_middle or layer.n_in)
    if layer.squeeze:
        z, (first, second) = graph.add("ReduceMean", y, axes=[2, 3]), parts.depth_conv.se.fc.modules.values()
        z = graph.activation(graph.convolution(z, first.conv._W.d, first.conv._b.d, first.window), RELU)
        z = graph.convolution(z, second.conv._W.d, second.conv._b.d, second.window)
        y = graph.add("Mul", y, graph.hard_sigmoid(z))
    return normed(graph, y, parts.point_linear, x if layer.shortcut == IDENTITY else None)


def separable(graph: Graph, x: str, parts: Any, *, added: str | None = None, ceiling: Any = LINEAR) -> str:
    """A depthwise convolution, a 1×1 with its normalisation, the addition, the activation."""
    depthwise, pointwise, norm = parts
    weight, (scale, shift) = depthwise.conv._W.d, folded(norm)
    x = graph.convolution(x, weight, np.zeros(len(weight)), depthwise.window, group=len(weight))
    x = graph.convolution(x, pointwise.conv._W.d * scale[:, None, None, None], shift, pointwise.window)
    return graph.activation(x if added is None else graph.add("Add", x, added), ceiling)


def separable_conv(graph: Graph, x: str, module: SeparableConv, _layer: Layer) -> str:
    """See `SeparableConv`."""
    return separable(graph, x, module.row[0], ceiling=RELU)


def xception(graph: Graph, x: str, module: XceptionBlock, layer: Layer) -> str:
    """See `XceptionBlock`."""
    y = graph.activation(x, RELU)
    for parts in module.row[:-1]:
        y = separable(graph, y, parts, ceiling=RELU)
    y = separable(graph, y, module.row[-1], added=x if layer.shortcut == IDENTITY else None)
    if layer.stride > 1:
        y = graph.add("MaxPool", y, kernel_shape=[3, 3], strides=[layer.stride] * 2, pads=[1] * 4)
    if layer.shortcut == IDENTITY:
        return y
    scale, shift = folded(module._skipbn)
    weight = module._skip.conv._W.d * scale[:, None, None, None]
    return graph.add("Add", graph.convolution(x, weight, shift, module._skip.window), y)


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
    PlainConv: plain,
    Bottleneck: bottleneck,
    InvertedBottleneck: inverted,
    SeparableConv: separable_conv,
    XceptionBlock: xception,
    UpConvolution: up_convolution,
    Head: head,
}
