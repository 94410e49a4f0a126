"""OFA-MobileNetV3's own: kernel transforms, what moves in training, the host's weights, and costs of its graphs."""

from importlib import import_module

import h5py
import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.host import Mo  # repairs the host, so that what follows can be imported
from nnabla_detofa.supernet import extract, save_weights, sort_channels

host = import_module("nnabla_nas.contrib.common.ofa.elastic_nn.modules.dynamic_layers")
plain = import_module("nnabla_nas.contrib.common.ofa.layers")

SPACE = {"width_scale": 0.5, "channel_divisor": 8, "depths": [1, 2]}  # 8 divides its channels, as the host's
KERNELS = pytest.mark.parametrize("kernels", ["numpy", "nnabla"])


class HostsNet(Mo.Module):
    """The host's OFA-MobileNetV3 in a small space: its layers, in its places, and how it chooses a path."""

    def __init__(self, space):
        super().__init__()
        self._space, (stem, *stages) = space, space.family.widths
        act, squeezed = ["relu", "relu", "h_swish", "h_swish", "h_swish"], [False, True, False, True, True]
        self.first_conv = plain.ConvLayer(3, stem, kernel=(3, 3), stride=(2, 2), act_func="h_swish")
        first = plain.MBConvLayer(stem, stem, kernel=(3, 3), stride=(1, 1), expand_ratio=1, act_func="relu")
        blocks, n_in = [plain.ResidualBlock(first, Mo.Identity())], stem
        for stage, (n_out, stride) in enumerate(zip(stages, (2, 2, 2, 1, 2), strict=True)):
            for block in range(2):
                layer = host.DynamicMBConvLayer(
                    *([n_in], [n_out], [3, 5, 7], [3, 4, 6], (1, 1) if block else (stride, stride)),
                    act_func=act[stage],
                    use_se=squeezed[stage],
                )
                blocks.append(plain.ResidualBlock(layer, Mo.Identity() if block else None))
                n_in = n_out
        self.blocks = Mo.ModuleList(blocks)
        wide, mixed = (int(c * space.family.options.width_scale) for c in (960, 1280))
        self.final_expand_layer = plain.ConvLayer(n_in, wide, kernel=(1, 1), act_func="h_swish")
        self.feature_mix_layer = plain.ConvLayer(wide, mixed, kernel=(1, 1), use_bn=False, act_func="h_swish")
        self.classifier = plain.LinearLayer(mixed, 7, drop_rate=0.1)
        for _, module in self.get_modules():
            module.use_static_bn = False

    def call(self, x, path):
        """Logits of a path."""
        given = self._space.genotype(path)
        x = self.blocks[0](self.first_conv(x))
        for stage, depth in enumerate(given["d"]):
            for i in range(2 * stage, 2 * stage + depth):
                self.blocks[1 + i].conv.active_kernel_size = given["ks"][i]
                self.blocks[1 + i].conv.active_expand_ratio = given["e"][i]
                x = self.blocks[1 + i](x)
        x = nn.functions.mean(self.final_expand_layer(x), axis=(2, 3), keepdims=True)
        x = self.feature_mix_layer(x)
        return self.classifier(nn.functions.reshape(x, (x.shape[0], -1)))


@pytest.fixture
def hosts(mobile, tmp_path):
    """The host's network, and the file that its own `save_parameters` writes."""
    network = mobile.awake(HostsNet(mobile.classifier(space=SPACE).space))
    network.save_parameters(str(tmp_path / "weights.h5"))
    return network, str(tmp_path / "weights.h5")


@KERNELS
def test_a_classifier_computes_what_the_hosts_does_for_random_paths(mobile, hosts, close, kernels):
    theirs, file = hosts
    ours = mobile.classifier(7, space=SPACE, seed=3, pretrained=file, kernels=kernels)
    assert ours.transfer.new == ours.transfer.left_out == []
    for path in mobile.paths(ours, 8):
        ours.activate(path)
        theirs.apply(training=False)
        expected = theirs.call(nn.Variable.from_numpy_array(mobile.images()), path)
        expected.forward()
        close(mobile.outputs(ours)[0], expected.d, 5e-5)


def test_parameters_have_the_hosts_names_and_shapes(mobile, hosts):
    theirs, own = hosts[0].get_parameters(), mobile.classifier(7, space=SPACE).get_parameters()
    assert {name: (p.shape, p.need_grad) for name, p in own.items()} == {
        name: (p.shape, p.need_grad) for name, p in theirs.items()
    }


def test_a_detector_takes_over_the_backbone(mobile, hosts):
    network = mobile.net(space=SPACE, pretrained=hosts[1])
    own, given = mobile.values(network), mobile.values(hosts[0])
    for name in network.transfer.loaded:
        np.testing.assert_array_equal(np.float32(own[name]), np.float32(given[name]), err_msg=name)
    said = "neck, heads/heatmap, heads/size, heads/offset; left out: final_expand_layer, feature_mix_layer, classifier"
    assert str(network.transfer).endswith(f"; new: {said}")


def test_a_smaller_window_is_the_middle_times_the_matrices(mobile):
    network = mobile.awake(mobile.net())
    values, name = mobile.values(network), "blocks/3/conv/depth_conv/conv"
    whole = values[f"{name}/conv/_W"]
    for kernel, wanted in ((0, None), (1, None), (2, whole)):
        path = network.space.smallest()
        path[5] = path[9] = kernel  # of the first two stages' first blocks, the second of which is block 3
        if kernel < 2:
            five = (whole[:, :, 1:6, 1:6].reshape(-1, 25) @ values[f"{name}/7to5_matrix"]).reshape(-1, 1, 5, 5)
            three = (five[:, :, 1:4, 1:4].reshape(-1, 9) @ values[f"{name}/5to3_matrix"]).reshape(-1, 1, 3, 3)
            wanted = (three, five)[kernel]
        own = extract(network, path).get_parameters()
        found = own[f"{name}/conv/_W"].d
        np.testing.assert_allclose(found, wanted[: len(found)], rtol=1e-5, atol=1e-6)
        assert not any(one.endswith("_matrix") for one in own)


@KERNELS
def test_only_what_the_path_uses_has_a_gradient(mobile, kernels):
    network = mobile.awake(mobile.net(kernels=kernels))
    network.activate(path := mobile.paths(network, 3)[2])
    network.apply(training=True)
    parameters = network.get_parameters(grad_only=True)
    for parameter in parameters.values():
        parameter.grad.zero()
    loss = sum(nn.functions.mean(y**2) for y in network(nn.Variable.from_numpy_array(mobile.images())))
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    own, layers = extract(network, path).get_parameters(), dict(network.steps(path))
    for name, parameter in parameters.items():
        if name.endswith("_matrix"):
            place, side = "/".join(name.split("/")[:2]), int(name.rpartition("to")[2].removesuffix("_matrix"))
            assert parameter.g.any() == (place in layers and layers[place].kernel <= side), name
            continue
        used = tuple(slice(n) for n in own[name].shape[:2]) if name in own else (slice(0),)
        rest = np.ones(parameter.shape, bool)
        rest[used] = False
        assert not parameter.g[rest].any() and parameter.g[used].any() == (name in own), name


def test_channels_are_sorted_and_paths_of_the_phase_before_compute_what_they_did(mobile):
    network = mobile.awake(mobile.classifier(space=SPACE))
    space = network.space
    before, after = space.only(expands=[6]), space.only(expands=[4, 6])
    rng = np.random.default_rng(1)
    old, new = [space.largest(), *before.sample(3, rng)], after.sample(2, rng)

    def outputs(path):
        network.activate(path)
        return mobile.outputs(network)[0]

    expected, others = ([outputs(path) for path in paths] for paths in (old, new))
    assert sort_channels(network, before=before, after=after) == 10 + 6  # of 3 stages of 2 blocks the squeezes too
    for path, answer in zip(old, expected, strict=True):
        np.testing.assert_allclose(outputs(path), answer, rtol=1e-3, atol=1e-4 * np.abs(answer).max())
    assert all(
        np.abs(outputs(path) - answer).max() > 1e-3 * answer.std() for path, answer in zip(new, others, strict=True)
    )
    assert sort_channels(network, before=space.only(kernels=[7]), after=space) == 0


def test_a_network_that_holds_one_path_begins_from_a_supernets_file(mobile, tmp_path):
    supernet = mobile.awake(mobile.classifier(7))
    save_weights(supernet, tmp_path / "weights.h5")
    path = mobile.paths(supernet, 3)[2]
    given = {"genotype": supernet.space.genotype(path), "pretrained": str(tmp_path / "weights.h5")}
    detector = mobile.net(kind="TrainNet", **given)
    assert {name.split("/")[0] for name in detector.transfer.new} == {"neck", "heads"}
    cut = mobile.values(extract(supernet, path))
    for name in detector.transfer.loaded:
        np.testing.assert_array_equal(mobile.values(detector)[name], cut[name])


def test_the_last_scale_of_blocks_that_add_their_input_alone_begins_at_zero(mobile):
    network = mobile.net(zero_last_gamma=True)
    zero = {n.split("/")[1] for n, p in network.get_parameters().items() if n.endswith("_gamma") and not p.d.any()}
    assert zero == {"0", "2", "4", "6", "8", "10"}


def test_there_is_no_activation_of_the_stem_to_choose(mobile, tmp_path):
    with pytest.raises(ConfigError, match="stem_activation is 'relu'; it must be left out"):
        mobile.net(stem_activation="relu")
    save_weights(mobile.net(), tmp_path / "weights.h5")
    with h5py.File(tmp_path / "weights.h5") as stored:
        assert "stem_activation" not in stored.attrs
