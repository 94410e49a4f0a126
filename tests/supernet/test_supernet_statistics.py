"""BN re-estimation: statistics of exactly the images given, of the active path alone."""

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.supernet import reestimate
from nnabla_detofa.supernet.elastic import ElasticBatchNorm
from nnabla_detofa.supernet.statistics import _write

KERNELS = pytest.mark.parametrize("kernels", ["numpy", "nnabla"])


def batches(images, *sizes):
    return np.split(images, np.cumsum(sizes))[: len(sizes)]


def statistics(network):
    return {n: p.d.copy() for n, p in network.get_parameters().items() if n.endswith(("_mean", "_var"))}


@KERNELS
def test_the_first_layer_has_the_statistics_of_all_images_whatever_the_batches(small, close, kernels):
    network = small.awake(small.net(kernels=kernels))
    images = 2 * small.images(11) + np.linspace(-3, 3, 11, dtype=np.float32)[:, None, None, None]
    x = small.first_map(network, nn.Variable.from_numpy_array(images))
    bn = network.input_stem.modules["0"].bn.bn
    for sizes in ((11,), (4, 4, 3), (3, 3, 3, 1, 1), (2, 7, 2)):
        assert reestimate(network, batches(images, *sizes)) == 11
        assert np.abs(bn._mean.d.ravel() - x.mean(1)).max() < 2e-5 * x.std()
        close(bn._var.d.ravel(), x.var(1), 1e-4)


@KERNELS
def test_every_image_counts(small, kernels):
    network = small.awake(small.net(kernels=kernels))
    network.activate(network.space.smallest())
    images = small.images(10)
    reestimate(network, batches(images, 4, 4, 2))
    name = "input_stem/0/bn/bn/_var"
    whole = network.get_parameters()[name].d.copy()
    for i in (0, 3, 5, 9):
        changed = images.copy()
        changed[i] *= 1.5
        reestimate(network, iter(batches(changed, 4, 4, 2)))
        assert not np.allclose(whole, network.get_parameters()[name].d)


@KERNELS
def test_one_batchs_statistics_make_evaluation_repeat_training(small, close, kernels):
    """Normalised by its own statistics once recorded, a batch gives what it gave while it was being normalised."""
    network = small.awake(small.net(kernels=kernels))
    images = small.images(4)
    for path in small.paths(network, 3):
        network.activate(path)
        reestimate(network, [images])
        recorded = small.outputs(network, images)
        network.apply(training=True)
        maps = network(nn.Variable.from_numpy_array(images))
        nn.forward_all(list(maps))
        for ours, theirs in zip(recorded, maps, strict=True):
            close(ours, theirs.d, 1e-3)


@KERNELS
def test_weights_unused_channels_and_other_paths_layers_stay(small, kernels):
    network = small.awake(small.net(kernels=kernels))
    path = network.space.smallest()
    network.activate(path)
    before = small.values(network)
    reestimate(network, batches(small.images(5), 3, 2))
    n = network.steps(network.path)[0][1].n_middle
    for name, value in small.values(network).items():
        if not name.endswith(("_mean", "_var")) or name.startswith(("input_stem/1/", "blocks/11/")):
            np.testing.assert_array_equal(value, before[name])
    for name in ("input_stem/0/bn/bn/_mean", "input_stem/0/bn/bn/_var"):
        value = network.get_parameters()[name].d
        np.testing.assert_array_equal(value[:, n:], before[name][:, n:])
        assert (value[:, :n] != before[name][:, :n]).all()


def test_both_kernels_agree_in_every_layer(small, close):
    networks = [small.awake(small.net(kernels=kernels)) for kernels in ("numpy", "nnabla")]
    for path in small.paths(networks[0], 3):
        for network in networks:
            network.activate(path)
            reestimate(network, batches(small.images(7), 3, 3, 1))
        ours, theirs = map(statistics, networks)
        for name in ours:
            close(ours[name], theirs[name], 1e-3)


@KERNELS
def test_it_depends_on_nothing_but_weights_and_images(small, kernels):
    """Neither earlier statistics nor earlier paths leave a trace in the next path's outputs."""
    network = small.awake(small.net(kernels=kernels))
    images, (first, second) = small.images(6), small.paths(network, 2)
    outputs = []
    for before in (second, first, second):
        network.activate(before)
        reestimate(network, [images[::-1]])
        network.activate(first)
        reestimate(network, batches(images, 4, 2))
        outputs.append(small.outputs(network, images))
    for other in outputs[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(outputs[0], other, strict=True))


@KERNELS
def test_a_failure_in_between_changes_no_statistic(small, kernels):
    network = small.awake(small.net(kernels=kernels))
    before = statistics(network)

    def broken():
        yield small.images(2)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        reestimate(network, broken())
    network.flush_statistics()
    after = statistics(network)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not network.batch_norms()[0].recording


@KERNELS
def test_no_images_change_nothing(small, kernels):
    network = small.awake(small.net(kernels=kernels))
    before = statistics(network)
    assert reestimate(network, []) == 0
    assert all(np.array_equal(before[name], value) for name, value in statistics(network).items())


def recorded(kernels, x):
    """Mean and variance that one normalisation records of a map (B, C, H, W), and its output."""
    layer = ElasticBatchNorm(x.shape[1])
    layer.apply(recording=True, channel_major=kernels == "numpy")
    y = nn.Variable.from_numpy_array(x)
    y = F.transpose(layer(F.transpose(y, (1, 0, 2, 3))), (1, 0, 2, 3)) if layer.channel_major else layer(y)
    y.forward()
    layer.flush()
    ((mean, variance),) = layer.records
    return mean, variance, y


@KERNELS
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 3, 1, 1), (1, 2, 1, 1)])
def test_a_batchs_variance_is_that_of_its_values_not_an_estimate_from_them(close, kernels, shape):
    """Of one value too, where Bessel's correction is 1 / 0."""
    x = (0.5 + 2 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
    mean, variance, _ = recorded(kernels, x)
    close(mean, x.mean((0, 2, 3)))
    close(variance, x.astype(np.float64).var((0, 2, 3)).astype(np.float32), 1e-5)


def test_nnablas_function_records_with_one_output():
    """cuDNN has none that hands statistics over; the one that does launches kernels channel by channel."""
    *_, y = recorded("nnabla", np.ones((2, 3, 4, 4), np.float32))
    names = []
    y.visit(lambda f: names.append((f.info.type_name, len(f.outputs))))
    assert ("BatchNormalization", 1) in names


def test_variances_are_pooled_without_cancellation():
    """Batches of a variance that is a 10¹⁸th of their squared mean, which differs from one to the next or not."""
    for apart in (0.0, 0.25):
        layer = ElasticBatchNorm(1)
        means = 1e6 + np.array([0.0, apart], np.float32)
        layer.records = [(np.array([mean], np.float32), np.array([1e-6], np.float32)) for mean in means]
        _write(layer, np.array([3.0, 1.0]))
        assert layer.bn._mean.d.item() == pytest.approx(1e6 + apart / 4)
        assert layer.bn._var.d.item() == pytest.approx(1e-6 + 3 / 16 * apart**2, rel=1e-5)


@KERNELS
def test_statistics_that_were_lost_are_found_again(small, kernels):
    network = small.awake(small.net(kernels=kernels))
    network.activate(network.space.largest())
    for name, p in network.get_parameters().items():
        if name.endswith(("_mean", "_var")):
            p.d = np.nan
    reestimate(network, [small.images(4)])
    assert all(np.isfinite(value).all() for value in statistics(network).values())
