"""Pictures and a detector so small that a test takes seconds."""

import pytest
from small_runs import NETWORK, loader, pictures  # noqa: F401 - fixtures

from nnabla_detofa.supernet import NETWORKS

SPACE = {"width_scale": 0.0625, "channel_divisor": 4, "base_depths": [1, 1, 1, 1], "depths": [0, 1]}


@pytest.fixture
def tiny():
    """Builds the small detector of three classes; one seed, one network."""
    return lambda **options: NETWORKS["ofa_resnet50_centernet"].SearchNet(3, **{**NETWORK, "space": SPACE, **options})
