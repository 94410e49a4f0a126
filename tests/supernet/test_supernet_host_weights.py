"""A weights file of the host's: its supernet, built of its own layers, and ours compute the same with it."""

from importlib import import_module

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.host import Mo  # repairs the host, so that what follows can be imported
from nnabla_detofa.space.layers import BLOCK, IDENTITY

host = import_module("nnabla_nas.contrib.common.ofa.elastic_nn.modules.dynamic_layers")
residual = import_module("nnabla_nas.contrib.common.ofa.layers").ResidualBlock

SPACE = {"width_scale": 0.25, "channel_divisor": 8, "depths": [0, 1]}  # 8 divides its channels, as the host's
EXPANDS = [0.2, 0.25, 0.35]


class HostsNet(Mo.Module):
    """The host's OFA-ResNet50 in a small space: its elastic layers, in its places, and how it chooses a path."""

    def __init__(self, space):
        super().__init__()
        self._space, channels = space, space.family.channels
        mid, out = list(channels.stem_mid), list(channels.stem_out)
        self.input_stem = Mo.ModuleList(
            [
                host.DynamicConvLayer([3], mid, stride=(2, 2)),
                residual(host.DynamicConvLayer(mid, mid), Mo.Identity()),
                host.DynamicConvLayer(mid, out),
            ]
        )
        self.blocks = Mo.ModuleList()
        for stage, widths in enumerate(map(list, channels.stage_out)):
            for block in range(2):
                stride = (2, 2) if stage and not block else (1, 1)
                self.blocks.append(host.DynamicBottleneckResidualBlock(out, widths, EXPANDS, stride=stride))
                out = widths
        self.classifier = Mo.Sequential(host.DynamicLinearLayer(out, 7))
        for _, module in self.get_modules():
            module.use_static_bn = False

    def call(self, x, path):
        """Logits of a path."""
        given, channels = self._space.genotype(path), self._space.family.channels
        first, second, *widths = given["w"]
        self.input_stem[0].active_out_channel = channels.stem_mid[first]
        self.input_stem[1].conv.active_out_channel = channels.stem_mid[first]
        self.input_stem[2].active_out_channel = channels.stem_out[second]
        for i in (0, 1, 2) if given["d"][0] else (0, 2):
            x = self.input_stem[i](x)
        x = nn.functions.max_pooling(x, (3, 3), (2, 2), pad=(1, 1))
        for stage, width in enumerate(widths):
            for i in range(2 * stage, 2 * stage + 1 + given["d"][stage + 1]):
                self.blocks[i].active_out_channel = channels.stage_out[stage][width]
                self.blocks[i].active_expand_ratio = given["e"][i]
                x = self.blocks[i](x)
        return self.classifier[0](nn.functions.mean(x, axis=(2, 3)))


@pytest.fixture
def hosts(small, tmp_path):
    """The host's network, and the file that its own `save_parameters` writes."""
    network = small.awake(HostsNet(small.classifier(space=SPACE).space))
    network.save_parameters(str(tmp_path / "weights.h5"))
    return network, str(tmp_path / "weights.h5")


@pytest.mark.parametrize("kernels", ["numpy", "nnabla"])
def test_a_classifier_computes_what_the_hosts_does_for_random_paths(small, hosts, close, kernels):
    theirs, file = hosts
    ours = small.classifier(7, space=SPACE, seed=3, pretrained=file, kernels=kernels)
    assert ours.transfer.new == ours.transfer.left_out == []
    for path in small.paths(ours, 6):
        ours.activate(path)
        theirs.apply(training=False)
        expected = theirs.call(nn.Variable.from_numpy_array(small.images()), path)
        expected.forward()
        close(small.outputs(ours)[0], expected.d)


def test_parameters_have_the_hosts_names_shapes_and_order(small, hosts):
    theirs, own = hosts[0].get_parameters(), small.classifier(7, space=SPACE).get_parameters()
    assert [(name, p.shape, p.need_grad) for name, p in own.items()] == [
        (name, p.shape, p.need_grad) for name, p in theirs.items()
    ]
    assert own["classifier/0/linear/linear/_W"].shape[1] == 7


def test_a_detector_takes_over_the_backbone(small, hosts):
    theirs, file = hosts
    network = small.net(space=SPACE, pretrained=file)
    own, given = small.values(network), small.values(theirs)
    assert [n for n in given if n not in network.transfer.loaded] == network.transfer.left_out
    for name in network.transfer.loaded:
        np.testing.assert_array_equal(np.float32(own[name]), np.float32(given[name]), err_msg=name)
    assert str(network.transfer).endswith("; new: neck, heads/heatmap, heads/size, heads/offset; left out: classifier")


def test_stages_that_are_cut_short_leave_gaps_in_the_numbers_of_blocks(small):
    network = small.net()
    alone = network.alone(network.space.smallest())
    blocks = [{name.split("/")[1] for name in n.get_parameters() if name.startswith("bl")} for n in (network, alone)]
    assert blocks == [set(map(str, range(12))), {"0", "3", "6", "9"}]
    shortcuts = {
        place for place, layer in network.steps(network.path) if layer.kind == BLOCK and layer.shortcut == IDENTITY
    }
    assert {f"blocks/{i}" for i in range(12)} - shortcuts == {f"blocks/{i}" for i in (0, 3, 6, 9)}
