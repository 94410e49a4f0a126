"""What a path computes: the same with both kernels, and the same when it is a network of its own."""

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, SpaceError
from nnabla_detofa.supernet import Supernet, extract, save_weights

KERNELS = pytest.mark.parametrize("kernels", ["numpy", "nnabla"])


def gradients(network, images, *, training, passes=1):
    """Gradients of a random linear function of the active path's outputs, of every parameter and of the images."""
    network.apply(training=training)
    for parameter in network.get_parameters(grad_only=True).values():
        parameter.grad.zero()
    x = nn.Variable.from_numpy_array(images, need_grad=True)
    x.grad.zero()
    maps, rng = network(x), np.random.default_rng(0)
    directions = [nn.Variable.from_numpy_array(rng.standard_normal(y.shape)) for y in maps]
    total = sum(F.sum(y * direction) for y, direction in zip(maps, directions, strict=True))
    for _ in range(passes):
        total.forward(clear_no_need_grad=True)
        total.backward(clear_buffer=True)
        network.flush_statistics()
    return {"images": x.g.copy()} | {name: p.g.copy() for name, p in network.get_parameters(grad_only=True).items()}


def distance(ours, theirs):
    """Norm of the difference over the norm, of all arrays together."""
    a, b = (np.concatenate([x.ravel() for x in arrays.values()]) for arrays in (ours, theirs))
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def pairs(each, n, **options):
    """The same supernet with both kernels, for each of n paths."""
    both = [each.awake(each.net(kernels=kernels, **options)) for kernels in ("numpy", "nnabla")]
    for path in each.paths(both[0], n):
        for network in both:
            network.activate(path)
        yield both


# ---- kernels


@pytest.mark.parametrize("options", [{}, {"stem_pool": True}, {"stem_activation": "relu"}], ids=str)
@pytest.mark.parametrize("side", [64, (32, 96)])
def test_both_kernels_compute_the_same(each, close, options, side):
    if "stem_activation" in options and each.net().stem_activation is None:
        pytest.skip("its stem has no activation to choose")
    for both in pairs(each, 5, **options):
        for ours, theirs in zip(*(each.outputs(one, each.images(side=side)) for one in both), strict=True):
            close(ours, theirs)


@pytest.mark.parametrize("side", [64, (32, 96)])
def test_both_kernels_have_the_same_gradients(each, side):
    """Float noise may decide the sign of a value near zero, and so whether a single ReLU passes its gradient."""
    for both in pairs(each, 5):
        ours, theirs = (gradients(network, each.images(side=side), training=False) for network in both)
        assert list(ours) == list(theirs)
        assert max(distance({0: ours[name]}, {0: theirs[name]}) for name in ours if theirs[name].any()) < 0.02
        assert all(not ours[name].any() for name in ours if not theirs[name].any())


def test_both_kernels_train_the_same(each, close):
    """Gradients accumulated over two passes, and running statistics that moved twice."""
    for both in pairs(each, 4):
        ours, theirs = (gradients(network, each.images(3), training=True, passes=2) for network in both)
        assert distance(ours, theirs) < 0.1
        ours, theirs = map(each.values, both)
        for name in ours:
            close(ours[name], theirs[name], 2e-4)


def test_auto_takes_the_cpu_kernels_on_a_cpu(small):
    kinds = {}
    for kernels in ("auto", "numpy", "nnabla"):
        names = kinds[kernels] = set()
        small.net(kernels=kernels)(nn.Variable((1, 3, 64, 64)))[0].visit(lambda f, names=names: names.add(f.name))
    assert kinds["auto"] == kinds["numpy"]
    assert "Deconvolution" in kinds["nnabla"]


# ---- what a training pass touches


@KERNELS
def test_only_what_the_path_uses_has_a_gradient_and_moves(small, kernels):
    network = small.awake(small.net(kernels=kernels))
    network.activate(path := small.paths(network, 3)[2])
    before = small.values(network)
    moved = gradients(network, small.images(), training=True)
    after, own = small.values(network), extract(network, path).get_parameters()
    for name, value in after.items():
        used = tuple(slice(n) for n in own[name].shape) if name in own else (slice(0),)
        rest = np.ones(value.shape, bool)
        rest[used] = False
        np.testing.assert_array_equal(value[rest], before[name][rest])
        if name.endswith(("_mean", "_var")):
            assert (value[used] != before[name][used]).all()
        else:
            np.testing.assert_array_equal(value, before[name])
            assert not moved[name][rest].any()
            assert moved[name][used].any() == bool(moved[name][used].size)


@KERNELS
def test_running_statistics_follow_the_decay_and_lose_no_pass(small, close, kernels):
    network = small.awake(small.net(kernels=kernels))
    network.apply(training=True)
    bn = network.input_stem.modules["0"].bn.bn
    mean, variance = (p.d[0, :, 0, 0].astype(np.float64) for p in (bn._mean, bn._var))
    for seed, path in enumerate(small.paths(network, 4)):
        network.activate(path)
        x = nn.Variable.from_numpy_array(small.images(seed=seed))
        nn.forward_all(list(network(x)), clear_buffer=True)
        network.flush_statistics()
        n = network.steps(path)[0][1].n_middle
        x = small.first_map(network, x)[:n]
        mean[:n] = 0.9 * mean[:n] + 0.1 * x.mean(1)
        variance[:n] = 0.9 * variance[:n] + 0.1 * x.var(1, ddof=1)
        close(bn._mean.d[0, :, 0, 0], mean)
        close(bn._var.d[0, :, 0, 0], variance, 1e-4)


@KERNELS
def test_statistics_of_an_older_graph_do_not_come_back(each, kernels):
    """Another path's flush must not undo what was loaded into the layers that it does not use."""
    network = each.awake(each.net(kernels=kernels))
    smallest, largest = each.paths(network, 2)
    network.activate(largest)
    gradients(network, each.images(), training=True)
    own = extract(network, smallest).get_parameters()
    last = [p for name, p in network.get_parameters().items() if name.endswith("/_mean") and name not in own]
    assert last
    for parameter in last:
        parameter.d = np.full(parameter.shape, 0.5, np.float32)
    network.activate(smallest)
    gradients(network, each.images(), training=True)
    assert all((parameter.d == 0.5).all() for parameter in last)


# ---- extraction


@KERNELS
def test_an_extracted_network_computes_its_path_and_is_a_train_net_by_name(each, close, tmp_path, kernels):
    network = each.awake(each.net(kernels=kernels))
    for path in each.paths(network, 6):
        network.activate(path)
        alone = extract(network, path)
        for ours, theirs in zip(each.outputs(alone), each.outputs(network), strict=True):
            close(ours, theirs, 5e-5)  # smaller windows are sums
        save_weights(alone, tmp_path / "alone.h5")
        options = {"genotype": network.space.genotype(path), "kernels": kernels}
        loaded = each.net(kind="TrainNet", pretrained=str(tmp_path / "alone.h5"), **options)
        assert loaded.transfer.new == loaded.transfer.left_out == []
        for ours, theirs in zip(each.outputs(loaded), each.outputs(alone), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_an_extracted_network_holds_its_path_alone_and_shares_nothing(small):
    network = small.awake(small.net())
    smallest, largest = small.paths(network, 2)
    names, before = list(network.get_parameters()), small.values(network)
    assert list(extract(network, largest).get_parameters()) == names
    once = extract(network, smallest)
    left_out = {name.split("/")[1] for name in names if name not in once.get_parameters()}
    assert left_out == {"1", "2", "4", "5", "7", "8", "10", "11"}  # the stem's residual too, which is "1"
    twice = small.values(extract(once, smallest))
    assert all(np.array_equal(value, twice[name]) for name, value in small.values(once).items())
    for parameter in once.get_parameters().values():
        parameter.d = 0
    after = small.values(network)
    assert all(np.array_equal(before[name], after[name]) for name in before)


# ---- what no network computes


def test_a_path_of_no_or_another_space_is_named(small):
    network = small.net()
    path = network.space.largest()
    path[3] = 9
    alone = small.net().alone(network.space.smallest())
    for use in (network.activate, lambda path: extract(network, path)):
        with pytest.raises(ConfigError, match="path .1, 2, 2, 9, .* is not in"):
            use(path)
    for use in (alone.activate, lambda path: extract(alone, path)):
        use(alone.path)
        with pytest.raises(ConfigError, match="path .1, 2, .* is not the one"):
            use(network.space.largest())
    with pytest.raises(SpaceError, match=r"shape"):
        network.activate([0, 0, 0, 0])
    with pytest.raises(ConfigError, match="is not in"):
        Supernet(network.space, network.task, only=path, rng=np.random.default_rng(0))
