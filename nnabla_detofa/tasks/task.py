"""The interface of a task: the head behind a backbone, its loss, and how good its answers are."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import nnabla as nn
import numpy as np

from ..detection import Judged, resampled
from ..errors import ConfigError, unknown
from ..options import Listed, Number, Options, Whole
from ..space import Family, NetworkLayers, SearchSpace


class Assessment(NamedTuple):
    """A figure in 0–1, that of each class (nan where nothing is of it), and those on resampled images."""

    figure: float
    per_class: np.ndarray
    resampled: np.ndarray


class Task(Options):
    """A task and its options; `loader` is one of `data/`, whose batches are of this task."""

    name: ClassVar[str]  # as the loaders say it
    metrics: ClassVar[tuple[str, ...]]  # the names of its figures
    outputs: ClassVar[tuple[str, ...]] = ()  # the names of the heads' maps, the first with a channel for each class
    weighs_losses: ClassVar[bool] = False  # whether `weights` of its `loss` mean anything
    n_classes: Annotated[int, Whole()]

    @abstractmethod
    def layers(self, space: SearchSpace, **backbone: Any) -> NetworkLayers:
        """Every layer that a path can have, with those of the head; `backbone` holds keywords of `NetworkLayers`."""

    @abstractmethod
    def places(self, family: Family) -> list[tuple[str, dict[str, Any]]]:
        """For each layer behind the backbone its place among the parameters' names, and how its weights begin."""

    @abstractmethod
    def target_shapes(self, sides: tuple[int, int], max_objects: int) -> list[list[int]]:
        """Shapes of one image's targets, in the loaders' order, for output maps of `sides` (height, width) cells."""

    @abstractmethod
    def loss(self, outputs, targets, *, weights=None, terms=None, training: bool):
        """The loss that training lowers, a scalar; `terms` where `curves` has already built them."""

    @abstractmethod
    def curves(self, outputs, targets) -> dict[str, nn.Variable]:
        """Figures that are shown while training, by name; lower is better."""

    @abstractmethod
    def answers(self, network, loader) -> Any:
        """The answers of the network's active path to all images of a loader."""

    @abstractmethod
    def judged(self, metric: str, answers: Any, loader) -> Judged:
        """The answers beside what was to be found, for the named metric on some of the images."""

    @abstractmethod
    def figure_judged(self, metric: str, judged: Any, loader) -> float:
        """The named metric, in 0–1, of what is `judged` by it."""

    def figure_of(self, metric: str, answers: Any, loader) -> float:
        """The named metric, in 0–1, of answers to the images of a loader."""
        return self.figure_judged(metric, self.judged(metric, answers, loader), loader)

    def figure(self, metric: str, network, loader) -> float:
        """The named metric, in 0–1, of the network's active path on all images of a loader."""
        return self.figure_of(metric, self.answers(network, loader), loader)

    def assess(self, metric: str, network, loader, *, rng: np.random.Generator) -> Assessment:
        """The figure, of classes and of resampled images too; the network answers once."""
        return self.assessed(metric, self.answers(network, loader), loader, rng=rng)

    def assessed(self, metric: str, answers: Any, loader, *, rng: np.random.Generator) -> Assessment:
        """As `assess`, of answers that are there."""
        judged = self.judged(metric, answers, loader)
        per_class = judged.per_class(np.ones((1, judged.n_images), int))[0]
        return Assessment(self.figure_judged(metric, judged, loader), per_class, resampled(judged, rng=rng))

    def require_metric(self, metric: str, loader) -> None:  # noqa: ARG002 - for tasks whose metrics need something
        """ConfigError for a metric that this task does not have, or the loader's images cannot give."""
        if metric not in self.metrics:
            raise unknown("metric", metric, self.metrics)

    def require_weights(self, weights: Sequence[float] | None) -> None:
        """ConfigError for weights of losses where there is one loss."""
        if weights is not None and not self.weighs_losses:
            given = list(weights)
            raise ConfigError(key="hparams.loss_weights", given=given, allowed=f"null: {self.name} has one loss")

    def is_defined(self, loader) -> bool:  # noqa: ARG002 - for tasks that need something in the images
        """Whether paths have a figure on a loader's images."""
        return True

    def require_fit(self, loader, output_stride: int) -> None:  # noqa: ARG002 - for tasks whose outputs are maps
        """ConfigError where the loader gives batches that a network of this task is not for."""
        if self.name != loader.task:
            raise ConfigError(f"the network is for {self.name} and the data set for {loader.task}; they must agree")
        if self.n_classes != loader.n_classes:
            names = ", ".join(loader.classes[:20]) + (", …" if loader.n_classes > 20 else "")
            raise ConfigError(
                f"the network has n_classes={self.n_classes} and the data set {loader.n_classes} ({names});"
                " they must agree"
            )


class MapTask(Task):
    """A task whose outputs are maps of cells, behind a neck.

    neck: channels of the up-convolutions. head: hidden channels of each head. head_deviation: of the normal initial
    weights of neck and heads, a heat map's aside; None for He's.
    """

    neck: Annotated[tuple[int, ...], Listed(Whole())] = (256, 256, 256)
    head: Annotated[int, Whole()] = 64
    head_deviation: Annotated[float | None, Number(least=0, null=True)] = 0.001

    def places(self, family: Family) -> list[tuple[str, dict[str, Any]]]:  # noqa: ARG002 - as every family's
        """See `Task`."""
        names = [*(f"neck/{i}" for i in range(len(self.neck))), *(f"heads/{name}" for name in self.outputs)]
        return [(name, {"deviation": self.head_deviation}) for name in names]

    def require_fit(self, loader, output_stride: int) -> None:
        """As every task's; the loader's output stride must agree too."""
        super().require_fit(loader, output_stride)
        if output_stride != loader.options.output_stride:
            raise ConfigError(
                f"the network's output stride is {output_stride} and dataloader's output_stride is"
                f" {loader.options.output_stride}; they must agree"
            )


def answers(network, batches: Iterable, read: Callable) -> Iterator[tuple]:
    """Each batch of a loader with what the network's active path says of its images.

    `read` makes of the network's outputs for a batch a callable, which runs the graph and gives what it says.
    """
    network.apply(training=False)
    graph = None
    for batch in batches:
        if graph is None or graph[0].shape != batch.images.shape:
            placeholder = nn.Variable(batch.images.shape)
            graph = placeholder, read(network(placeholder))
        placeholder, answer = graph
        placeholder.d = batch.images
        yield batch, answer()
