"""Pictures and a detector so small that a test takes seconds."""

import pytest

from nnabla_detofa.data.voc import DataLoader
from nnabla_detofa.supernet import NETWORKS

SPACE = {"width_scale": 0.0625, "channel_divisor": 4, "base_depths": [1, 1, 1, 1], "depths": [0, 1]}
NETWORK = {"space": SPACE, "neck": [8, 8], "head": 8, "head_deviation": None, "stem_pool": False}
DIGITS = {"classes": [0, 1, 7], "n_train": 60, "n_test": 12, "image_size": 32, "scale": [0.35, 0.6]}
LOADER = {"generate": DIGITS, "image_size": 32, "output_stride": 4, "max_objects": 10, "held_out": 16, "workers": 0}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """The folder of the generated pictures, written by the first loader that asks for them."""
    return tmp_path_factory.mktemp("digits")


@pytest.fixture
def tiny():
    """Builds the small detector of three classes; one seed, one network."""
    return lambda **options: NETWORKS["ofa_resnet50_centernet"].SearchNet(3, **{**NETWORK, **options})


@pytest.fixture
def loader(pictures):
    """Builds a loader of the pictures that are trained on, or held out, or of the test split."""

    def build(searching=True, training=True, *, batch_size=4):
        return DataLoader(searching, training, batch_size, root=pictures, **LOADER)

    return build
