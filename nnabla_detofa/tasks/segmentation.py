"""Semantic segmentation, the second dense task (further work of the paper): up-convolutions and one head of classes."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np

from ..options import Number
from ..precision import single_precision
from ..segmentation import IGNORED, Overlap, class_map, joined, overlap_of
from ..space import MapLayers, SearchSpace
from .task import MapTask, answers


class Segmentation(MapTask):
    """A class for each pixel. The output are logits (B, n_classes, h, w), targets classes of cells (B, 1, h, w).

    head_deviation: of the normal initial weights of neck and head; None for He's.
    """

    name: ClassVar[str] = "segmentation"
    metrics: ClassVar[tuple[str, ...]] = ("miou",)
    outputs: ClassVar[tuple[str, ...]] = ("logits",)

    head_deviation: Annotated[float | None, Number(least=0, null=True)] = None

    def layers(self, space: SearchSpace, **backbone: Any) -> MapLayers:
        """See `Task`."""
        return MapLayers(space, outputs=(self.n_classes,), neck=self.neck, head=self.head, **backbone)

    def target_shapes(self, sides: tuple[int, int], max_objects: int) -> list[list[int]]:  # noqa: ARG002
        """See `Task`."""
        return [[1, *sides]]

    @single_precision()
    def loss(self, outputs, targets, *, weights=None, terms=None, training: bool):  # noqa: ARG002
        """Mean cross entropy over the cells that are not IGNORED; 0 where all are."""
        classes, judged = _judged(targets)
        return F.sum(F.softmax_cross_entropy(outputs[0], classes, axis=1) * judged) / _at_least_one(judged)

    @single_precision()
    def curves(self, outputs, targets) -> dict[str, nn.Variable]:
        """The share of wrong cells."""
        classes, judged = _judged(targets)
        return {"error": F.sum(F.top_n_error(outputs[0], classes, axis=1) * judged) / _at_least_one(judged)}

    def is_defined(self, loader) -> bool:
        """Whether the images show an object."""
        return bool(loader.dataset.class_counts.any())

    def maps(self, network, loader, indices: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The number of each image, and its classes (height, width) in the image's own pixels."""

        def read(outputs: tuple[nn.Variable, ...]):
            return lambda: (outputs[0].forward(clear_buffer=True), outputs[0].d)[1]

        for batch, logits in answers(network, loader.batches(indices, targets=False), read):
            for row, index in enumerate(batch.indices[: batch.n_valid].tolist()):
                yield index, class_map(logits[row], batch.matrix[row], loader.dataset.images[index].size)

    def answers(self, network, loader) -> Overlap:
        """How much of each image is of the class that it should be."""
        maps = self.maps(network, loader, np.arange(len(loader.dataset)))
        return self.overlap((found, loader.dataset.images[index].classes()) for index, found in maps)

    def overlap(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> Overlap:
        """That of pairs of maps, found and annotated, in their order."""
        return joined([overlap_of(found, annotated, self.n_classes) for found, annotated in pairs])

    def judged(self, metric: str, answers: Overlap, loader) -> Overlap:  # noqa: ARG002
        """They are."""
        return answers

    def figure_judged(self, metric: str, judged: Overlap, loader) -> float:  # noqa: ARG002 - there is one
        """Mean intersection over union."""
        return float(judged.figure(np.ones((1, judged.n_images), int))[0])


def _judged(targets) -> tuple[nn.Variable, nn.Variable]:
    """Classes of cells, 0 where they are ignored, and 1 where they count; (B, 1, h, w)."""
    judged = F.not_equal_scalar(targets[0], IGNORED)
    return targets[0] * judged, judged


def _at_least_one(judged: nn.Variable) -> nn.Variable:
    return F.maximum_scalar(F.sum(judged), 1.0)
