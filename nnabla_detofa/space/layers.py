"""The layers that networks are described and built of (Table 1, Section 4.1), and the cost of each."""

from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

KINDS = "stem", "conv", "block", "inverted", "separable", "xception", "up", "head", "pooled", "linear"
STEM, CONV, BLOCK, INVERTED, SEPARABLE, XCEPTION, UP, HEAD, POOLED, LINEAR = KINDS
NOTHING, IDENTITY, PROJECTION = "none", "identity", "projection"
RELU, HARD_SWISH = "relu", "hard_swish"
FLOAT_BYTES = 4
UNIT = 32  # pixels of a side of the images that a family's layers are for

Side = int | tuple[int, int]  # of a square, or height and width of what is none


def sides_of(side: Side) -> tuple[int, int]:
    """Height and width."""
    return (side, side) if isinstance(side, int) else side


def side_of(height: int, width: int) -> Side:
    """One number where both are equal, so that equal layers are equal."""
    return height if height == width else (height, width)


class Layer(NamedTuple):
    """All that decides what a layer costs; two that agree in it are the same work.

    kind: "stem" is a 3×3 convolution with stride 2, a 3×3 with its identity or nothing, a 3×3, and a max-pooling where
        the stride is 4; "conv" one convolution; "block" a bottleneck; "inverted" a 1×1, a depthwise convolution and a
        1×1; "separable" a depthwise convolution and a 1×1; "xception" a row of such, each behind a ReLU, and a
        max-pooling where the stride is above 1; "up" a transposed 4×4 convolution; "head" a 3×3 and a 1×1 with biases;
        "pooled" the mean over the map and a 1×1 without bias or normalisation; "linear" the mean over the map and a
        linear layer with bias.
    n_in, n_middle, n_out: channels; n_middle is 0 where there is nothing between, as in an "inverted" without its
        first 1×1.
    stride: side of the input over that of the output, of an "up" the other way round.
    side: of the input map, in pixels; height and width where they differ.
    kernel: side of the window of a "conv", and of all depthwise convolutions of another.
    squeeze, activation: of a "conv" or an "inverted": channels in the middle of its squeeze-and-excitation, 0 where
        there is none, and what is behind its normalisations.
    depth: separable convolutions of an "xception".
    """

    kind: str
    n_in: int
    n_middle: int
    n_out: int
    stride: int
    shortcut: str
    side: Side
    kernel: int = 3
    squeeze: int = 0
    activation: str = RELU
    depth: int = 1

    @property
    def behind(self) -> Side:
        """The side of the output map."""
        if self.kind == POOLED:
            return 1
        return side_of(*(n * self.stride if self.kind == UP else n // self.stride for n in sides_of(self.side)))

    def at(self, image: Sequence[int]) -> "Layer":
        """This layer of a family for images of other sides (height, width)."""
        return self._replace(side=side_of(*(n * of // UNIT for n, of in zip(sides_of(self.side), image, strict=True))))


class Convolution(NamedTuple):
    """One convolution of a layer.

    n_in: channels that each of its `n_out` reads. pixels: of the map whose every pixel it multiplies for. beside:
    learned values of each channel beside its weights: two of a normalisation, a bias, or none.
    """

    kernel: int
    n_in: int
    n_out: int
    pixels: int
    beside: int = 2


def separables(layer: Layer) -> list[tuple[int, int]]:
    """Channels into and out of each separable convolution of a layer."""
    return [*pairwise((layer.n_in, *[layer.n_middle] * (layer.depth - 1), layer.n_out))]


def pixels(side: Side) -> int:
    """Pixels of a map."""
    height, width = sides_of(side)
    return height * width


def convolutions(layer: Layer) -> list[Convolution]:
    """The convolutions of a layer, in their order."""
    n_in, n_middle, n_out, before = layer.n_in, layer.n_middle, layer.n_out, pixels(layer.side)
    if layer.kind == STEM:
        half = before // 4
        inner = [Convolution(3, n_middle, n_middle, half)] if layer.shortcut == IDENTITY else []
        return [Convolution(3, n_in, n_middle, half), *inner, Convolution(3, n_middle, n_out, half)]
    if layer.kind == UP:  # multiplies once for each pixel of its input
        return [Convolution(4, n_in, n_out, before)]
    if layer.kind == HEAD:
        return [Convolution(3, n_in, n_middle, before, 1), Convolution(1, n_middle, n_out, before, 1)]
    if layer.kind in (POOLED, LINEAR):
        return [Convolution(1, n_in, n_out, 1, int(layer.kind == LINEAR))]
    behind = pixels(layer.behind)
    if layer.kind == CONV:
        return [Convolution(layer.kernel, n_in, n_out, behind)]
    if layer.kind == INVERTED:
        squeeze, widened = layer.squeeze, n_middle or n_in
        excitation = [Convolution(1, widened, squeeze, 1, 1), Convolution(1, squeeze, widened, 1, 1)]
        return [
            *([Convolution(1, n_in, n_middle, before)] if n_middle else []),
            Convolution(layer.kernel, 1, widened, behind),
            *(excitation if squeeze else []),
            Convolution(1, widened, n_out, behind),
        ]
    shortcut = [Convolution(1, n_in, n_out, behind)] if layer.shortcut == PROJECTION else []
    if layer.kind in (SEPARABLE, XCEPTION):
        row = [(Convolution(layer.kernel, 1, i, before, 0), Convolution(1, i, o, before)) for i, o in separables(layer)]
        return [*chain.from_iterable(row), *shortcut]
    main = [Convolution(1, n_in, n_middle, before), Convolution(3, n_middle, n_middle, behind)]
    return [*main, Convolution(1, n_middle, n_out, behind), *shortcut]


def macs(layer: Layer) -> int:
    """Multiply-accumulates for one image."""
    return sum(c.kernel**2 * c.n_in * c.n_out * c.pixels for c in convolutions(layer))


def parameters(layer: Layer) -> int:
    """Learned values: weights, and biases or scale and shift of batch normalisation."""
    return sum(c.kernel**2 * c.n_in * c.n_out + c.beside * c.n_out for c in convolutions(layer))


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
        read_again = layer.n_in * pixels(layer.side) if layer.kind == HEAD and left else 0
        peak = max(peak, done + _peak(layer, read_again))
        done += layer.n_out * pixels(layer.side) if layer.kind == HEAD else 0
    return FLOAT_BYTES * peak


def _peak(layer: Layer, read_again: int) -> int:
    """Floats of the maps of one layer at its worst moment; `read_again` of its input outlive it."""
    before, behind = pixels(layer.side), pixels(layer.behind)
    n_in, n_middle, n_out = layer.n_in * before, layer.n_middle, layer.n_out
    if layer.kind in (UP, CONV):
        return n_in + n_out * behind
    if layer.kind == HEAD:
        return max(n_in + n_middle * before, read_again + (n_middle + n_out) * before)
    if layer.kind in (POOLED, LINEAR):
        return max(n_in + layer.n_in, layer.n_in + layer.n_out)
    if layer.kind == INVERTED:
        kept, first = (n_in if layer.shortcut == IDENTITY else 0), n_in + n_middle * before
        widened = n_middle or layer.n_in
        depthwise = (kept + n_middle * before if n_middle else n_in) + widened * behind
        excitation = kept + widened * (behind + 1) + layer.squeeze if layer.squeeze else 0
        return max(first, depthwise, excitation, kept + (widened + n_out) * behind)
    if layer.kind in (SEPARABLE, XCEPTION):
        kept = {NOTHING: 0, IDENTITY: n_in, PROJECTION: n_out * behind}[layer.shortcut]  # a projection is made first
        pooling = n_out * (before + behind) if layer.stride > 1 else 0
        row = max(max(2 * i, i + o) * before for i, o in separables(layer))
        return kept + max(row, pooling)
    if layer.kind == STEM:
        half = before // 4
        pooling = n_out * (half + behind) if layer.stride == 4 else 0
        inner = 2 * n_middle * half if layer.shortcut == IDENTITY else 0
        return max(n_in + n_middle * half, inner, (n_middle + n_out) * half, pooling)
    main = max(n_in + n_middle * (before + behind), n_in + (n_middle + n_out) * behind)
    if layer.shortcut == IDENTITY:
        return main
    pooled = layer.n_in * behind  # the shortcut's average, after the main path and before its convolution
    pooling = n_in + n_out * behind + pooled if layer.stride > 1 else 0
    return max(main, pooling, pooled + 2 * n_out * behind)
