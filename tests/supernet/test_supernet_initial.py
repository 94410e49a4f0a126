"""A fresh network: its weights by seed, zero-initialised scales, biases, and what it refuses to be."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.space.layers import BLOCK, HEAD, IDENTITY, NOTHING, PROJECTION, Layer
from nnabla_detofa.supernet import NETWORKS, extract
from nnabla_detofa.supernet.modules import build


def same(first, second):
    pairs = zip(first.get_parameters().values(), second.get_parameters().values(), strict=True)
    return [np.array_equal(a.d, b.d) for a, b in pairs if a.need_grad and a.d.std() > 0]


def test_one_seed_one_network_whatever_numpys_global_state(small):
    np.random.seed(0)  # noqa: NPY002 - the state that must not matter
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    first = small.net(seed=3)
    assert np.random.random() == expected  # noqa: NPY002
    assert all(same(first, small.net(seed=3)))
    assert not any(same(first, small.net(seed=4)))


def test_nothing_stays_in_nnablas_global_scope(small):
    before = list(nn.get_parameters(grad_only=False))
    network = small.net()
    extract(network, network.space.smallest())
    assert list(nn.get_parameters(grad_only=False)) == before


def test_weights_have_hes_deviation(small):
    parameters = small.net(space={"width_scale": 0.5}, neck=[64], head=64, head_deviation=0.001).get_parameters()
    middle = parameters["blocks/9/conv2/conv/conv/_W"].shape[0]
    for name, spread in {
        "blocks/9/conv2/conv/conv/_W": 2 / (middle * 9),  # by fan-out
        "heads/heatmap/hidden/conv/_W": 1 / (3 * 64 * 9),  # uniform within ±1/√fan_in
        "heads/size/hidden/conv/_W": 0.001**2,
        "neck/0/conv/_W": 0.001**2,
    }.items():
        assert parameters[name].d.std() == pytest.approx(spread**0.5, rel=0.03), name
        assert parameters[name].d.mean() == pytest.approx(0, abs=0.05 * spread**0.5), name
    free = small.net(neck=[64, 64], head=64).get_parameters()["neck/1/conv/_W"].d
    assert free.std() == pytest.approx((2 / (64 * 4)) ** 0.5, rel=0.03)  # four taps of each input channel a pixel


def test_biases_start_as_upstreams(small):
    biases = {name: p.d for name, p in small.net(neck=[8, 8, 256]).get_parameters().items() if name.endswith("/_b")}
    assert len(biases) == 6
    assert (biases.pop("heads/heatmap/output/conv/_b") == np.float32(-2.19)).all()
    hidden = biases.pop("heads/heatmap/hidden/conv/_b")
    assert 0 < np.abs(hidden).max() <= 1 / (256 * 9) ** 0.5
    assert not any(bias.any() for bias in biases.values())


@pytest.mark.parametrize("n_classes", [20, 80])
def test_fresh_heat_maps_are_as_cool_as_upstreams(n_classes):
    rng, layer = np.random.default_rng(0), Layer(HEAD, 256, 64, n_classes, 1, NOTHING, 16)
    head = build(layer, rng, prior=-2.19).apply(channel_major=True)
    neck = np.maximum(rng.standard_normal((256, 4, 16, 16), np.float32), 0)  # behind BN and ReLU: a mean square of 1/2
    logits = head(nn.Variable.from_numpy_array(neck), layer=layer)
    logits.forward()
    # uniform within ±1/√fan_in: each layer passes on a third of the mean square, and ReLU half of that
    variance = 1 / 2 / 3 / 2 / 3
    assert logits.d.std() == pytest.approx(variance**0.5, rel=0.15)
    draws = -2.19 + variance**0.5 * rng.standard_normal(100_000)
    p, found = (1 / (1 + np.exp(-x)) for x in (draws, logits.d.astype(float)))
    assert -(found**2 * np.log1p(-found)).mean() == pytest.approx(-(p**2 * np.log1p(-p)).mean(), rel=0.15)


@pytest.mark.parametrize("channel_major", [True, False], ids=["numpy", "nnabla"])
@pytest.mark.parametrize(("shortcut", "stride"), [(IDENTITY, 1), (PROJECTION, 1), (PROJECTION, 2)])
def test_a_block_with_zero_last_scale_is_its_shortcut(close, channel_major, shortcut, stride):
    rng = np.random.default_rng(0)
    layer = Layer(BLOCK, 12, 8, 12 if shortcut == IDENTITY else 20, stride, shortcut, 6)
    block = build(layer, rng, last_gamma=0.0).apply(channel_major=channel_major, training=False)
    x = nn.Variable.from_numpy_array(np.abs(rng.standard_normal((12, 12, 6, 6), np.float32)))  # after a ReLU
    y, expected = block(x, layer=layer), nn.functions.relu(block._shortcut(x, layer))
    nn.forward_all([y, expected])
    close(y.d, expected.d, 1e-6)
    if shortcut == IDENTITY:
        np.testing.assert_array_equal(y.d, x.d)


def test_zero_last_gamma_is_of_every_blocks_last_normalisation_alone(small):
    gammas = {name: p.d for name, p in small.net(zero_last_gamma=True).get_parameters().items() if "_gamma" in name}
    zero = {name for name, gamma in gammas.items() if not gamma.any()}
    assert zero == {f"blocks/{i}/conv3/bn/bn/_gamma" for i in range(12)}
    assert all((gamma == 1).all() for name, gamma in gammas.items() if name not in zero)
    assert all(p.d.any() for name, p in small.net().get_parameters().items() if "_gamma" in name)


def test_a_network_keeps_the_protocol_of_the_host(small):
    network = small.net()
    assert network.get_arch_parameters() == {}
    assert list(network.get_net_parameters()) == list(network.get_parameters())
    assert all(p.need_grad for p in network.get_net_parameters(grad_only=True).values())
    assert np.array_equal(network.path, network.space.largest())


def test_every_option_reaches_the_network_and_its_copies(small):
    network = small.net(bn_param=[0.8, 1e-4], stem_activation="relu", head=4)
    for one in (network, extract(network, network.space.smallest())):
        assert {(layer.bn._decay_rate, layer.bn._eps) for layer in one.batch_norms()} == {(0.8, 1e-4)}
        assert (one.options.stem_activation, one.options.stem_pool, one.task.head) == ("relu", False, 4)
    changed = network.alone(network.space.smallest(), head=8, kernels="nnabla")
    assert (changed.task.head, changed.options.kernels, changed.options.stem_activation) == (8, "nnabla", "relu")


def test_networks_without_a_neck_have_their_heads_on_the_backbones_map(small):
    network = small.net(neck=[])
    assert network.output_stride == 16
    assert [y.shape[2:] for y in small.outputs(network)] == [(4, 4)] * 3


# ---- what no network can be

REFUSED = {
    "a misspelt option": {"kernel": "numpy"},
    "the one that extraction uses": {"only": [0]},
    "another task's": {"drop_rate": 0.5},
    "kernels": {"kernels": "numba"},
    "an activation": {"stem_activation": "gelu"},
    "a space": {"space": {"name": "mobile"}},
    "a list of spaces": {"space": {"name": ["comp_ofa"]}},
    "a space's option": {"space": {"width": 1}},
    "coupling": {"space": {"coupled": True}},
    "a space's name alone": {"space": "comp_ofa"},
    "a number for a neck": {"neck": 8},
    "half a channel": {"neck": [8.5]},
    "no head": {"head": 0},
    "too many up-convolutions": {"neck": [4] * 6},
    "a deviation": {"head_deviation": "he"},
    "a negative deviation": {"head_deviation": -1.0},
    "no class": {"n_classes": 0},
    "a text of classes": {"n_classes": "two"},
    "half a class": {"n_classes": 1.5},
    "a file": {"pretrained": 3},
    "a seed": {"seed": -1},
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("kind", ["SearchNet", "TrainNet"])
def test_options_that_no_network_has_are_answered_with_what_is_allowed(small, case, kind):
    ((key, value),) = REFUSED[case].items()
    genotype = {"genotype": small.net().space.genotype(small.net().space.smallest())} if kind == "TrainNet" else {}
    with pytest.raises(ConfigError) as caught:
        getattr(NETWORKS["ofa_resnet50_centernet"], kind)(
            **{"n_classes": 3, "space": small.SPACE, **genotype, key: value}
        )
    assert key in f"{caught.value.key} {caught.value}" and caught.value.allowed and "\n" not in str(caught.value)


@pytest.mark.parametrize("option", [{"n_classes": 0}, {"drop_rate": 1}, {"label_smoothing": "no"}, {"neck": [8]}])
def test_a_classifiers_options_are_its_own(small, option):
    with pytest.raises(ConfigError, match=next(iter(option))):
        small.classifier(**option)


@pytest.mark.parametrize("genotype", [{}, {"genotype": {"d": [0]}}], ids=["none", "of no path"])
def test_one_path_needs_its_genotype(small, genotype):
    with pytest.raises(ConfigError, match="genotype|form"):
        small.net(kind="TrainNet", **genotype)


def test_both_spaces_are_built_by_name(small):
    network = small.net(space={"name": "comp_ofa"})
    assert network.space.size() < small.net().space.size()
    network.activate(path := network.space.sample(1, np.random.default_rng(0))[0])
    assert extract(network, path).task == network.task
