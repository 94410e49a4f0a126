"""The layers of OFA-ResNet50 under CenterNet's neck and heads (Table 1, Section 4.1), and what each costs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import ConfigError, is_whole
from .layer_costs import LayerCosts

if TYPE_CHECKING:
    from .search_space import SearchSpace

STRIDES = (1, 2, 2, 2)
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
    """What the layer multiplies, in the order in which it does."""
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


class BackboneLayers:
    """Every layer that a path of `space` can have, for images of (3, image_size, image_size); subclasses add a tail.

    `stem_pool`: whether the stem ends in a max-pooling. ConfigError where `image_size` is not a multiple of 32.
    """

    def __init__(self, space: "SearchSpace", *, image_size: int, stem_pool: bool = True) -> None:
        if not is_whole(image_size) or image_size < 32 or image_size % 32:
            raise ConfigError(f"image_size is {image_size!r}; it must be a multiple of 32")
        self.space, self._image_size, self._stem_stride = space, int(image_size), 4 if stem_pool else 2
        self._sides = [self._image_size // self._stem_stride]  # of the maps that enter each stage and leave the last
        for stride in STRIDES:
            self._sides.append(self._sides[-1] // stride)

    def stem(self, residual: int, width1: int, width2: int) -> Layer:
        """The stem by its three genes."""
        channels, shortcut = self.space.channels, IDENTITY if residual else NOTHING
        middle, out = channels.stem_mid[width1], channels.stem_out[width2]
        return Layer(STEM, 3, middle, out, self._stem_stride, shortcut, self._image_size)

    def first(self, stage: int, before: int, width: int, expand: int) -> Layer:
        """A stage's first block, by the width before it, its width and its expand."""
        channels = self.space.channels
        n_in = (channels.stage_out[stage - 1] if stage else channels.stem_out)[before]
        middle, out = channels.middle[stage][width][expand], channels.stage_out[stage][width]
        return Layer(BLOCK, n_in, middle, out, STRIDES[stage], PROJECTION, self._sides[stage])

    def other(self, stage: int, width: int, expand: int) -> Layer:
        """Each further block of a stage."""
        channels = self.space.channels
        middle, out = channels.middle[stage][width][expand], channels.stage_out[stage][width]
        return Layer(BLOCK, out, middle, out, 1, IDENTITY, self._sides[stage + 1])

    def tail(self, width: int) -> list[Layer]:  # noqa: ARG002 - for subclasses
        """All that follows the last stage, by its width."""
        return []

    def costs(self, of: Callable[[Sequence[Layer]], float], *, join: np.ufunc = np.add) -> LayerCosts:
        """The tables of a cost model; `of` tells what consecutive layers cost together, `join` as in `LayerCosts`."""
        widths, expands = range(len(self.space.structure.widths)), range(len(self.space.structure.expands))
        return LayerCosts(
            stem=np.array([[[of([self.stem(r, a, b)]) for b in widths] for a in widths] for r in (0, 1)]),
            first=tuple(
                np.array([[[of([self.first(s, b, w, e)]) for e in expands] for w in widths] for b in widths])
                for s in range(4)
            ),
            other=tuple(np.array([[of([self.other(s, w, e)]) for e in expands] for w in widths]) for s in range(4)),
            tail=np.array([of(self.tail(w)) for w in widths]),
            join=join,
        )

    def distinct(self) -> list[Layer]:
        """Each layer once, in the order in which images meet them."""
        met: dict[Layer, None] = {}

        def note(layers: Sequence[Layer]) -> float:
            met.update(dict.fromkeys(layers))
            return 0

        self.costs(note)
        return sorted(met, key=lambda layer: KINDS.index(layer.kind))


class DetectorLayers(BackboneLayers):
    """The backbone's layers with CenterNet's neck and heads.

    `neck`: widths of the up-convolutions; `head`: width of each of the three heads; `backbone`: the other keywords of
    `BackboneLayers`. ConfigError where a width is no number of channels.
    """

    def __init__(
        self,
        space: "SearchSpace",
        *,
        n_classes: int,
        neck: Sequence[int] = (256, 256, 256),
        head: int = 64,
        **backbone: Any,
    ) -> None:
        super().__init__(space, **backbone)
        for name, value in (("n_classes", n_classes), ("head", head), *(("neck", width) for width in neck)):
            if not is_whole(value) or value < 1:
                raise ConfigError(f"{name} holds {value!r}; it must be a whole number of at least 1")
        self._neck, self._head, self._outputs = tuple(neck), head, (n_classes, 2, 2)

    def tail(self, width: int) -> list[Layer]:
        """Up-convolutions and heads, by the width of the last stage."""
        layers, n_in, side = [], self.space.channels.stage_out[-1][width], self._sides[-1]
        for n_out in self._neck:
            layers.append(Layer(UP, n_in, 0, n_out, 2, NOTHING, side))
            n_in, side = n_out, 2 * side
        return layers + [Layer(HEAD, n_in, self._head, n_out, 1, NOTHING, side) for n_out in self._outputs]


class ClassifierLayers(BackboneLayers):
    """The backbone's layers with a linear classifier behind the mean over the image.

    `backbone`: the keywords of `BackboneLayers`.
    """

    def __init__(self, space: "SearchSpace", *, n_classes: int, **backbone: Any) -> None:
        super().__init__(space, **backbone)
        self._n_classes = n_classes

    def tail(self, width: int) -> list[Layer]:
        """The classifier, by the width of the last stage."""
        return [
            Layer(LINEAR, self.space.channels.stage_out[-1][width], 0, self._n_classes, 1, NOTHING, self._sides[-1])
        ]
