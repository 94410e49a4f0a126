"""Detection with the paper's largest detector on noise, a batch a call: what its maps need."""

import numpy as np

from nnabla_detofa.data import Batch
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import Supernet
from nnabla_detofa.tasks import CenterNet
from nnabla_detofa.tasks.centernet import detect


def evaluation(size: int, batch: int, n_classes: int = 20):
    """The boxes of a batch of images of `size` pixels."""
    space = SearchSpace.ofa_resnet50()
    network = Supernet(space, CenterNet(n_classes=n_classes), rng=np.random.default_rng(0))
    network.activate(space.largest())
    network.apply(training=False)
    images = np.random.default_rng(0).standard_normal((batch, 3, size, size)).astype(np.float32)
    matrix = np.tile(np.array([[0.25, 0, 0], [0, 0.25, 0]]), (batch, 1, 1))
    batches = [Batch(images, [], np.arange(batch), matrix, batch)]

    def run() -> None:
        detect(network, batches)

    return run
