"""A small supernet of the configuration's kind, and what every test does with one."""

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.space.layers import sides_of
from nnabla_detofa.supernet import NETWORKS

SPACE = {"width_scale": 0.125, "channel_divisor": 4, "base_depths": [1, 1, 1, 1]}
OPTIONS = {"neck": [8, 12, 8], "head": 8, "head_deviation": None, "stem_pool": False}


class Small:
    """Builds networks of three classes and runs them on 64-pixel images."""

    SPACE, OPTIONS, CLASSES, SIDE = SPACE, OPTIONS, 3, 64
    FAMILY = "ofa_resnet50"

    def net(self, n_classes=CLASSES, *, space=None, kind="SearchNet", **options):
        build = getattr(NETWORKS[f"{self.FAMILY}_centernet"], kind)
        return build(n_classes, space={**self.SPACE, **(space or {})}, **{**self.OPTIONS, **options})

    def classifier(self, n_classes=CLASSES, *, space=None, kind="SearchNet", **options):
        build = getattr(NETWORKS[f"{self.FAMILY}_classifier"], kind)
        return build(n_classes, space={**self.SPACE, **(space or {})}, **options)

    def awake(self, network, seed=7):
        """The network with scales, shifts, biases and running statistics that differ in every channel."""
        rng = np.random.default_rng(seed)
        for name, parameter in network.get_parameters().items():
            if name.endswith(("_gamma", "_var")):
                parameter.d = rng.uniform(0.5, 1.5, parameter.shape)
            elif name.endswith(("_beta", "_mean", "_b")):
                parameter.d = 0.3 * rng.standard_normal(parameter.shape)
            elif name.endswith("_matrix"):
                parameter.d += 0.2 * rng.standard_normal(parameter.shape)
        return network

    def images(self, n=2, seed=0, side=SIDE):
        return np.random.default_rng(seed).standard_normal((n, 3, *sides_of(side))).astype(np.float32)

    def outputs(self, network, images=None):
        """The outputs for images in evaluation mode, as arrays."""
        network.apply(training=False)
        maps = network(nn.Variable.from_numpy_array(self.images() if images is None else images))
        maps = maps if isinstance(maps, tuple) else (maps,)
        nn.forward_all(list(maps))
        return [y.d.copy() for y in maps]

    def targets(self, network, seed=0, n=5, side=SIDE):
        """A detector's targets: objects in some cells of an otherwise random heat map."""
        rng = np.random.default_rng(seed)
        heatmap, pairs, _, index, _ = ((2, *one) for one in network.target_shapes(side, n))
        heat = rng.uniform(0, 0.8, heatmap).astype(np.float32)
        heat.ravel()[rng.choice(heat.size, 6, replace=False)] = 1
        cells = rng.integers(0, heatmap[2] * heatmap[3], index)
        arrays = heat, 4 * rng.random(pairs), rng.random(pairs), cells, np.ones(index)
        return [nn.Variable.from_numpy_array(one) for one in arrays]

    def first_map(self, network, x):
        """The input of the stem's first normalisation, (channels, pixels of all images) in float64."""
        weight = network.input_stem.modules["0"].conv.conv._W
        y = F.convolution(x, weight, pad=(1, 1), stride=(2, 2))
        y.forward()
        return np.moveaxis(y.d.astype(np.float64), 1, 0).reshape(y.shape[1], -1)

    def paths(self, network, n, seed=1):
        """Random paths after the smallest and the largest."""
        space = network.space
        some = space.sample(n - 2, np.random.default_rng(seed))
        return np.stack([space.smallest(), space.largest(), *some])

    def values(self, network):
        """A copy of every parameter by name."""
        return {name: parameter.d.copy() for name, parameter in network.get_parameters().items()}


class Mobile(Small):
    """The same of OFA-MobileNetV3."""

    SPACE, FAMILY = {"width_scale": 0.25, "channel_divisor": 4, "depths": [1, 2]}, "ofa_mbv3"


class Flow(Small):
    """The same of OFA-Xception."""

    SPACE, FAMILY = {"width_scale": 0.125, "channel_divisor": 4, "middle_blocks": 2}, "ofa_xception"


@pytest.fixture
def small():
    return Small()


@pytest.fixture
def mobile():
    return Mobile()


@pytest.fixture
def flow():
    return Flow()


@pytest.fixture(params=[Small, Mobile, Flow], ids=["resnet50", "mbv3", "xception"])
def each(request):
    return request.param()


@pytest.fixture
def close():
    """Asserts that two arrays agree within a tolerance of the largest value."""

    def check(ours, theirs, tolerance=1e-5):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(np.abs(theirs).max(), 1e-6))

    return check
