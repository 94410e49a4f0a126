"""Segmentation: the loss of cells that count, its error, and what it asks of loaders."""

from types import SimpleNamespace

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.segmentation import IGNORED
from nnabla_detofa.supernet import NETWORKS
from nnabla_detofa.tasks import CenterNet, Segmentation

TASK = Segmentation(n_classes=4)
SPACE = {"width_scale": 0.0625, "channel_divisor": 4, "base_depths": [1, 1, 1, 1], "depths": [0, 1]}


def example(ignored=0.3, seed=0):
    """Logits (2, 4, 3, 5) and classes (2, 1, 3, 5), of which a share is ignored."""
    rng = np.random.default_rng(seed)
    logits, classes = rng.standard_normal((2, 4, 3, 5)), rng.integers(0, 4, (2, 1, 3, 5))
    classes[rng.random(classes.shape) < ignored] = IGNORED
    return logits.astype(np.float32), classes.astype(np.uint8)


def variables(*arrays):
    return [nn.Variable.from_numpy_array(one) for one in arrays]


@pytest.mark.parametrize("ignored", [0, 0.3, 1])
def test_the_loss_is_the_mean_cross_entropy_of_cells_that_count(ignored):
    logits, classes = example(ignored)
    x, t = variables(logits, classes)
    loss = TASK.loss((x,), [t], training=True)
    loss.forward()
    right = errors = n = 0
    for image, row, column in np.ndindex(2, 3, 5):
        if (label := classes[image, 0, row, column]) != IGNORED:
            cell = logits[image, :, row, column].astype(np.float64)
            right += np.log(np.exp(cell).sum()) - cell[label]
            errors += cell.argmax() != label
            n += 1
    np.testing.assert_allclose(loss.d, right / max(n, 1), rtol=1e-5)
    error = TASK.curves((x,), [t])["error"]
    error.forward()
    np.testing.assert_allclose(error.d, errors / max(n, 1), rtol=1e-6)


def test_ignored_cells_have_no_gradient():
    logits, classes = example()
    x, t = variables(logits, classes)
    x.need_grad, x.g = True, 0
    loss = TASK.loss((x,), [t], training=True)
    loss.forward()
    loss.backward()
    moved = np.abs(x.g).sum(axis=1, keepdims=True) > 0
    np.testing.assert_array_equal(moved, classes != IGNORED)


def test_the_network_gives_logits_of_each_cell():
    options = {"space": SPACE, "neck": [8, 8, 8], "head": 8, "stem_pool": False, "seed": 1}
    network = NETWORKS["ofa_resnet50_segmenter"].SearchNet(4, **options)
    assert network.output_stride == 2 and network.target_shapes(32) == [[1, 16, 16]]
    (logits,) = network(nn.Variable((2, 3, 32, 32)))
    assert logits.shape == (2, 4, 16, 16)
    for path in network.space.sample(3, np.random.default_rng(0)):
        macs = sum(
            one.kernel**2 * one.n_in * one.n_out * one.pixels
            for _, layer in network.steps(path)
            for one in _convolutions(layer.at((64, 64)))
        )
        assert network.flops(64)(path[None])[0] == macs


def _convolutions(layer):
    from nnabla_detofa.space.layers import convolutions

    return convolutions(layer)


def test_weights_of_losses_are_refused_where_there_is_one():
    TASK.require_weights(None)
    CenterNet(n_classes=4).require_weights((1.0, 0.1, 1.0))
    with pytest.raises(ConfigError) as refused:
        TASK.require_weights((1.0, 0.1, 1.0))
    assert refused.value.key == "hparams.loss_weights"


def test_strides_must_agree():
    loader = SimpleNamespace(task="segmentation", n_classes=4, options=SimpleNamespace(output_stride=4))
    TASK.require_fit(loader, 4)
    with pytest.raises(ConfigError, match="output stride is 2"):
        TASK.require_fit(loader, 2)
