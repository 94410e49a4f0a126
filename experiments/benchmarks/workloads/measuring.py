"""Measuring a path: BN re-estimation and validation loss of the demo's supernet, with either kind of kernels."""

import numpy as np

from nnabla_detofa.data import Batch
from nnabla_detofa.supernet import NETWORKS
from nnabla_detofa.training.measuring import PathMeasurer

SMALL = {"width_scale": 0.125, "channel_divisor": 4, "base_depths": [1, 1, 1, 1]}


def measure(kernels: str, bn_images: int = 48, validation_images: int = 96, size: int = 64, batch: int = 16):
    """One path more a call, on noise."""
    network = NETWORKS["ofa_resnet50_centernet"].SearchNet(
        3, space=SMALL, neck=[32, 32], head=32, stem_activation="relu", stem_pool=False, kernels=kernels
    )
    rng = np.random.default_rng(0)

    def batches(n: int) -> list[Batch]:
        shapes = [(batch, *shape) for shape in network.target_shapes(size, max_objects=10)]
        targets = [np.zeros(shape, np.float32) for shape in shapes]
        images = (rng.standard_normal((batch, 3, size, size)).astype(np.float32) for _ in range(n // batch))
        return [Batch(each, targets, np.arange(batch), np.zeros((batch, 2, 3)), batch) for each in images]

    measurer = PathMeasurer(
        network, (1.0, 0.1, 1.0), bn_images=batches(bn_images), validation_images=batches(validation_images)
    )

    def run() -> None:
        measurer.loss(network.space.sample(1, rng)[0])

    return run
