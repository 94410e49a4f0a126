"""Fixtures of small runs, and a small detector; the host is repaired before a test imports it."""

import numpy as np
import pytest
from small_runs import *  # noqa: F403

from nnabla_detofa.supernet import extract


@pytest.fixture
def detector(tiny):
    """Builds the `number`-th path of the small supernet alone, whose statistics and scales are not those of a fresh
    network."""

    def build(number=0, **options):
        rng, supernet = np.random.default_rng(number), tiny(**options)
        for name, parameter in supernet.get_parameters().items():
            low = {"_mean": -0.2, "_var": 0.5, "_beta": -0.2, "_gamma": 0.5}.get(name.rpartition("/")[2])
            if low is not None:
                parameter.d = rng.uniform(low, low + 1, parameter.shape)
        space = supernet.space
        path = (space.largest(), space.smallest(), *space.sample(2, rng))[number]
        return extract(supernet, path, kernels="nnabla")

    return build
