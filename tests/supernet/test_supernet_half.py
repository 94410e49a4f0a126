"""Half precision on a CPU: losses and statistics are single precision's, whatever the maps between them are."""

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest
from nnabla.ext_utils import get_extension_context

from nnabla_detofa.supernet.elastic import ElasticBatchNorm
from nnabla_detofa.training.loss_scale import LossScale

HALF = get_extension_context("cpu", type_config="half")
SCALE = 2.0**10


def ten_steps(small, network, side, *, scale):
    """The losses of ten steps of Adam on two images, and the weights behind them."""
    images, targets = nn.Variable.from_numpy_array(small.images(seed=1, side=side)), small.targets(network, side=side)
    losses, solver = [], S.Adam(1e-3)
    solver.set_parameters(network.get_parameters(grad_only=True))
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
    return np.array(losses), small.values(network)


def test_a_cpus_own_kernels_compute_in_single_precision(small):
    losses, weights = ten_steps(small, small.net(), small.SIDE, scale=LossScale.of("float"))
    with nn.context_scope(HALF):
        halves, others = ten_steps(small, small.net(), small.SIDE, scale=LossScale(start=SCALE))
    np.testing.assert_array_equal(halves, losses)
    for name, value in weights.items():
        np.testing.assert_array_equal(others[name], value, err_msg=name)


def test_nnablas_functions_train_in_half_precision(small):
    """All but losses, normalisation and weights is half there, as on CUDA; its CPU functions also sum in half."""
    networks = [small.net(kernels="nnabla") for _ in range(2)]
    for network in networks:
        network.activate(network.space.smallest())
    losses, _ = ten_steps(small, networks[0], 32, scale=LossScale.of("float"))
    with nn.context_scope(HALF):
        halves, weights = ten_steps(small, networks[1], 32, scale=LossScale(start=SCALE))
    assert halves[0] == pytest.approx(losses[0], rel=0.02)
    assert np.isfinite(halves).all()
    assert all(np.isfinite(value).all() and value.dtype == np.float32 for value in weights.values())
    np.testing.assert_allclose(halves, losses, rtol=0.1)


def test_a_whole_backbone_is_no_part_of_a_classifiers_single_precision(small):
    with nn.context_scope(HALF):
        network = small.classifier(kernels="nnabla")
        logits = network(nn.Variable((1, 3, 32, 32)))
        loss = network.loss(logits, [nn.Variable.from_numpy_array(np.zeros((1, 1)))])
    loss.forward()
    kinds = {}
    loss.visit(lambda f: kinds.setdefault(f.info.type_name, set()).add(f.outputs[0].data.dtype.name))
    assert kinds["Convolution"] == kinds["Affine"] == {"float16"}
    assert kinds["BatchNormalization"] == kinds["Mean"] == kinds["LogSoftmax"] == {"float32"}


def test_a_detectors_loss_and_its_terms_are_single(small):
    with nn.context_scope(HALF):
        network = small.net()
        outputs, targets = network(nn.Variable.from_numpy_array(small.images())), small.targets(network)
        terms = network.metrics(outputs, targets)
        loss = network.loss(outputs, targets, (1.0, 0.1, 1.0), terms)
        nn.forward_all([loss, *terms.values()])
    assert {one.data.dtype for one in (loss, *terms.values())} == {np.dtype(np.float32)}


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
