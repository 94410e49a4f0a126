"""Stem and blocks are the host's own elastic layers: names, shapes and what they compute."""

from importlib import import_module

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.host import Mo  # repairs the host, so that what follows can be imported
from nnabla_detofa.space import SearchSpace, make_divisible
from nnabla_detofa.supernet.architecture import layers
from nnabla_detofa.supernet.backbone import StemResidual
from nnabla_detofa.supernet.elastic import RELU6, Bottleneck, ConvNorm
from nnabla_detofa.supernet.kernels import Window

host = import_module("nnabla_nas.contrib.common.ofa.elastic_nn.modules.dynamic_layers")
residual = import_module("nnabla_nas.contrib.common.ofa.layers").ResidualBlock

PAPER = SearchSpace.ofa_resnet50()
LARGEST = layers(PAPER, PAPER.largest())
EXPANDS = list(PAPER.structure.expands)


def shapes(module):
    return {name: (p.shape, p.need_grad) for name, p in module.get_parameters().items()}


@pytest.mark.parametrize("first", [True, False], ids=["the stem's first half", "its second half"])
def test_stem_convolutions_are_the_hosts(first):
    n_in, n_out = (3, LARGEST.stem_mid) if first else (LARGEST.stem_mid, LARGEST.stem_out)
    ours = ConvNorm(n_in, n_out, Window(3, 2 if first else 1, 1), np.random.default_rng(0), ceiling=RELU6)
    theirs = host.DynamicConvLayer([n_in], [n_out], stride=(2, 2) if first else (1, 1))
    assert shapes(ours) == shapes(theirs)


def test_the_stems_residual_block_is_the_hosts():
    n = LARGEST.stem_mid
    theirs = residual(host.DynamicConvLayer([n], [n]), Mo.Identity())
    assert shapes(StemResidual(n, np.random.default_rng(0), RELU6)) == shapes(theirs)


@pytest.mark.parametrize("index", [0, 1, 4])
def test_blocks_of_the_papers_space_are_the_hosts(index):
    layer = LARGEST.blocks[index]
    options = {"projection": layer.projection, "last_gamma": 1.0}
    ours = Bottleneck(layer.n_in, layer.n_middle, layer.n_out, layer.stride, np.random.default_rng(0), **options)
    theirs = host.DynamicBottleneckResidualBlock([layer.n_in], [layer.n_out], EXPANDS, stride=(layer.stride,) * 2)
    assert shapes(ours) == shapes(theirs)
    assert ("downsample/conv/conv/_W" in shapes(ours)) == (layer.n_in != layer.n_out)


def test_the_whole_networks_names_are_the_hosts(small):
    """As in `OFAResNet50` of the host: `input_stem/<i>`, `blocks/<i>`, where stages that are cut short leave gaps."""
    network = small.net()
    modules = {tuple(name.split("/")[:2]) for name in network.get_parameters()}
    assert {place for place in modules if place[0] == "input_stem"} == {("input_stem", str(i)) for i in range(3)}
    assert {place for place in modules if place[0] == "blocks"} == {("blocks", str(i)) for i in range(12)}
    assert "input_stem/1/conv/conv/conv/_W" in network.get_parameters()


@pytest.mark.parametrize("channel_major", [True, False], ids=["numpy", "nnabla"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_with_the_hosts_weights_computes_what_the_hosts_does(close, channel_major, stride):
    rng = np.random.default_rng(0)
    ours = Bottleneck(24, make_divisible(round(40 * 0.35)), 40, stride, rng, projection=True, last_gamma=1.0)
    theirs = host.DynamicBottleneckResidualBlock([16, 24], [24, 40], EXPANDS, stride=(stride, stride))
    for name, parameter in theirs.get_parameters().items():
        values = rng.uniform(0.5, 1, parameter.shape) if "_var" in name else rng.standard_normal(parameter.shape)
        parameter.d = ours.get_parameters()[name].d = values
    for _, module in theirs.get_modules():
        module.use_static_bn = False
    ours.apply(channel_major=channel_major)
    for module in (ours, theirs):
        module.apply(training=False)
    x = nn.Variable.from_numpy_array(rng.standard_normal((2, 16, 8, 8)))
    for n_out in (24, 40):
        for expand in EXPANDS:
            theirs.active_out_channel, theirs.active_expand_ratio = n_out, expand
            own = nn.functions.transpose(x, (1, 0, 2, 3)) if channel_major else x
            y, expected = ours(own, n_middle=make_divisible(round(n_out * expand)), n_out=n_out), theirs(x)
            nn.forward_all([y, expected])
            close(np.swapaxes(y.d, 0, 1) if channel_major else y.d, expected.d)
