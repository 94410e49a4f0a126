"""Half precision on a CPU: losses and statistics are single precision's, whatever the maps between them are."""

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest
from nnabla.ext_utils import get_extension_context

from nnabla_detofa.supernet import ClassifierNet, SearchNet
from nnabla_detofa.supernet.elastic import ElasticBatchNorm
from nnabla_detofa.supernet.losses import centre_l1_loss, cross_entropy, focal_loss
from nnabla_detofa.training.loss_scale import LossScale

FLOAT, HALF = (get_extension_context("cpu", type_config=kind) for kind in ("float", "half"))
FULL_MAPS = [(4, 20, 96), (1, 80, 128)]  # images, classes and side on VOC at 384 and COCO at 512 pixels
SCALE = 2.0**10


def in_both(build, *arrays):
    """Value and gradient of a loss of a map that its context's functions made; in single and in half precision."""
    for context in (FLOAT, HALF):
        with nn.context_scope(context):
            x, *targets = (nn.Variable.from_numpy_array(array) for array in arrays)
            x.need_grad = True
            x.grad.zero()
            loss = build(F.identity(x), *targets)
            loss.forward()
            loss.backward(SCALE)
        yield loss, x.g.astype(np.float64) / SCALE


@pytest.mark.parametrize(("images", "classes", "side"), FULL_MAPS)
def test_the_focal_loss_of_whole_maps(images, classes, side):
    rng = np.random.default_rng(0)
    shape = (images, classes, side, side)
    heatmap = rng.uniform(0, 0.9999, shape).astype(np.float32)  # half precision takes the largest for centres
    heatmap.ravel()[rng.choice(heatmap.size, 8 * images, replace=False)] = 1
    logits = 2 * rng.standard_normal(shape, np.float32)
    (expected, slope), (loss, gradient) = in_both(focal_loss, logits, heatmap)
    assert float(expected.d) * 8 * images > 65_504  # the sum, before it is divided
    assert float(loss.d) == pytest.approx(float(expected.d), rel=0.01)
    assert np.linalg.norm(gradient - slope) < 0.01 * np.linalg.norm(slope)


@pytest.mark.parametrize(("images", "classes", "side"), FULL_MAPS)
def test_the_loss_at_centres_of_whole_maps(images, classes, side):
    del classes
    rng = np.random.default_rng(0)
    prediction, target = 30 * rng.random((images, 2, side, side)), 30 * rng.random((images, 128, 2))
    index, mask = rng.integers(0, side * side, (images, 128)), rng.integers(0, 2, (images, 128))
    (expected, _), (loss, _) = in_both(centre_l1_loss, prediction, target, index, mask)
    assert float(loss.d) == pytest.approx(float(expected.d), rel=0.01)


def test_losses_have_single_precision():
    """Paths differ in the third digit of their losses."""
    rng = np.random.default_rng(0)
    wanted = np.eye(1000)[rng.integers(0, 1000, 64)]
    for loss, _ in in_both(cross_entropy, rng.standard_normal((64, 1000)), wanted):
        assert loss.data.dtype == np.float32


def targets_of(network, side, seed=0):
    """Three objects an image on an otherwise random heat map."""
    rng = np.random.default_rng(seed)
    heatmap, *_, index = ((2, *shape) for shape in network.target_shapes(side, 3)[:4])
    heat = rng.uniform(0, 0.8, heatmap).astype(np.float32)
    heat.ravel()[rng.choice(heat.size, 6, replace=False)] = 1
    cells = rng.integers(0, heatmap[2] * heatmap[3], index)
    return heat, 4 * rng.random((*index, 2)), rng.random((*index, 2)), cells, np.ones(index)


def ten_steps(network, side, *, scale):
    """The losses of ten steps of Adam on two images, and the weights behind them."""
    rng = np.random.default_rng(1)
    images = nn.Variable.from_numpy_array(rng.standard_normal((2, 3, side, side)).astype(np.float32))
    targets = [nn.Variable.from_numpy_array(array) for array in targets_of(network, side)]
    parameters, losses = network.get_parameters(grad_only=True), []
    solver = S.Adam(1e-3)
    solver.set_parameters(parameters)
    network.apply(training=True)
    while len(losses) < 10:
        loss = network.loss(network(images), targets)
        solver.zero_grad()
        loss.forward(clear_no_need_grad=True)
        loss.backward(scale.value, clear_buffer=True)
        network.flush_statistics()
        if scale.unscale(solver):
            solver.update()
            losses.append(float(loss.d))
    return np.array(losses), {name: p.d.copy() for name, p in network.get_parameters().items()}


def test_a_cpus_own_kernels_compute_in_single_precision(small):
    networks = [small.net(), small.net()]
    losses, weights = ten_steps(networks[0], small.SIDE, scale=LossScale.of("float"))
    with nn.context_scope(HALF):
        halves, others = ten_steps(networks[1], small.SIDE, scale=LossScale(start=SCALE))
    np.testing.assert_array_equal(halves, losses)
    for name, value in weights.items():
        np.testing.assert_array_equal(others[name], value, err_msg=name)


def test_nnablas_functions_train_in_half_precision(small):
    """All but losses, normalisation and weights is half there, as on CUDA; its CPU functions also sum in half."""
    side = 32
    networks = [small.net(kernels="nnabla") for _ in range(2)]
    for network in networks:
        network.activate(network.space.smallest())
    losses, _ = ten_steps(networks[0], side, scale=LossScale.of("float"))
    with nn.context_scope(HALF):
        halves, weights = ten_steps(networks[1], side, scale=LossScale(start=SCALE))
    assert halves[0] == pytest.approx(losses[0], rel=0.02)
    assert np.isfinite(halves).all()
    assert all(np.isfinite(value).all() and value.dtype == np.float32 for value in weights.values())
    np.testing.assert_allclose(halves, losses, rtol=0.1)


def test_a_whole_backbone_is_no_part_of_a_classifiers_single_precision(small):
    with nn.context_scope(HALF):
        network = ClassifierNet(small.net().space, n_classes=3, kernels="nnabla", rng=np.random.default_rng(0))
        logits = network(nn.Variable((1, 3, 32, 32)))
        loss = network.loss(logits, [nn.Variable.from_numpy_array(np.zeros((1, 1)))])
    loss.forward()
    kinds = {}
    loss.visit(lambda f: kinds.setdefault(f.info.type_name, set()).add(f.outputs[0].data.dtype.name))
    assert kinds["Convolution"] == kinds["Affine"] == {"float16"}
    assert kinds["BatchNormalization"] == kinds["Mean"] == kinds["LogSoftmax"] == {"float32"}


@pytest.mark.parametrize("training", [True, False])
def test_normalisation_sums_in_single_precision(training):
    """65,536 values of mean 3 add up to more than half precision holds."""
    rng = np.random.default_rng(0)
    layer = ElasticBatchNorm(4)
    layer.apply(training=training, recording=not training)
    with nn.context_scope(HALF):
        x = F.identity(nn.Variable.from_numpy_array(3 + rng.standard_normal((16, 4, 64, 64))))
        layer(x).forward(clear_no_need_grad=True)
    layer.flush()
    axes, seen = (0, 2, 3), x.d.astype(np.float64)
    if training:
        mean, variance = (10 * (p.d.ravel() - 0.9 * start) for p, start in ((layer.bn._mean, 0), (layer.bn._var, 1)))
    else:
        ((mean, variance),) = layer.records
    np.testing.assert_allclose(mean, seen.mean(axes), rtol=1e-4)
    np.testing.assert_allclose(variance, seen.var(axes), rtol=1e-3)


def test_the_largest_network_has_no_half_loss(small):
    with nn.context_scope(HALF):
        network = SearchNet(small.CLASSES, space=small.SPACE, **small.OPTIONS)
        targets = [nn.Variable.from_numpy_array(array) for array in targets_of(network, small.SIDE)]
        outputs = network(nn.Variable.from_numpy_array(small.images()))
        terms = network.metrics(outputs, targets)
        loss = network.loss(outputs, targets, (1.0, 0.1, 1.0), terms)
        nn.forward_all([loss, *terms.values()])
    assert {one.data.dtype for one in (loss, *terms.values())} == {np.dtype(np.float32)}
