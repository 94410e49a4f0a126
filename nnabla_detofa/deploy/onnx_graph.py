"""A detector as ONNX: pixels in, boxes or classes out (an addition; not in the paper). Needs the extra `onnx`.

The layers of an extracted network are written one by one, see `onnx_layers`; in front of them stands the normalisation
of pixels, behind them what their task answers: for boxes the decoding of `detection/decode.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..data.augment import DEVIATION, MEAN
from ..detection import decode
from ..errors import HostError
from ..space.layers import HEAD
from ..supernet import Supernet
from .maps import BOXES, OUTPUTS, TOP
from .nnp import maps_of
from .onnx_layers import LAYERS, Graph
from .runtime import session_of

OPSET, IR_VERSION = 13, 8  # what ONNX Runtime has read since 2021
INPUT = "images"
LOGITS = "logits"  # inside every graph
SAMPLES = 2  # random images that a file is compared on
TOLERANCE = 1e-3  # of the greatest value of a map


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
    half = graph.add("Mul", graph.add("Abs", "best_sizes"), graph.constant(0.5))  # as a box's hull has it
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
