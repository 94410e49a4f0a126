"""The modules of a network's layers (Section 4.1), each built from and called with a `Layer` of the space.

Parameters have the host's names. `reads` and `makes` are the parameters whose axes hold the channels of a module's
input and output map, `inside` those of its maps in between, and which field of the layer is their number, or what tells
the numbers that a layer uses; a module lacks what its layer does not have.
"""

import nnabla.functions as F  # noqa: N812
import numpy as np

from ..host import Mo
from ..kernels import Window
from ..precision import single_precision
from ..space import Layer
from ..space.layers import (
    BLOCK,
    CONV,
    HEAD,
    IDENTITY,
    INVERTED,
    LINEAR,
    POOLED,
    PROJECTION,
    SEPARABLE,
    STEM,
    UP,
    XCEPTION,
)
from .elastic import (
    LINEAR as NO_CEILING,
)
from .elastic import (
    RELU,
    RELU6,
    ConvNorm,
    ElasticBatchNorm,
    ElasticConv,
    ElasticDeconv,
    activate,
    constant,
    corner,
    made,
    normal,
    read,
    swapped,
    uniform,
)
from .inverted import InvertedBottleneck, PlainConv, PooledConv
from .xception import SeparableConv, XceptionBlock

STEM_ACTIVATIONS = {"relu6": RELU6, "relu": RELU}  # the host's and MIT's
POINTWISE, SQUARE = Window(1, 1, 0), Window(3, 1, 1)


def build(layer: Layer, rng: np.random.Generator, **initial) -> Mo.Module:
    """The layer's module, to be called as `module(x, layer=…)` with fewer channels too; `initial` are its options."""
    return MODULES[layer.kind](layer, rng, **initial)


class Stem(Mo.Module):
    """3×3 with stride 2, an optional residual block, 3×3, and a max-pooling or none."""

    reads = read("0")
    inside = ((made("0", "1/conv"), read("1/conv", "2"), "n_middle"),)
    makes = made("2")

    def __init__(self, layer: Layer, rng: np.random.Generator, *, activation: str = "relu6"):
        super().__init__()
        ceiling = STEM_ACTIVATIONS[activation]
        self.modules["0"] = ConvNorm(layer.n_in, layer.n_middle, Window(3, 2, 1), rng, ceiling=ceiling)
        if layer.shortcut == IDENTITY:
            self.modules["1"] = Mo.Module()
            self.modules["1"].conv = ConvNorm(layer.n_middle, layer.n_middle, SQUARE, rng, ceiling=ceiling)
        self.modules["2"] = ConvNorm(layer.n_middle, layer.n_out, SQUARE, rng, ceiling=ceiling)

    def call(self, x, layer: Layer):
        x = self.modules["0"](x, n_out=layer.n_middle)
        if layer.shortcut == IDENTITY:
            x = self.modules["1"].conv(x, n_out=layer.n_middle) + x
        x = self.modules["2"](x, n_out=layer.n_out)
        return F.max_pooling(x, (3, 3), (2, 2), pad=(1, 1)) if layer.stride == 4 else x


class Bottleneck(Mo.Module):
    """ResNet's bottleneck: 1×1, 3×3 with the stride, 1×1; a block that changes stage has a projection shortcut.

    `last_gamma`: initial scale of the last normalisation; 0 makes a fresh block the identity of its shortcut.
    """

    reads = read("conv1", "downsample")
    inside = ((made("conv1"), read("conv2"), "n_middle"), (made("conv2"), read("conv3"), "n_middle"))
    makes = made("downsample", "conv3")

    def __init__(self, layer: Layer, rng: np.random.Generator, *, last_gamma: float = 1.0):
        super().__init__()
        n_in, n_middle, n_out = layer.n_in, layer.n_middle, layer.n_out
        self.conv1 = ConvNorm(n_in, n_middle, POINTWISE, rng)
        self.conv2 = ConvNorm(n_middle, n_middle, Window(3, layer.stride, 1), rng)
        self.conv3 = ConvNorm(n_middle, n_out, POINTWISE, rng, gamma=last_gamma)
        if layer.shortcut == PROJECTION:
            self.downsample = ConvNorm(n_in, n_out, POINTWISE, rng, ceiling=NO_CEILING)

    def call(self, x, layer: Layer):
        y = self.conv2(self.conv1(x, n_out=layer.n_middle), n_out=layer.n_middle)
        return self.conv3(y, n_out=layer.n_out, shortcut=self._shortcut(x, layer))

    def _shortcut(self, x, layer: Layer):
        """The input, or its 1×1 convolution; average-pooled, an odd map's last row and column of fewer, as MIT's."""
        if layer.shortcut == IDENTITY:
            return x
        if layer.stride > 1:
            size = (layer.stride, layer.stride)
            x = F.average_pooling(x, size, size, ignore_border=False, including_pad=False)
        return self.downsample(x, n_out=layer.n_out)


class UpConvolution(Mo.Module):
    """Transposed convolution, batch normalisation, ReLU: twice the size.

    `deviation`: of the normal initial weights; None for He's.
    """

    reads = (("conv/_W", 0),)

    def __init__(self, layer: Layer, rng: np.random.Generator, *, deviation: float | None = None):
        super().__init__()
        self.conv = ElasticDeconv(layer.n_in, layer.n_out, rng, deviation=deviation)
        self.bn = ElasticBatchNorm(layer.n_out)

    def call(self, x, layer: Layer):  # noqa: ARG002 - only the input is elastic
        return self.bn(self.conv(x), ceiling=RELU)


class Head(Mo.Module):
    """3×3 convolution, ReLU, 1×1 convolution, each with a bias; gives a map (B, n_out, H, W).

    Initial weights are upstream's. A head of sizes or offsets is drawn from N(0, `deviation`²), He's where it is None,
    its biases are 0. A heat map's, whose last bias is the `prior`, keeps PyTorch's default, so that fresh logits are
    near the prior (a deviation of 1/6 behind a normalised neck); hotter ones drown the few centres in the losses of all
    other cells.
    """

    channel_major = False
    reads = (("hidden/conv/_W", 1),)

    def __init__(
        self, layer: Layer, rng: np.random.Generator, *, deviation: float | None = None, prior: float | None = None
    ):
        super().__init__()
        if prior is None:
            weight = None if deviation is None else normal(rng, deviation)
            hidden, output = ({"weight": weight, "bias": constant(0.0)},) * 2
        else:
            of_window = uniform(rng, layer.n_in * SQUARE.kernel**2)
            hidden = {"weight": of_window, "bias": of_window}
            output = {"weight": uniform(rng, layer.n_middle), "bias": constant(prior)}
        self.hidden = ElasticConv(layer.n_in, layer.n_middle, SQUARE, rng, **hidden)
        self.output = ElasticConv(layer.n_middle, layer.n_out, POINTWISE, rng, **output)

    def call(self, x, layer: Layer):
        x = self.output(activate(self.hidden(x, n_out=layer.n_middle), RELU), n_out=layer.n_out)
        return swapped(x) if self.channel_major else x


class ElasticLinear(Mo.Module):
    """The mean over the map, dropout in training, and a linear layer; gives (B, n_out).

    `dropout_seed` decides which features a graph built from now on drops; a network sets it with `apply`.
    """

    channel_major = False
    dropout_seed = -1  # nnabla's own generator
    reads = (("linear/_W", 0),)

    def __init__(self, layer: Layer, rng: np.random.Generator, *, drop_rate: float = 0.0):
        super().__init__()
        self._drop_rate = drop_rate
        weight = normal(rng, layer.n_in**-0.5)
        self.linear = Mo.Linear(layer.n_in, layer.n_out, w_init=weight, b_init=constant(0.0))

    def call(self, x, layer: Layer):
        with single_precision():
            x = F.mean(swapped(x) if self.channel_major else x, axis=(2, 3))
        if self.training and self._drop_rate > 0:
            x = F.dropout(x, self._drop_rate, seed=self.dropout_seed)
        return F.affine(x, corner(self.linear._W, layer.n_in, layer.n_out), self.linear._b)


MODULES = {
    STEM: Stem,
    CONV: PlainConv,
    BLOCK: Bottleneck,
    INVERTED: InvertedBottleneck,
    SEPARABLE: SeparableConv,
    XCEPTION: XceptionBlock,
    UP: UpConvolution,
    HEAD: Head,
    POOLED: PooledConv,
    LINEAR: ElasticLinear,
}
