"""Every layer of a network over a space: the backbone's, and those of a tail such as CenterNet's (Section 4.1)."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from ..options import IMAGE_SIZE, Whole
from .layer_costs import LayerCosts
from .layers import HEAD, KINDS, NOTHING, UP, Layer, Side
from .search_space import SearchSpace

Tail = Callable[[int, Side], list[Layer]]  # channels and side of the last map to all layers behind it


class NetworkLayers:
    """Every layer that a path of `space` can have, for images of `image_size`, and a tail.

    `image_size` is (height, width), or one number for a square. `stem_pool`: whether the stem ends in a max-pooling.
    ConfigError where a side is not a multiple of 32.
    """

    def __init__(self, space: SearchSpace, tail: Tail, *, image_size: Side, stem_pool: bool = True) -> None:
        self.space, self.behind, self._stem_pool = space, tail, stem_pool
        self._image = IMAGE_SIZE.required("image_size", image_size)

    def block(self, segment: int, before: int, context: int, block: int, choice: int) -> tuple[Layer, ...]:
        """The layers of one block, by the leaf before its segment, its context and its choice."""
        layers = self.space.family.layers(segment, before, context, block, choice, stem_pool=self._stem_pool)
        return tuple(layer.at(self._image) for layer in layers)

    def tail(self, leaf: int) -> list[Layer]:
        """All that follows the last segment, by what it hands on."""
        segments = self.space.family.segments
        context = int((segments[-1].leaves == leaf).argmax())
        last = self.block(len(segments) - 1, 0, context, 0, 0)[-1]
        return self.behind(last.n_out, last.behind)

    def _tables(self) -> Iterator[np.ndarray]:
        """For each segment the places of its table of costs, each with its layers."""
        before = 1
        for number, one in enumerate(self.space.family.segments):
            table = np.empty((before, len(one.contexts), one.n_blocks, len(one.choices)), object)
            for place in product(*map(range, table.shape)):
                table[place] = self.block(number, *place)
            yield table
            before = one.n_leaves

    def costs(self, of: Callable[[Sequence[Layer]], float], *, join: np.ufunc = np.add) -> LayerCosts:
        """The tables of a cost model; `of` tells what consecutive layers cost together, `join` as in `LayerCosts`."""
        known: dict[tuple[Layer, ...], float] = {}

        def once(layers: tuple[Layer, ...]) -> float:
            if layers not in known:
                known[layers] = of(layers)
            return known[layers]

        segments = tuple(np.vectorize(once, otypes=[np.float64])(table) for table in self._tables())
        leaves = range(self.space.family.segments[-1].n_leaves)
        return LayerCosts(segments, np.array([of(self.tail(leaf)) for leaf in leaves], np.float64), join)

    def distinct(self) -> list[Layer]:
        """Each layer once, kind by kind."""
        met: dict[Layer, None] = {}

        def note(layers: Sequence[Layer]) -> float:
            met.update(dict.fromkeys(layers))
            return 0

        self.costs(note)
        return sorted(met, key=lambda layer: KINDS.index(layer.kind))


class MapLayers(NetworkLayers):
    """The backbone's layers with a neck of up-convolutions, and heads whose outputs are maps.

    `outputs`: channels of each head's map; `neck`: widths of the up-convolutions; `head`: width of each head;
    `backbone`: the other keywords of `NetworkLayers`. ConfigError where a width is no number of channels.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        outputs: Sequence[int],
        neck: Sequence[int] = (256, 256, 256),
        head: int = 64,
        **backbone: Any,
    ) -> None:
        for name, widths in (("n_classes", outputs), ("head", (head,)), ("neck", neck)):
            for width in widths:
                Whole().required(name, width)

        def tail(n_in: int, side: Side) -> list[Layer]:
            layers = []
            for n_out in neck:
                layers.append(Layer(UP, n_in, 0, n_out, 2, NOTHING, side))
                n_in, side = n_out, layers[-1].behind
            return layers + [Layer(HEAD, n_in, head, n_out, 1, NOTHING, side) for n_out in outputs]

        super().__init__(space, tail, **backbone)


class DetectorLayers(MapLayers):
    """Those of CenterNet, whose heads are heat map, size and offset."""

    def __init__(self, space: SearchSpace, *, n_classes: int, **more: Any) -> None:
        super().__init__(space, outputs=(n_classes, 2, 2), **more)


class ClassifierLayers(NetworkLayers):
    """The backbone's layers with the family's classifier, whose last layer is linear behind the mean over the image.

    `backbone`: the keywords of `NetworkLayers`.
    """

    def __init__(self, space: SearchSpace, *, n_classes: int, **backbone: Any) -> None:
        Whole().required("n_classes", n_classes)
        classifier = space.family.classifier
        super().__init__(space, lambda n_in, side: [*classifier(n_in, side, n_classes).values()], **backbone)
