"""A training step of the supernet, ours and with the host's elastic layers: forward and backward of one path a step."""

from collections import OrderedDict

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np

from nnabla_detofa.host import Mo
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import NETWORKS, Supernet
from nnabla_detofa.supernet.elastic import swapped
from nnabla_detofa.tasks import CenterNet, Classification
from nnabla_detofa.threads import one_blas_thread


def stepper(network, loss_of, genotypes: list, activate):
    """A call is one step: gradients to zero, the next path's graph, forward and backward."""
    parameters = network.get_parameters(grad_only=True).values()
    turn = 0

    @one_blas_thread()  # as a run holds it from its start to its end
    def step() -> None:
        nonlocal turn
        activate(genotypes[turn % len(genotypes)])
        turn += 1
        for parameter in parameters:
            parameter.grad.zero()
        loss = loss_of()
        loss.forward(clear_no_need_grad=True)
        loss.backward(clear_buffer=True)

    return step


def noisy_mean(maps):
    """A loss whose gradient is noise; that of a plain mean is zero but for rounding behind a batch normalisation."""
    noise = np.random.default_rng(1).standard_normal(maps.shape).astype(np.float32)
    return F.mean(maps * nn.Variable.from_numpy_array(noise))


def images(batch: int, size: int) -> nn.Variable:
    pixels = np.random.default_rng(0).standard_normal((batch, 3, size, size))
    return nn.Variable.from_numpy_array(pixels.astype(np.float32))


def backbone(size: int, genotypes: list[dict], batch: int = 8, width_scale: float = 1.0, kernels: str = "numpy"):
    """Our backbone alone; its loss is of the last map."""
    space = SearchSpace.ofa_resnet50(width_scale=width_scale)
    task = Classification(n_classes=2)  # whose layer is left out
    network = Supernet(space, task, kernels=kernels, stem_activation="relu", rng=np.random.default_rng(0))
    network.apply(training=True, channel_major=network.works_channel_major())

    def features(x: nn.Variable) -> nn.Variable:
        x = swapped(x) if network.works_channel_major() else x
        for place, layer in network.steps(network.path)[:-1]:
            x = network.layers[place](x, layer=layer)
        return x

    x = images(batch, size)
    return stepper(
        network, lambda: noisy_mean(features(x)), genotypes, lambda g: network.activate(space.from_genotype(g))
    )


def detector(size: int, genotypes: list[dict], batch: int = 8, kernels: str = "numpy", n_classes: int = 20):
    """Backbone, neck and heads with CenterNet's losses; targets are random."""
    space = SearchSpace.ofa_resnet50()
    network = Supernet(space, CenterNet(n_classes=n_classes), kernels=kernels, rng=np.random.default_rng(0))
    network.apply(training=True)
    x, rng = images(batch, size), np.random.default_rng(1)
    targets = [nn.Variable((batch, *shape)) for shape in network.target_shapes(size, max_objects=32)]
    targets[0].d = rng.random(targets[0].shape) ** 8
    targets[3].d = rng.integers(0, (size // network.output_stride) ** 2, targets[3].shape)
    targets[4].d = 1
    return stepper(
        network,
        lambda: network.loss(network(x), targets),
        genotypes,
        lambda g: network.activate(space.from_genotype(g)),
    )


def demo_network() -> Supernet:
    """The demo's supernet."""
    space = {"width_scale": 0.125, "channel_divisor": 4, "base_depths": [1, 1, 1, 1]}
    return NETWORKS["ofa_resnet50_centernet"].SearchNet(
        3, space=space, neck=[32, 32], head=32, stem_activation="relu", stem_pool=False, zero_last_gamma=True
    )


def demo_layers(n: int) -> tuple[list, list]:
    """What a network of the same layers needs, as lists of (place, layer): the largest path, and n drawn ones."""
    network = demo_network()

    def layers(path: np.ndarray) -> list:
        return [(place, layer._asdict()) for place, layer in network.steps(path)]

    return layers(network.space.largest()), [layers(path) for path in _demo_paths(network, n)]


def _demo_paths(network: Supernet, n: int) -> np.ndarray:
    return network.space.sample(n, np.random.default_rng(0))


def demo(n_paths: int, batch: int, size: int = 64):
    """The demo's detector, forward and backward; its loss is of the heads' maps."""
    network = demo_network()
    network.apply(training=True)
    x = images(batch, size)
    paths = list(_demo_paths(network, n_paths))
    return stepper(network, lambda: sum(map(noisy_mean, network(x))), paths, network.activate)


def host(size: int, genotypes: list[dict], batch: int = 8):
    """The same network from the host's elastic layers; its own network file is missing from the wheel."""
    network = HostResNet50()
    network.apply(training=True)
    for _, module in network.get_modules():
        if hasattr(module, "use_static_bn"):
            module.use_static_bn = False
    x = images(batch, size)
    return stepper(network, lambda: noisy_mean(network(x)), genotypes, network.activate)


class HostResNet50(Mo.Module):
    """The stem and the 18 blocks of OFA-ResNet50, put together as the host does."""

    WIDTHS = (0.65, 0.8, 1.0)
    EXPANDS = (0.2, 0.25, 0.35)
    DEPTHS = (4, 4, 6, 4)

    def __init__(self) -> None:
        super().__init__()
        from nnabla_nas.contrib.common.ofa.elastic_nn.modules.dynamic_layers import (
            DynamicBottleneckResidualBlock,
            DynamicConvLayer,
        )
        from nnabla_nas.contrib.common.ofa.layers import ResidualBlock
        from nnabla_nas.contrib.common.ofa.utils.common_tools import make_divisible

        def widths(full: int) -> list[int]:
            return [make_divisible(full * width) for width in self.WIDTHS]

        channels = widths(64)
        middle = [make_divisible(n // 2) for n in channels]
        self.stem = Mo.ModuleList(
            [
                DynamicConvLayer([3], middle, (3, 3), stride=(2, 2), act_func="relu"),
                ResidualBlock(DynamicConvLayer(middle, middle, (3, 3), act_func="relu"), Mo.Identity()),
                DynamicConvLayer(middle, channels, (3, 3), act_func="relu"),
            ]
        )
        self.blocks = Mo.ModuleList()
        for stage, (full, depth) in enumerate(zip((256, 512, 1024, 2048), self.DEPTHS, strict=True)):
            for layer in range(depth):
                stride = 2 if stage and not layer else 1
                block = DynamicBottleneckResidualBlock(
                    channels, widths(full), list(self.EXPANDS), stride=(stride, stride)
                )
                channels = widths(full)
                self.blocks.append(block)
        self._middle, self._out = middle, widths(64)
        self._active = list(range(len(self.blocks)))

    def activate(self, genotype: OrderedDict) -> None:
        depths, expands, widths = genotype["d"], genotype["e"], genotype["w"]
        self._with_residual = depths[0] == 2
        self.stem[0].active_out_channel = self.stem[1].conv.active_out_channel = self._middle[widths[0]]
        self.stem[2].active_out_channel = self._out[widths[1]]
        self._active, first = [], 0
        for stage, depth in enumerate(self.DEPTHS):
            for position in range(first, first + depth):
                block = self.blocks[position]
                block.active_out_channel = block._out_channel_list[widths[stage + 2]]
                block.active_expand_ratio = expands[position]
            self._active += range(first, first + depth - 2 + depths[stage + 1])
            first += depth

    def call(self, x):
        x = self.stem[0](x)
        if self._with_residual:
            x = self.stem[1](x)
        x = F.max_pooling(self.stem[2](x), (3, 3), (2, 2), pad=(1, 1))
        for position in self._active:
            x = self.blocks[position](x)
        return x
