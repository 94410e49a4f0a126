"""A weights file of the host's: its supernet, built of its own layers, and ours compute the same with it."""

from importlib import import_module

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.host import Mo  # repairs the host, so that what follows can be imported
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import SearchNet
from nnabla_detofa.supernet.backbone import OFAResNet50
from nnabla_detofa.supernet.weights import transfer_weights

host = import_module("nnabla_nas.contrib.common.ofa.elastic_nn.modules.dynamic_layers")
residual = import_module("nnabla_nas.contrib.common.ofa.layers").ResidualBlock

SPACE = {"width_scale": 0.25, "base_depths": [1, 1, 1, 1], "depths": [0, 1]}  # 8 divides its channels, as the host's


class HostsNet(Mo.Module):
    """The host's OFA-ResNet50 in a small space: its elastic layers, in its places, and how it chooses a path."""

    def __init__(self, space: SearchSpace):
        super().__init__()
        self.space, channels, structure = space, space.channels, space.structure
        mid, out = list(channels.stem_mid), list(channels.stem_out)
        self.input_stem = Mo.ModuleList(
            [
                host.DynamicConvLayer([3], mid, stride=(2, 2)),
                residual(host.DynamicConvLayer(mid, mid), Mo.Identity()),
                host.DynamicConvLayer(mid, out),
            ]
        )
        blocks = []
        for stage, widths in enumerate(map(list, channels.stage_out)):
            for layer in range(structure.layers[stage]):
                stride = (2, 2) if stage and not layer else (1, 1)
                expands = list(structure.expands)
                blocks.append(host.DynamicBottleneckResidualBlock(out, widths, expands, stride=stride))
                out = widths
        self.blocks = Mo.ModuleList(blocks)
        self.classifier = Mo.Sequential(host.DynamicLinearLayer(out, 7))
        for _, module in self.get_modules():
            module.use_static_bn = False

    def features(self, x, path: np.ndarray):
        """The last map of a path."""
        given, structure = self.space.genotype(path), self.space.structure
        first, second, *widths = given["w"]
        self.input_stem[0].active_out_channel = self.space.channels.stem_mid[first]
        self.input_stem[1].conv.active_out_channel = self.space.channels.stem_mid[first]
        self.input_stem[2].active_out_channel = self.space.channels.stem_out[second]
        for i in (0, 1, 2) if given["d"][0] else (0, 2):
            x = self.input_stem[i](x)
        x = nn.functions.max_pooling(x, (3, 3), (2, 2), pad=(1, 1))
        start = 0
        for stage, width in enumerate(widths):
            for i in range(start, start + structure.base_depths[stage] + given["d"][stage + 1]):
                self.blocks[i].active_out_channel = self.space.channels.stage_out[stage][width]
                self.blocks[i].active_expand_ratio = given["e"][i]
                x = self.blocks[i](x)
            start += structure.layers[stage]
        return x


@pytest.fixture(scope="module")
def space():
    return SearchSpace.ofa_resnet50(**SPACE)


@pytest.fixture
def hosts(small, space, tmp_path):
    """The host's network, and the file that its own `save_parameters` writes."""
    network = small.awake(HostsNet(space))
    network.save_parameters(str(tmp_path / "weights.h5"))
    return network, tmp_path / "weights.h5"


def test_the_same_maps_for_random_paths(small, space, hosts, close):
    theirs, file = hosts
    ours = OFAResNet50(space, rng=np.random.default_rng(3))
    transfer_weights(ours, file)
    for network in (ours, theirs):
        network.apply(training=False)
    x = nn.Variable.from_numpy_array(small.images())
    for path in small.paths(ours, 6):
        ours.activate(path)
        found, expected = ours.batch_first(ours.features(x)), theirs.features(x, path)
        nn.forward_all([found, expected])
        close(found.d, expected.d)


def test_every_parameter_of_the_backbone_is_taken_over_under_its_own_name(small, hosts):
    theirs, file = hosts
    network = SearchNet(3, space=SPACE, pretrained=file, **small.OPTIONS)
    own, given = small.values(network), small.values(theirs)
    assert [n for n in given if n not in network.transfer.loaded] == network.transfer.left_out
    for name in network.transfer.loaded:
        np.testing.assert_array_equal(np.float32(own[name]), np.float32(given[name]), err_msg=name)
    assert str(network.transfer).endswith("; new: neck, heads; left out: classifier")
