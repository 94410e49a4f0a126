"""The modules of OFA-Xception's layers: separable convolutions, alone and in blocks of elastic depth and kernels.

As those of `modules`, under the host's names.
"""

from collections.abc import Sequence
from functools import partial

import nnabla.functions as F  # noqa: N812
import numpy as np

from ..host import Mo
from ..kernels import Window
from ..space import Layer
from ..space.layers import IDENTITY, PROJECTION, separables
from .elastic import RELU, Axis, ElasticBatchNorm, ElasticConv, activate, normalised, put
from .inverted import POINTWISE, ElasticDepthwise

# of the n-th separable convolution: its depthwise part, its 1×1 and its normalisation
ALONE = "dwconv", "pointwise", "bn"
PLAIN = "rep/sepconv{0}/dwconv", "rep/sepconv{0}/pointwise", "rep/sepconv{0}/bn"
ELASTIC = "_depth_conv{0}/dwconv", "_point_linear{0}/ptconv", "_point_linear{0}/bn"


class SeparableConv(Mo.Module):
    """A separable convolution, its normalisation and ReLU."""

    reads = (("dwconv/_W", 0), ("pointwise/_W", 1))
    inside = ()
    makes = (("pointwise/_W", 0), *normalised("bn"))

    def __init__(self, layer: Layer, rng: np.random.Generator):
        super().__init__()
        self.row = [separable(layer.n_in, layer.n_out, layer.kernel, rng, nested=False)]
        for name, part in zip(ALONE, self.row[0], strict=True):
            put(self, name, part)

    def call(self, x, layer: Layer):
        return self.bn(self.pointwise(self.dwconv(x, side=layer.kernel), n_out=layer.n_out), ceiling=RELU)


class XceptionBlock(Mo.Module):
    """A row of separable convolutions, each behind a ReLU, and a max-pooling or none; added to the input, or to its 1×1
    convolution where the block changes the map's sizes.

    A block that does not is of the host's elastic layers, and so are its names; its path may leave out the end of the
    row. The others begin with a ReLU in the host too, or behind one, which another does not change.

    Args:
        kernels: the sides of windows that the layer may have; none for a layer of one.
        last_gamma: initial scale of the row's last normalisation where the input is added; 0 makes a fresh block the
            identity.
    """

    def __init__(self, layer: Layer, rng: np.random.Generator, *, kernels: Sequence[int] = (), last_gamma: float = 1.0):
        super().__init__()
        elastic, pairs = layer.shortcut == IDENTITY, separables(layer)
        if not elastic:
            kernels, last_gamma = (), 1.0
            put(self, "_skip", ElasticConv(layer.n_in, layer.n_out, Window(1, layer.stride, 0), rng, nested=False))
            put(self, "_skipbn", ElasticBatchNorm(layer.n_out, nested=False))
        gammas = [1.0] * (layer.depth - 1) + [last_gamma]
        self.row = [
            separable(*pair, layer.kernel, rng, kernels=kernels, gamma=gamma, nested=elastic)
            for pair, gamma in zip(pairs, gammas, strict=True)
        ]
        for n, parts in enumerate(self.row, start=1):
            for name, part in zip(ELASTIC if elastic else PLAIN, parts, strict=True):
                put(self, name.format(n), part)
        made, read = zip(*(axes(n, nested=elastic) for n in range(1, layer.depth + 1)), strict=True)
        self.reads = [*read[0], ("_skip/_W", 1)]
        self.inside = [
            ([*made[n - 1], *read[n][:1]], read[n][1:], partial(channels_behind, n)) for n in range(1, layer.depth)
        ]
        self.makes = [*made[-1], ("_skip/_W", 0), *normalised("_skipbn")]

    def call(self, x, layer: Layer):
        y, added = activate(x, RELU), x if layer.shortcut == IDENTITY else None
        for n, (_, n_out) in enumerate(separables(layer), start=1):
            depthwise, pointwise, norm = self.row[n - 1]
            y = pointwise(depthwise(y, side=layer.kernel), n_out=n_out)
            y = norm(y, ceiling=RELU) if n < layer.depth else norm(y, shortcut=added)
        if layer.stride > 1:
            y = F.max_pooling(y, (3, 3), (layer.stride,) * 2, pad=(1, 1))
        return self._skipbn(self._skip(x, n_out=layer.n_out), shortcut=y) if layer.shortcut == PROJECTION else y


def separable(
    n_in: int,
    n_out: int,
    kernel: int,
    rng: np.random.Generator,
    *,
    kernels: Sequence[int] = (),
    gamma: float = 1.0,
    nested: bool,
) -> tuple[ElasticDepthwise, ElasticConv, ElasticBatchNorm]:
    """A depthwise convolution, a 1×1 and the normalisation behind both."""
    window = Window(kernel, 1, kernel // 2)
    depthwise = ElasticDepthwise(n_in, window, rng, kernels=kernels, nested=nested)
    return (
        depthwise,
        ElasticConv(n_in, n_out, POINTWISE, rng, nested=nested),
        ElasticBatchNorm(n_out, gamma, nested=nested),
    )


def axes(n: int, *, nested: bool) -> tuple[list[Axis], list[Axis]]:
    """The output channels of a block's n-th separable convolution, and the input channels of its parts."""
    depthwise, pointwise, norm = (name.format(n) for name in (ELASTIC if nested else PLAIN))
    conv, bn = ("/conv/_W", "/bn") if nested else ("/_W", "")
    made = [(pointwise + conv, 0), *normalised(norm + bn)]
    return made, [(depthwise + conv, 0), (pointwise + conv, 1)]


def channels_behind(n: int, layer: Layer) -> set[int]:
    """The numbers of channels that a block uses behind its n-th separable convolution.

    Where that is the last of its path, the map is added to the input: then each channel has its place.
    """
    return {layer.n_middle} if layer.depth > n else {*range(layer.n_out + 1)}
