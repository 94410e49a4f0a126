"""A small supernet of the configuration's kind, and what every test does with one."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.supernet import SearchNet

SPACE = {"width_scale": 0.125, "channel_divisor": 4, "base_depths": [1, 1, 1, 1]}
OPTIONS = {"neck": [8, 12, 8], "head": 8, "head_deviation": None, "stem_pool": False}


class Small:
    """Builds networks of three classes and runs them on 64-pixel images."""

    SPACE, OPTIONS, CLASSES, SIDE = SPACE, OPTIONS, 3, 64

    def net(self, **options):
        return SearchNet(self.CLASSES, space=SPACE, **{**OPTIONS, **options})

    def awake(self, network, seed=7):
        """The network with scales, shifts, biases and running statistics that differ in every channel."""
        rng = np.random.default_rng(seed)
        for name, parameter in network.get_parameters().items():
            if name.endswith(("_gamma", "_var")):
                parameter.d = rng.uniform(0.5, 1.5, parameter.shape)
            elif name.endswith(("_beta", "_mean", "_b")):
                parameter.d = 0.3 * rng.standard_normal(parameter.shape)
        return network

    def images(self, n=2, seed=0):
        return np.random.default_rng(seed).standard_normal((n, 3, self.SIDE, self.SIDE)).astype(np.float32)

    def outputs(self, network, images=None):
        """The three maps of images in evaluation mode, as arrays."""
        network.apply(training=False)
        maps = network(nn.Variable.from_numpy_array(self.images() if images is None else images))
        nn.forward_all(list(maps))
        return [y.d.copy() for y in maps]

    def paths(self, network, n, seed=1):
        """Random paths after the smallest and the largest."""
        space = network.space
        some = space.sample(n - 2, np.random.default_rng(seed))
        return np.stack([space.smallest(), space.largest(), *some])

    def values(self, network):
        """A copy of every parameter by name."""
        return {name: parameter.d.copy() for name, parameter in network.get_parameters().items()}


@pytest.fixture
def small():
    return Small()


@pytest.fixture
def close():
    """Asserts that two arrays agree within a tolerance of the largest value."""

    def check(ours, theirs, tolerance=1e-5):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(np.abs(theirs).max(), 1e-6))

    return check
