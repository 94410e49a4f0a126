"""OFA-Xception's own: blocks of elastic depth, the host's weights, and channels that are sorted."""

from importlib import import_module
from itertools import pairwise

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.host import Mo  # repairs the host, so that what follows can be imported
from nnabla_detofa.supernet import extract, save_weights, sort_channels

host = import_module("nnabla_nas.contrib.common.ofa.elastic_nn.modules.dynamic_layers")
plain = import_module("nnabla_nas.contrib.common.ofa.layers")

SPACE = {"width_scale": 0.125, "channel_divisor": 8, "middle_blocks": 2}  # 8 divides its channels, as the host's
KERNELS = pytest.mark.parametrize("kernels", ["numpy", "nnabla"])


class HostsNet(Mo.Module):
    """The host's OFA-Xception in a small space: its layers, in its places, and how it chooses a path."""

    def __init__(self, space):
        super().__init__()
        self._space, (first, *entry), (exit_, *wide) = space, space.family.entry, space.family.exit
        self.first_conv = plain.ConvLayer(3, first, kernel=(3, 3), stride=(2, 2), act_func="relu")
        self.second_conv = plain.ConvLayer(first, entry[0], kernel=(3, 3), stride=(1, 1), act_func="relu")
        pairs = enumerate(pairwise(entry))
        self.entryblocks = Mo.ModuleList(
            [plain.XceptionBlock(*pair, 2, stride=(2, 2), start_with_relu=number > 0) for number, pair in pairs]
        )
        lists = [entry[-1]], [entry[-1]], [3, 5, 7], [0.6, 0.8, 1.0]
        self.middleblocks = Mo.ModuleList([host.DynamicMiddleFlowXPBlock(*lists) for _ in range(2)])
        self.exitblocks = Mo.ModuleList(
            [plain.XceptionBlock(entry[-1], exit_, 2, stride=(2, 2), grow_first=False)],
        )
        pointwise = {"kernel": (3, 3), "pad": (1, 1), "act_fn": "relu"}
        self.expand_block1 = plain.DWSeparableConv(exit_, wide[0], **pointwise)
        self.expand_block2 = plain.DWSeparableConv(*wide, **pointwise)
        self.classifier = plain.LinearLayer(wide[1], 7, drop_rate=0.1)
        for _, module in self.get_modules():
            module.use_static_bn = False

    def call(self, x, path):
        """Logits of a path."""
        given = self._space.genotype(path)
        x = self.second_conv(self.first_conv(x))
        for block in self.entryblocks:
            x = block(x)
        for block, *chosen in zip(self.middleblocks, given["ks"], given["e"], given["d"], strict=True):
            block.active_kernel_size, block.active_expand_ratio, block.runtime_depth = chosen
            x = block(x)
        x = self.expand_block2(self.expand_block1(self.exitblocks[0](x)))
        x = nn.functions.mean(x, axis=(2, 3))
        return self.classifier(x)


@pytest.fixture
def hosts(flow, tmp_path):
    """The host's network, and the file that its own `save_parameters` writes."""
    network = flow.awake(HostsNet(flow.classifier(space=SPACE).space))
    network.save_parameters(str(tmp_path / "weights.h5"))
    return network, str(tmp_path / "weights.h5")


@KERNELS
def test_a_classifier_computes_what_the_hosts_does_for_random_paths(flow, hosts, close, kernels):
    theirs, file = hosts
    ours = flow.classifier(7, space=SPACE, seed=3, pretrained=file, kernels=kernels)
    assert ours.transfer.new == ours.transfer.left_out == []
    for path in flow.paths(ours, 8):
        ours.activate(path)
        theirs.apply(training=False)
        expected = theirs.call(nn.Variable.from_numpy_array(flow.images()), path)
        expected.forward()
        close(flow.outputs(ours)[0], expected.d, 5e-5)


def test_parameters_have_the_hosts_names_and_shapes(flow, hosts):
    theirs, own = hosts[0].get_parameters(), flow.classifier(7, space=SPACE).get_parameters()
    assert {name: (p.shape, p.need_grad) for name, p in own.items()} == {
        name: (p.shape, p.need_grad) for name, p in theirs.items()
    }


def test_a_detector_takes_over_the_backbone(flow, hosts):
    network = flow.net(space=SPACE, pretrained=hosts[1])
    own, given = flow.values(network), flow.values(hosts[0])
    for name in network.transfer.loaded:
        np.testing.assert_array_equal(np.float32(own[name]), np.float32(given[name]), err_msg=name)
    said = "; new: neck, heads/heatmap, heads/size, heads/offset; left out: classifier"
    assert str(network.transfer).endswith(said)


def test_a_network_that_holds_one_path_begins_from_a_supernets_file(flow, tmp_path):
    supernet = flow.awake(flow.classifier(7))
    save_weights(supernet, tmp_path / "weights.h5")
    path = flow.paths(supernet, 3)[2]
    given = {"genotype": supernet.space.genotype(path), "pretrained": str(tmp_path / "weights.h5")}
    detector = flow.net(kind="TrainNet", **given)
    assert {name.split("/")[0] for name in detector.transfer.new} == {"neck", "heads"}
    cut = flow.values(extract(supernet, path))
    for name in detector.transfer.loaded:
        np.testing.assert_array_equal(flow.values(detector)[name], cut[name])


def test_a_path_has_as_many_convolutions_as_it_is_deep(flow):
    network = flow.net()
    for genotype in ({"ks": [3, 7], "e": [0.6, 0.8], "d": [1, 3]}, {"ks": [5, 5], "e": [1.0, 0.6], "d": [2, 1]}):
        own = extract(network, network.space.from_genotype(genotype)).get_parameters()
        for block, depth in enumerate(genotype["d"]):
            there = [f"middleblocks/{block}/_depth_conv{n}/dwconv/conv/_W" in own for n in (1, 2, 3)]
            assert there == [True, depth > 1, depth > 2]


@KERNELS
def test_only_what_the_path_uses_has_a_gradient(flow, kernels):
    network = flow.awake(flow.net(kernels=kernels))
    network.activate(path := network.space.from_genotype({"ks": [3, 5], "e": [0.6, 0.8], "d": [1, 3]}))
    network.apply(training=True)
    parameters = network.get_parameters(grad_only=True)
    for parameter in parameters.values():
        parameter.grad.zero()
    loss = sum(nn.functions.mean(y**2) for y in network(nn.Variable.from_numpy_array(flow.images())))
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    own = extract(network, path).get_parameters()
    for name, parameter in parameters.items():
        if name.endswith("_matrix"):
            beside, _, step = name.rpartition("/")
            used = f"{beside}/conv/_W" in own and (step == "7to5_matrix" or "middleblocks/0/" in name)
            assert parameter.g.any() == used, name
            continue
        there = tuple(slice(n) for n in own[name].shape[:2]) if name in own else (slice(0),)
        rest = np.ones(parameter.shape, bool)
        rest[there] = False
        assert not parameter.g[rest].any() and parameter.g[there].any() == (name in own), name


@pytest.mark.parametrize(
    ("before", "after", "n_sorted"),
    [
        ({"depths": [3], "expands": [1.0]}, {"depths": [3]}, 2 + 2),  # behind the first and the second convolutions
        ({"depths": [2, 3], "expands": [1.0]}, {"depths": [2, 3]}, 2),  # the second's is added to the input
        ({"expands": [1.0]}, {}, 0),
        ({"depths": [3]}, {}, 2 + 2),  # the last moment for these
        ({"kernels": [7]}, {}, 0),
    ],
    ids=str,
)
def test_channels_are_sorted_and_paths_of_the_phase_before_compute_what_they_did(flow, before, after, n_sorted):
    network = flow.awake(flow.classifier(space=SPACE))
    before, after = (network.space.only(**choices) for choices in (before, after))
    rng = np.random.default_rng(1)
    old, new = [network.space.largest(), *before.sample(3, rng)], after.sample(3, rng)

    def outputs(path):
        network.activate(path)
        return flow.outputs(network)[0]

    expected, others = ([outputs(path) for path in paths] for paths in (old, new))
    assert sort_channels(network, before=before, after=after) == n_sorted
    for path, answer in zip(old, expected, strict=True):
        np.testing.assert_allclose(outputs(path), answer, rtol=1e-3, atol=1e-4 * np.abs(answer).max())
    changed = [
        np.abs(outputs(path) - answer).max() > 1e-3 * answer.std() for path, answer in zip(new, others, strict=True)
    ]
    assert any(changed) == (n_sorted > 0)


def test_the_last_scale_of_blocks_that_add_their_input_alone_begins_at_zero(flow):
    network = flow.net(zero_last_gamma=True)
    zero = {name for name, p in network.get_parameters().items() if name.endswith("_gamma") and not p.d.any()}
    assert zero == {f"middleblocks/{block}/_point_linear3/bn/bn/_gamma" for block in range(2)}
