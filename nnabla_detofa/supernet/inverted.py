"""The modules of OFA-MobileNetV3's layers: inverted bottlenecks of elastic kernels, and plain convolutions.

As those of `modules`, under the host's names.
"""

from collections.abc import Sequence
from itertools import pairwise

import nnabla.functions as F  # noqa: N812
import numpy as np

from ..host import Mo
from ..kernels import Depthwise, Scaling, Window
from ..precision import single_precision
from ..space import Layer
from ..space.layers import HARD_SWISH, IDENTITY
from .elastic import (
    LINEAR,
    RELU,
    Axis,
    ConvNorm,
    Elastic,
    ElasticBatchNorm,
    ElasticConv,
    activate,
    constant,
    corner,
    hard_sigmoid,
    made,
    normal,
    normalised,
    read,
)

POINTWISE = Window(1, 1, 0)
WIDEN, DEPTHWISE, NARROW = (f"conv/{name}" for name in ("inverted_bottleneck", "depth_conv", "point_linear"))
REDUCE, EXPAND = (f"{DEPTHWISE}/se/fc/{name}" for name in ("reduce", "expand"))


def matrix_name(larger: int, smaller: int) -> str:
    """The name of the matrix between two sides of a window, beside the window."""
    return f"{larger}to{smaller}_matrix"


def ceiling_of(layer: Layer):
    """The activation behind a layer's normalisations, see `elastic.activate`."""
    return HARD_SWISH if layer.activation == HARD_SWISH else RELU


class PlainConv(Mo.Module):
    """One convolution, its normalisation and activation."""

    reads = (("conv/_W", 1),)
    inside = ()
    makes = (("conv/_W", 0), *normalised("bn"))

    def __init__(self, layer: Layer, rng: np.random.Generator):
        super().__init__()
        self.ceiling = ceiling_of(layer)
        window = Window(layer.kernel, layer.stride, layer.kernel // 2)
        self.conv = ElasticConv(layer.n_in, layer.n_out, window, rng, nested=False)
        self.bn = ElasticBatchNorm(layer.n_out, nested=False)

    def call(self, x, layer: Layer):
        return self.bn(self.conv(x, n_out=layer.n_out), ceiling=self.ceiling)


class PooledConv(Mo.Module):
    """The mean over the map, a 1×1 convolution without bias, and the activation; gives a map of one pixel."""

    channel_major = False
    reads = (("conv/_W", 1),)
    inside = ()
    makes = (("conv/_W", 0),)

    def __init__(self, layer: Layer, rng: np.random.Generator):
        super().__init__()
        self.ceiling = ceiling_of(layer)
        self.conv = ElasticConv(layer.n_in, layer.n_out, POINTWISE, rng, nested=False)

    def call(self, x, layer: Layer):
        x = self.conv(mean(x), n_out=layer.n_out)
        return activate(x, self.ceiling, channel_major=self.channel_major)


class ElasticDepthwise(Elastic):
    """Depthwise convolution of the leading channels, by a window or a smaller one.

    A smaller window is the middle of the next larger, in a row, times a learnt matrix, as in Once-for-All.

    Args:
        kernels: the sides of all windows.
    """

    def __init__(self, n: int, window: Window, rng: np.random.Generator, *, kernels: Sequence[int], nested: bool):
        super().__init__(nested=nested)
        self.window = window
        self.sides = [window.kernel, *sorted((side for side in kernels if side < window.kernel), reverse=True)]
        side = window.kernel
        self.conv = Mo.Conv(n, n, (side, side), group=n, w_init=normal(rng, np.sqrt(2) / side), with_bias=False)
        for larger, smaller in pairwise(self.sides):
            self.parameters[matrix_name(larger, smaller)] = Mo.Parameter(
                (smaller**2,) * 2, initializer=np.eye(smaller**2)
            )

    def call(self, x, side: int):
        steps = [pair for pair in pairwise(self.sides) if pair[1] >= side]
        window, matrices = (
            Window(side, self.window.stride, side // 2),
            [self.parameters[matrix_name(*pair)] for pair in steps],
        )
        if self.channel_major:
            return Depthwise(window)(x, self.conv._W, *matrices)
        n = x.shape[1]
        weight = corner(self.conv._W, n, 1)
        for (larger, smaller), matrix in zip(steps, matrices, strict=True):
            edge = (larger - smaller) // 2
            middle = weight[:, :, edge : edge + smaller, edge : edge + smaller]
            weight = F.reshape(F.affine(F.reshape(middle, (n, smaller**2)), matrix), (n, 1, smaller, smaller))
        pad, stride = (window.pad,) * 2, (window.stride,) * 2
        return F.convolution(x, weight, None, pad=pad, stride=stride, group=n)


class SqueezeExcitation(Mo.Module):
    """Each channel times a number in [0, 1], which two layers make of the means of all."""

    channel_major = False

    def __init__(self, n: int, squeeze: int, rng: np.random.Generator):
        super().__init__()
        self.fc = Mo.Module()
        self.fc.reduce = ElasticConv(n, squeeze, POINTWISE, rng, bias=constant(0.0), nested=False)
        self.fc.expand = ElasticConv(squeeze, n, POINTWISE, rng, bias=constant(0.0), nested=False)

    def call(self, x, squeeze: int):
        y = activate(self.fc.reduce(mean(x), n_out=squeeze), RELU)
        y = hard_sigmoid(self.fc.expand(y, n_out=x.shape[0 if self.channel_major else 1]))
        return Scaling()(x, y) if self.channel_major else x * y


class DepthwiseNorm(Mo.Module):
    """Depthwise convolution, batch normalisation, activation, and a squeeze-and-excitation or none."""

    def __init__(self, layer: Layer, n: int, rng: np.random.Generator, *, kernels: Sequence[int], nested: bool):
        super().__init__()
        self.ceiling = ceiling_of(layer)
        window = Window(layer.kernel, layer.stride, layer.kernel // 2)
        self.conv = ElasticDepthwise(n, window, rng, kernels=kernels, nested=nested)
        self.bn = ElasticBatchNorm(n, nested=nested)
        if layer.squeeze:
            self.se = SqueezeExcitation(n, layer.squeeze, rng)

    def call(self, x, layer: Layer):
        x = self.bn(self.conv(x, side=layer.kernel), ceiling=self.ceiling)
        return self.se(x, squeeze=layer.squeeze) if layer.squeeze else x


class InvertedBottleneck(Mo.Module):
    """1×1 to more channels, depthwise, squeeze-and-excitation, 1×1; a block that keeps its map's sizes adds it.

    Without its first 1×1 it is of the host's plain layers, and so are its names.

    Args:
        kernels: the sides of windows that the layer may have; none for a layer of one.
        last_gamma: initial scale of the last normalisation where a map is added; 0 makes a fresh block the identity.
    """

    reads = read(WIDEN)
    inside: tuple[tuple[list[Axis], list[Axis], str], ...] = (
        (
            [*made(WIDEN, DEPTHWISE), (f"{EXPAND}/_W", 0), (f"{EXPAND}/_b", 0)],
            [*read(NARROW), (f"{REDUCE}/_W", 1)],
            "n_middle",
        ),
        ([(f"{REDUCE}/_W", 0), (f"{REDUCE}/_b", 0)], [(f"{EXPAND}/_W", 1)], "squeeze"),
    )
    makes = made(NARROW)

    def __init__(self, layer: Layer, rng: np.random.Generator, *, kernels: Sequence[int] = (), last_gamma: float = 1.0):
        super().__init__()
        nested, n_middle = layer.n_middle > 0, layer.n_middle or layer.n_in
        self.conv = Mo.Module()
        if nested:
            self.conv.inverted_bottleneck = ConvNorm(layer.n_in, n_middle, POINTWISE, rng, ceiling=ceiling_of(layer))
        else:  # its depthwise convolution works on the channels of the input
            self.reads = [*made(DEPTHWISE, nested=False), *read(NARROW, nested=False)]
            self.inside, self.makes = (), made(NARROW, nested=False)
        self.conv.depth_conv = DepthwiseNorm(layer, n_middle, rng, kernels=kernels, nested=nested)
        gamma = last_gamma if layer.shortcut == IDENTITY else 1.0
        self.conv.point_linear = ConvNorm(
            n_middle, layer.n_out, POINTWISE, rng, ceiling=LINEAR, gamma=gamma, nested=nested
        )

    def call(self, x, layer: Layer):
        y = self.conv.inverted_bottleneck(x, n_out=layer.n_middle) if layer.n_middle else x
        y = self.conv.depth_conv(y, layer=layer)
        return self.conv.point_linear(y, n_out=layer.n_out, shortcut=x if layer.shortcut == IDENTITY else None)


def mean(x):
    """The mean over a map, as a map of one pixel, in single precision."""
    with single_precision():
        return F.mean(x, axis=(2, 3), keepdims=True)
