"""OFA-ResNet50 (Section 4.1, the paper's [22]): the elastic backbone, with the host's parameter names."""

from collections import OrderedDict
from contextlib import nullcontext
from typing import TYPE_CHECKING

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np

from ..errors import ConfigError, unknown
from ..host import Mo, Model
from ..precision import single_precision
from ..space import CostModel, SearchSpace
from .architecture import Layers, layers
from .elastic import RELU, RELU6, Bottleneck, ConvNorm, ElasticBatchNorm
from .kernels import Window

if TYPE_CHECKING:
    from .weights import Transfer

STEM_ACTIVATIONS = {"relu6": RELU6, "relu": RELU}  # the host's and MIT's
KERNELS = ("auto", "numpy", "nnabla")


class OFAResNet50(Model):
    """The elastic backbone; heads are added by subclasses.

    Args:
        space: what a path may be, and the channels of its choices.
        only: a row of genes; the network then holds that path's layers alone, at its sizes. None holds the supernet.
        stem_activation: "relu6" as in the host, or "relu" as in MIT's network.
        stem_pool: whether the stem ends in its 3×3 max-pooling; without it, every map is twice as large.
        zero_last_gamma: start the last normalisation of each block at 0.
        kernels: "numpy" for the CPU kernels, "nnabla" for NNabla's functions, "auto" by the context of the call.
        rng: draws the initial weights.
    """

    transfer: "Transfer | None" = None  # what a subclass took over from a file
    task: str  # of a subclass, as its loaders say it
    n_classes: int
    last_reader: tuple[str, int]  # the parameter, and its axis, that reads the backbone's last map

    def __init__(
        self,
        space: SearchSpace,
        *,
        only: np.ndarray | None = None,
        stem_activation: str = "relu6",
        stem_pool: bool = True,
        zero_last_gamma: bool = False,
        kernels: str = "auto",
        rng: np.random.Generator,
    ):
        super().__init__()
        if stem_activation not in STEM_ACTIVATIONS:
            raise unknown("stem_activation", stem_activation, STEM_ACTIVATIONS)
        if kernels not in KERNELS:
            raise unknown("kernels", kernels, KERNELS)
        self.space, self.stem_activation = space, stem_activation
        self._stem_pool, self._kernels = stem_pool, kernels
        self._only = None if only is None else np.asarray(only)
        path = self.require_path(space.largest() if only is None else only)
        with nn.parameter_scope("", OrderedDict()):  # the host registers parameters globally and never lets go
            self._build(layers(space, path), STEM_ACTIVATIONS[stem_activation], 0.0 if zero_last_gamma else 1.0, rng)
        self.activate(path)

    def _build(self, shape: Layers, ceiling: float | None, last_gamma: float, rng) -> None:
        self.input_stem = Stem(
            shape.stem_mid, shape.stem_out, rng, residual=shape.stem_residual, ceiling=ceiling, pool=self._stem_pool
        )
        self.blocks = Mo.ModuleList()
        for layer in shape.blocks:
            self.blocks.modules[str(layer.position)] = Bottleneck(
                layer.n_in,
                layer.n_middle,
                layer.n_out,
                layer.stride,
                rng,
                projection=layer.projection,
                last_gamma=last_gamma,
            )

    def activate(self, path: np.ndarray) -> None:
        """Choose the path (a row of genes) that the next `call` computes; ConfigError where the network lacks it."""
        self.path = self.require_path(path)
        self._layers = layers(self.space, self.path)

    def require_path(self, path: np.ndarray) -> np.ndarray:
        """The path as int8; ConfigError where this network cannot compute it."""
        path = np.asarray(path)
        if not self.space.contains(path[None])[0]:
            raise ConfigError(f"path {path.tolist()} is not in the network's search space")
        if self._only is not None and not np.array_equal(path, self._only):
            raise ConfigError(f"path {path.tolist()} is not the one that this network holds, {self._only.tolist()}")
        return path.astype(np.int8)

    def __call__(self, *inputs):
        """The network's outputs; its CPU kernels know single precision alone, and so all between them is."""
        with single_precision() if self.works_channel_major() else nullcontext():
            return super().__call__(*inputs)

    def features(self, images):
        """Backbone's last map for images (B, 3, S, S), in the layout that the network's layers work in."""
        channel_major = self.works_channel_major()
        self.apply(channel_major=channel_major, pending=None)  # an older graph's statistics are none of this one's
        x, path = F.transpose(images, (1, 0, 2, 3)) if channel_major else images, self._layers
        x = self.input_stem(x, n_middle=path.stem_mid, n_out=path.stem_out, residual=path.stem_residual)
        for layer in path.blocks:
            x = self.blocks.modules[str(layer.position)](x, n_middle=layer.n_middle, n_out=layer.n_out)
        return x

    def batch_first(self, x):
        """A map of the layers' layout as (B, C, H, W)."""
        return F.transpose(x, (1, 0, 2, 3)) if self.channel_major else x

    def works_channel_major(self) -> bool:
        """Whether maps lie as (C, B, H, W) between layers: what the CPU kernels need."""
        if self._kernels == "auto":
            return nn.get_current_context().backend[0].startswith("cpu")
        return self._kernels == "numpy"

    def require_fit(self, loader) -> None:
        """ConfigError where a loader of `data` gives batches that this network is not for."""
        if self.task.name != loader.task:
            raise ConfigError(
                f"the network is for {self.task.name} and the data set for {loader.task}; they must agree"
            )
        if self.n_classes != loader.n_classes:
            names = ", ".join(loader.classes[:20]) + (", …" if loader.n_classes > 20 else "")
            raise ConfigError(
                f"the network has n_classes={self.n_classes} and the data set {loader.n_classes} ({names});"
                " they must agree"
            )

    def image_shapes(self, image_size: int) -> list[list[int]]:
        """Shapes of one image, for the host's placeholders."""
        return [[3, image_size, image_size]]

    def flops(self, image_size: int) -> CostModel:
        """MACs of the whole network at this input size, by path."""
        return CostModel.of(self.network_layers(image_size), "flops")

    def batch_norms(self) -> list[ElasticBatchNorm]:
        """Every elastic normalisation of the network."""
        return [module for _, module in self.get_modules() if isinstance(module, ElasticBatchNorm)]

    def flush_statistics(self) -> None:
        """Take over the last graph's running statistics; call it after every forward pass that trains."""
        for layer in self.batch_norms():
            layer.flush()

    def get_net_parameters(self, grad_only=False):
        """All parameters, by name (the host's protocol)."""
        return self.get_parameters(grad_only)

    def get_arch_parameters(self, grad_only=False):  # noqa: ARG002 - the host's protocol
        """No architecture parameters: the path filter chooses paths."""
        return OrderedDict()


class Stem(Mo.ModuleList):
    """3×3 with stride 2, an optional residual block, 3×3, and a max-pooling or none.

    Args:
        n_middle, n_out: channels of the weights; `call` takes those of the path, and whether it has the residual block.
    """

    def __init__(self, n_middle: int, n_out: int, rng: np.random.Generator, *, residual: bool, ceiling, pool: bool):
        super().__init__()
        self._pool = pool
        self.modules["0"] = ConvNorm(3, n_middle, Window(3, 2, 1), rng, ceiling=ceiling)
        if residual:
            self.modules["1"] = StemResidual(n_middle, rng, ceiling)
        self.modules["2"] = ConvNorm(n_middle, n_out, Window(3, 1, 1), rng, ceiling=ceiling)

    def call(self, x, n_middle: int, n_out: int, residual: bool):
        x = self.modules["0"](x, n_out=n_middle)
        if residual:
            x = self.modules["1"](x, n_channels=n_middle)
        x = self.modules["2"](x, n_out=n_out)
        return F.max_pooling(x, (3, 3), (2, 2), pad=(1, 1)) if self._pool else x


class StemResidual(Mo.Module):
    """x + conv(x): the stem's optional block."""

    def __init__(self, n_channels: int, rng: np.random.Generator, ceiling: float | None):
        super().__init__()
        self.conv = ConvNorm(n_channels, n_channels, Window(3, 1, 1), rng, ceiling=ceiling)

    def call(self, x, n_channels: int):
        return self.conv(x, n_out=n_channels) + x
