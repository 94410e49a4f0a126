"""Training one path a step builds a graph a step; none of them may stay."""

import gc
from pathlib import Path

import nnabla as nn
import numpy as np
import pytest

STATM = Path("/proc/self/statm")
PAGE = 4096


def resident():
    """Bytes of this process in memory, 0 where the system does not tell."""
    return PAGE * int(STATM.read_text().split()[1]) if STATM.exists() else 0


@pytest.mark.parametrize("kernels", ["numpy", "nnabla"])
def test_training_random_paths_keeps_no_graph(small, kernels):
    network = small.net(kernels=kernels)
    images = nn.Variable.from_numpy_array(small.images(8))

    def train(path):
        network.activate(path)
        loss = sum(nn.functions.mean(y) for y in network(images))
        loss.forward(clear_no_need_grad=True)
        loss.backward()  # keeps all buffers, so that a graph that stays weighs tens of megabytes
        network.flush_statistics()

    gc.collect()
    gc.disable()  # graphs go when they are done with, not when the collector comes
    try:
        for _ in range(2):
            train(network.space.largest())  # NNabla keeps these buffers for the graphs to come
        before = resident()
        for path in network.space.sample(6, np.random.default_rng(0)):
            train(path)
        assert resident() - before < 32 * 2**20
    finally:
        gc.enable()
