"""The layers that networks are described and built of (Table 1, Section 4.1), and the cost of each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

STEM, BLOCK, UP, HEAD, LINEAR = KINDS = "stem", "block", "up", "head", "linear"
NOTHING, IDENTITY, PROJECTION = "none", "identity", "projection"
FLOAT_BYTES = 4


class Layer(NamedTuple):
    """All that decides what a layer costs; two that agree in it are the same work.

    kind: "stem" is a 3×3 convolution with stride 2, a 3×3 with its identity or nothing, a 3×3, and a max-pooling where
        the stride is 4; "block" a bottleneck; "up" a transposed 4×4 convolution; "head" a 3×3 and a 1×1 with biases;
        "linear" the mean over the map and a linear layer with bias.
    n_in, n_middle, n_out: channels; n_middle is 0 where there is nothing between.
    stride: side of the input over that of the output, of an "up" the other way round.
    side: of the input map, in pixels.
    """

    kind: str
    n_in: int
    n_middle: int
    n_out: int
    stride: int
    shortcut: str
    side: int


class Convolution(NamedTuple):
    """One convolution of a layer; `side`: of the map whose every pixel it multiplies for."""

    kernel: int
    n_in: int
    n_out: int
    side: int
    biased: bool = False  # else batch normalisation follows


def convolutions(layer: Layer) -> list[Convolution]:
    """The convolutions of a layer, in their order."""
    n_in, n_middle, n_out, side = layer.n_in, layer.n_middle, layer.n_out, layer.side
    if layer.kind == STEM:
        inner = [Convolution(3, n_middle, n_middle, side // 2)] if layer.shortcut == IDENTITY else []
        return [Convolution(3, n_in, n_middle, side // 2), *inner, Convolution(3, n_middle, n_out, side // 2)]
    if layer.kind == UP:  # multiplies once for each pixel of its input
        return [Convolution(4, n_in, n_out, side)]
    if layer.kind == HEAD:
        return [Convolution(3, n_in, n_middle, side, True), Convolution(1, n_middle, n_out, side, True)]
    if layer.kind == LINEAR:
        return [Convolution(1, n_in, n_out, 1, True)]
    behind = side // layer.stride
    shortcut = [Convolution(1, n_in, n_out, behind)] if layer.shortcut == PROJECTION else []
    main = [Convolution(1, n_in, n_middle, side), Convolution(3, n_middle, n_middle, behind)]
    return [*main, Convolution(1, n_middle, n_out, behind), *shortcut]


def macs(layer: Layer) -> int:
    """Multiply-accumulates for one image."""
    return sum(c.kernel**2 * c.n_in * c.n_out * c.side**2 for c in convolutions(layer))


def parameters(layer: Layer) -> int:
    """Learned values: weights, and biases or scale and shift of batch normalisation."""
    return sum(c.kernel**2 * c.n_in * c.n_out + (1 if c.biased else 2) * c.n_out for c in convolutions(layer))


def total(cost: Callable[[Layer], float]) -> Callable[[Sequence[Layer]], float]:
    """The sum of a cost over layers."""
    return lambda layers: sum(map(cost, layers))


def peak_memory(layers: Sequence[Layer]) -> int:
    """Bytes of the maps that lie in memory at once, at the worst, while consecutive layers see one image in float32.

    A map lives from the convolution or pooling that makes it to the last that reads it; normalisation, activation and
    addition work in place, as in every inference engine. Neither weights nor a kernel's own workspace are counted.
    """
    peak = done = 0  # floats; `done` are the outputs of heads that others follow
    for left, layer in zip(range(len(layers) - 1, -1, -1), layers, strict=True):
        read_again = layer.n_in * layer.side**2 if layer.kind == HEAD and left else 0
        peak = max(peak, done + _peak(layer, read_again))
        done += layer.n_out * layer.side**2 if layer.kind == HEAD else 0
    return FLOAT_BYTES * peak


def _peak(layer: Layer, read_again: int) -> int:
    """Floats of the maps of one layer at its worst moment; `read_again` of its input outlive it."""
    before, behind = layer.side**2, (layer.side // layer.stride) ** 2
    n_in, n_middle, n_out = layer.n_in * before, layer.n_middle, layer.n_out
    if layer.kind == UP:
        return n_in + n_out * (layer.side * layer.stride) ** 2
    if layer.kind == HEAD:
        return max(n_in + n_middle * before, read_again + (n_middle + n_out) * before)
    if layer.kind == LINEAR:
        return max(n_in + layer.n_in, layer.n_in + layer.n_out)
    if layer.kind == STEM:
        half = (layer.side // 2) ** 2
        pooling = n_out * (half + behind) if layer.stride == 4 else 0
        inner = 2 * n_middle * half if layer.shortcut == IDENTITY else 0
        return max(n_in + n_middle * half, inner, (n_middle + n_out) * half, pooling)
    main = max(n_in + n_middle * (before + behind), n_in + (n_middle + n_out) * behind)
    if layer.shortcut == IDENTITY:
        return main
    pooled = layer.n_in * behind  # the shortcut's average, after the main path and before its convolution
    pooling = n_in + n_out * behind + pooled if layer.stride > 1 else 0
    return max(main, pooling, pooled + 2 * n_out * behind)
