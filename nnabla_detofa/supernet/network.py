"""The once-for-all network (Sections 3 and 4.1): the backbone of a space under the head of a task, by composition."""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated, Any

import nnabla as nn
import numpy as np

from ..errors import ConfigError
from ..host import Model
from ..options import Flag, Listed, Number, OneOf, Options
from ..precision import single_precision
from ..space import CostModel, Layer, NetworkLayers, SearchSpace
from ..space.layers import BLOCK, HEAD, INVERTED, STEM, UNIT, XCEPTION, Side, sides_of
from ..tasks import Task
from .cut import cut
from .elastic import ElasticBatchNorm, put, swapped
from .modules import STEM_ACTIVATIONS, build

Position = tuple[int, int]  # segment and block; the stem is segment 0
KERNELS = ("auto", "numpy", "nnabla")


class NetworkOptions(Options):
    """Options of every network.

    stem_activation: of ResNet50, "relu6" as in the host, or "relu" as in MIT's network.
    stem_pool: whether the stem ends in its 3×3 max-pooling; without it, every map is twice as large. MobileNetV3's and
        Xception's have none, and begin with a stride of 2 or of 1 instead.
    zero_last_gamma: start the last normalisation of each block that adds its input at 0.
    bn_param: decay rate and ε of every normalisation.
    kernels: "numpy" for the CPU kernels, "nnabla" for NNabla's functions, "auto" by the context of the call.
    """

    stem_activation: Annotated[str, OneOf("stem_activation", lambda: STEM_ACTIVATIONS)] = "relu6"
    stem_pool: Annotated[bool, Flag()] = True
    zero_last_gamma: Annotated[bool, Flag()] = False
    bn_param: Annotated[tuple[float, ...], Listed(Number(least=0), n=2)] = (0.9, 1e-5)
    kernels: Annotated[str, OneOf("kernels", lambda: KERNELS)] = "auto"


class Supernet(Model):
    """An elastic network: every path of a space under the head of a task; the host's `Model`.

    Args:
        space: what a path may be, and the channels of its choices.
        task: what stands behind the backbone, and what it is trained and judged by.
        only: a row of genes; the network then holds that path's layers alone, at its sizes. None holds the supernet.
        rng: draws the initial weights.
        options: those of `NetworkOptions`.
    """

    transfer: Any = None  # the `Transfer` of the weights that were taken over from a file
    channel_major = False  # what its layers were told last

    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        *,
        only: np.ndarray | None = None,
        rng: np.random.Generator,
        **options: Any,
    ) -> None:
        super().__init__()
        self.space, self.task, self.options = space, task, NetworkOptions.of("network", options)
        self.only = None if only is None else np.asarray(only)
        self._behind = self.network_layers(UNIT).behind
        everything = space.unpruned()
        backbone, tail = self._of(everything, everything.largest())
        if sides_of(tail[-1].side) > sides_of(backbone[0][1].side):
            raise ConfigError(key="neck", given=len(tail), allowed="so short that maps stay smaller than the image")
        chosen, usual = self.options.stem_activation, NetworkOptions.model_fields["stem_activation"].default
        self.stem_activation = chosen if backbone[0][1].kind == STEM else None  # None: there is none to choose
        if self.stem_activation is None and chosen != usual:
            raise ConfigError(key="stem_activation", given=chosen, allowed="left out: this stem's is always the same")
        path = self.require_path(space.largest() if only is None else only)
        gamma = 0.0 if self.options.zero_last_gamma else 1.0
        elastic = {"last_gamma": gamma, "kernels": space.family.choices.get("kernels", ()) if only is None else ()}
        self.initial: dict[str, dict[str, Any]] = {  # of the backbone's layers, by kind
            STEM: {"activation": self.options.stem_activation},
            BLOCK: {"last_gamma": gamma},
            INVERTED: elastic,
            XCEPTION: elastic,
        }
        head = dict(task.places(space.family))
        with nn.parameter_scope("", OrderedDict()):  # the host registers parameters globally and never lets go
            self.layers = {
                place: build(layer, rng, **(head.get(place) or self.initial.get(layer.kind, {})))
                for place, layer in self.steps(path)
            }
        for place, module in self.layers.items():
            put(self, place, module)
        for norm in self.batch_norms():
            norm.bn._decay_rate, norm.bn._eps = self.options.bn_param
        self.activate(path)

    @property
    def largest(self) -> np.ndarray:
        """The largest path that it can compute: the only one, where it holds one alone."""
        return self.space.largest() if self.only is None else self.only

    def steps(self, path: np.ndarray) -> list[tuple[str, Layer]]:
        """Layers of a path in their order: the place of each among the parameters' names, and its sizes."""
        backbone, tail = self._of(self.space, path)
        names = {position: iter(places) for position, places in self.space.family.places.items()}
        head = (place for place, _ in self.task.places(self.space.family))
        places = [*(next(names[position]) for position, _ in backbone), *head]
        return list(zip(places, [*(layer for _, layer in backbone), *tail], strict=True))

    def _of(self, space: SearchSpace, path: np.ndarray) -> tuple[list[tuple[Position, Layer]], list[Layer]]:
        """The layers of the backbone and those behind it, for images of 32 pixels."""
        backbone = space.path_layers(path, stem_pool=self.options.stem_pool)
        last = backbone[-1][1]
        return backbone, self._behind(last.n_out, last.behind)

    def alone(self, path: np.ndarray, **changed: Any) -> "Supernet":
        """A network of the path's layers alone, with fresh weights; `changed` are options of task or network."""
        own = {name: changed.pop(name) for name in [*changed] if name in type(self.task).model_fields}
        task = type(self.task).of("network", {**dict(self.task), **own})
        options = {**dict(self.options), **changed}
        return Supernet(self.space, task, only=self.require_path(path), rng=np.random.default_rng(0), **options)

    def activate(self, path: np.ndarray) -> None:
        """Choose the path (a row of genes) that the next `call` computes; ConfigError where the network lacks it."""
        self.path = self.require_path(path)
        self._steps = self.steps(self.path)

    def require_path(self, path: np.ndarray) -> np.ndarray:
        """The path as int8; ConfigError where this network cannot compute it."""
        path = np.asarray(path)
        if not self.space.contains(path[None])[0]:
            raise ConfigError(f"path {path.tolist()} is not in the network's search space")
        if self.only is not None and not np.array_equal(path, self.only):
            raise ConfigError(f"path {path.tolist()} is not the one that this network holds, {self.only.tolist()}")
        return path.astype(np.int8)

    def __call__(self, *inputs):
        """The network's outputs; its CPU kernels know single precision alone, and so all between them is."""
        with single_precision() if self.works_channel_major() else nullcontext():
            return super().__call__(*inputs)

    def call(self, images):
        """The task's outputs for images (B, 3, H, W): a tuple of its heads' maps, or its only output."""
        channel_major = self.works_channel_major()
        if not (channel_major and self.channel_major):  # an older graph's statistics are none of this one's
            self.apply(channel_major=channel_major, pending=None)
        x, maps = swapped(images) if channel_major else images, []
        for place, layer in self._steps:
            y = self.layers[place](x, layer=layer)
            if layer.kind == HEAD:
                maps.append(y)
            else:
                x = y
        return tuple(maps) or x

    def works_channel_major(self) -> bool:
        """Whether maps lie as (C, B, H, W) between layers: what the CPU kernels need."""
        if self.options.kernels == "auto":
            return nn.get_current_context().backend[0].startswith("cpu")
        return self.options.kernels == "numpy"

    # -- what the task says -------------------------------------------------------------------------------------------

    def network_layers(self, image_size: Side) -> NetworkLayers:
        """Every layer that a path can have at this input size, see `NetworkLayers`: what costs are made of."""
        return self.task.layers(self.space, image_size=image_size, stem_pool=self.options.stem_pool)

    @property
    def output_stride(self) -> int:
        """Input pixels to a cell of the map that the last layer reads."""
        return sides_of(self._steps[0][1].side)[0] // sides_of(self._steps[-1][1].side)[0]

    def target_shapes(self, image_size: Side, max_objects: int = 0) -> list[list[int]]:
        """Shapes of one image's targets, in the loaders' order."""
        height, width = (side // self.output_stride for side in sides_of(image_size))
        return self.task.target_shapes((height, width), max_objects)

    def require_fit(self, loader) -> None:
        """ConfigError where a loader of `data` gives batches that this network is not for."""
        self.task.require_fit(loader, self.output_stride)

    def flops(self, image_size: Side) -> CostModel:
        """MACs of the whole network at this input size, by path."""
        return CostModel.of(self.network_layers(image_size), "flops")

    def loss(self, outputs, targets, loss_weights=None, terms=None):
        """The loss that training lowers, a scalar; `terms` where `metrics` has already built them."""
        return self.task.loss(outputs, targets, weights=loss_weights, terms=terms, training=self.training)

    def metrics(self, outputs, targets):
        """Figures that are shown while training, by name (the host's protocol: lower is better)."""
        return self.task.curves(outputs, targets)

    def kd_loss(self, outputs, teacher_outputs, *_):
        """Distance to a teacher's answer to the same images (the host's protocol), of tasks that have one."""
        return self.task.kd_loss(outputs, teacher_outputs)

    # -- statistics and parameters ------------------------------------------------------------------------------------

    def batch_norms(self) -> list[ElasticBatchNorm]:
        """Every elastic normalisation of the network."""
        return [module for _, module in self.get_modules() if isinstance(module, ElasticBatchNorm)]

    def flush_statistics(self) -> None:
        """Take over the last graph's running statistics; call it after every forward pass that trains."""
        if not self.channel_major:  # the CPU kernels' are there already
            for layer in self.batch_norms():
                layer.flush()

    def get_net_parameters(self, grad_only=False):
        """All parameters, by name (the host's protocol)."""
        return self.get_parameters(grad_only)

    def get_arch_parameters(self, grad_only=False):  # noqa: ARG002 - the host's protocol
        """No architecture parameters: the path filter chooses paths."""
        return OrderedDict()


def outputs_of(answer: nn.Variable | Sequence[nn.Variable]) -> list[nn.Variable]:
    """The outputs of a network's `call`: a detector's maps, or a classifier's only one, which would be iterated over
    image by image."""
    return [answer] if isinstance(answer, nn.Variable) else [*answer]


def extract(supernet: Supernet, path: np.ndarray, **changed: Any) -> Supernet:
    """The path as a network of its own: the supernet's weights, statistics and function, to float noise; `changed` are
    options of the network."""
    network, own = supernet.alone(path, **changed), {name: one.d for name, one in supernet.get_parameters().items()}
    parameters = network.get_parameters()
    for name, value in cut(own, {name: one.shape for name, one in parameters.items()}).items():
        parameters[name].d = value
    return network
