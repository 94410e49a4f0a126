"""A fresh network: its weights by seed, zero-initialised scales, biases, and what it refuses to be."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.supernet import CenterNet, SearchNet, TrainNet, extract
from nnabla_detofa.supernet.detector import Head
from nnabla_detofa.supernet.elastic import Bottleneck


def same(first, second):
    pairs = zip(first.get_parameters().values(), second.get_parameters().values(), strict=True)
    return [np.array_equal(a.d, b.d) for a, b in pairs if a.need_grad and a.d.std() > 0]


def test_one_seed_one_network(small):
    assert all(same(small.net(seed=3), small.net(seed=3)))
    assert not any(same(small.net(seed=3), small.net(seed=4)))


def test_initial_weights_neither_read_nor_move_numpys_global_state(small):
    np.random.seed(0)  # noqa: NPY002 - the state that must not matter
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    first = small.net(seed=1)
    assert np.random.random() == expected  # noqa: NPY002
    assert all(same(first, small.net(seed=1)))


def test_nothing_stays_in_nnablas_global_scope(small):
    before = list(nn.get_parameters(grad_only=False))
    network = small.net()
    extract(network, network.space.smallest())
    assert list(nn.get_parameters(grad_only=False)) == before


def test_weights_have_hes_deviation(small):
    network = SearchNet(3, space={"width_scale": 0.5, "base_depths": [1, 1, 1, 1]}, neck=[64], head=64)
    parameters = network.get_parameters()
    for name, spread in {
        "blocks/9/conv2/conv/conv/_W": 2 / (360 * 9),  # by fan-out
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
    assert hidden.any()
    assert np.abs(hidden).max() <= 1 / (256 * 9) ** 0.5
    assert not any(bias.any() for bias in biases.values())


@pytest.mark.parametrize("n_classes", [20, 80])
def test_fresh_heat_maps_are_as_cool_as_upstreams(n_classes):
    rng = np.random.default_rng(0)
    head = Head(256, 64, n_classes, rng, prior=-2.19)
    head.apply(channel_major=True)
    neck = np.maximum(rng.standard_normal((256, 4, 16, 16), np.float32), 0)  # behind BN and ReLU: a mean square of 1/2
    logits = head(nn.Variable.from_numpy_array(neck))
    logits.forward()
    # uniform within ±1/√fan_in: each layer passes on a third of the mean square, and ReLU half of that
    variance = 1 / 2 / 3 / 2 / 3
    assert logits.d.std() == pytest.approx(variance**0.5, rel=0.15)
    draws = -2.19 + variance**0.5 * rng.standard_normal(100_000)
    p, found = (1 / (1 + np.exp(-x)) for x in (draws, logits.d.astype(float)))
    assert -(found**2 * np.log1p(-found)).mean() == pytest.approx(-(p**2 * np.log1p(-p)).mean(), rel=0.15)


@pytest.mark.parametrize("channel_major", [True, False], ids=["numpy", "nnabla"])
@pytest.mark.parametrize(("projection", "stride"), [(False, 1), (True, 1), (True, 2)])
def test_a_block_with_zero_last_scale_is_its_shortcut(close, channel_major, projection, stride):
    rng = np.random.default_rng(0)
    n_out = 20 if projection else 12
    block = Bottleneck(12, 8, n_out, stride, rng, projection=projection, last_gamma=0.0)
    block.apply(channel_major=channel_major, training=False)
    x = nn.Variable.from_numpy_array(np.abs(rng.standard_normal((12, 12, 6, 6), np.float32)))  # after a ReLU
    y = block(x, n_middle=8, n_out=n_out)
    shortcut = nn.functions.relu(block._shortcut(x, n_out))
    nn.forward_all([y, shortcut])
    close(y.d, shortcut.d, 1e-6)
    if not projection:
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


# ---- what no network can be

REFUSED = {
    "a misspelt option": ({"kernel": "numpy"}, "unknown option of the network: 'kernel'; known: head.*did you mean"),
    "the one that extraction uses": ({"only": [0]}, "unknown option of the network: 'only'; known: head"),
    "kernels": ({"kernels": "numba"}, "unknown kernels 'numba'; known: auto, nnabla, numpy"),
    "an activation": ({"stem_activation": "gelu"}, "unknown stem_activation 'gelu'; known: relu, relu6"),
    "a space": ({"space": {"name": "mobile"}}, "unknown search space 'mobile'; known: comp_ofa, ofa_resnet50"),
    "a space's option": ({"space": {"width": 1}}, "unknown space option 'width'; known: .*did you mean 'widths'"),
    "coupling": ({"space": {"coupled": True}}, "unknown space option 'coupled'; known: "),
    "a space's name alone": ({"space": "comp_ofa"}, "space is 'comp_ofa'; it must hold a name and options"),
    "no neck": ({"neck": []}, r"neck \[\] and head 64; each must be a whole number of at least 1"),
    "a number for a neck": ({"neck": 8}, "neck 8 and head 64; .* neck a list"),
    "half a channel": ({"neck": [8.5]}, r"neck \[8.5\] and head 64; each must be a whole number"),
    "no head": ({"head": 0}, "and head 0; each must be a whole number of at least 1"),
    "too many up-convolutions": ({"neck": [4] * 6, "head": 4}, "so many up-convolutions make maps larger than"),
    "a deviation": ({"head_deviation": "he"}, "head_deviation is 'he'; it must be a number of at least 0, or null"),
    "a negative deviation": ({"head_deviation": -1.0}, "head_deviation is -1.0; it must be a number of at least 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_options_that_no_network_has_are_answered_with_what_is_allowed(small, case):
    options, message = REFUSED[case]
    options = {"space": small.SPACE, **options}
    genotype = small.net().space.genotype(small.net().space.smallest())
    for build in (lambda: SearchNet(3, **options), lambda: TrainNet(3, genotype=genotype, **options)):
        with pytest.raises(ConfigError, match=message) as caught:
            build()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n_classes", [0, "two", 1.5])
def test_the_number_of_classes_is_whole_and_positive(n_classes):
    with pytest.raises(ConfigError, match=f"n_classes is {n_classes!r}, .* must be a whole number of at least 1"):
        SearchNet(n_classes)


def test_a_genotype_of_no_path_is_refused(small):
    with pytest.raises(ConfigError, match="is not of the form {d: 5 depths, e: 12 expands, w: 6 indices}"):
        TrainNet(3, genotype={"d": [0]}, space=small.SPACE)


def test_both_spaces_are_built_by_name(small):
    network = SearchNet(3, space={"name": "comp_ofa", **small.SPACE}, **small.OPTIONS)
    assert network.space.structure.coupled
    path = network.space.sample(1, np.random.default_rng(0))[0]
    network.activate(path)
    assert isinstance(extract(network, path), CenterNet)
