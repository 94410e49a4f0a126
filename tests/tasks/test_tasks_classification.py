"""Classification: logits, their loss and error, dropout and distillation."""

from types import SimpleNamespace

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.supernet import NETWORKS, Supernet, extract
from nnabla_detofa.tasks import Classification

SPACE = {"width_scale": 0.0625, "channel_divisor": 4, "base_depths": [1, 1, 1, 1], "depths": [0, 1]}
TASK = Classification(n_classes=7)


def small(**options):
    return NETWORKS["ofa_resnet50_classifier"].SearchNet(5, **{"space": SPACE, "seed": 1, **options})


def images(side, n=2):
    return np.random.default_rng(0).standard_normal((n, 3, side, side)).astype(np.float32)


def logits(network, pixels, **state):
    network.apply(**{"training": False, **state})
    y = network(nn.Variable.from_numpy_array(pixels))
    y.forward()
    return y.d.copy()


@pytest.mark.parametrize("side", [32, 36, 52])
@pytest.mark.parametrize("stem_pool", [True, False])
def test_the_kernels_agree_at_any_image_size(side, stem_pool):
    """An odd map is halved to the larger half, by convolutions and by the shortcut's average alike."""
    networks = [small(kernels=kernels, stem_pool=stem_pool) for kernels in ("numpy", "nnabla")]
    path = networks[0].space.sample(1, np.random.default_rng(3))[0]
    for network in networks:
        network.activate(path)
    ours, theirs = (logits(network, images(side)) for network in networks)
    assert ours.shape == (2, 5)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_a_path_alone_computes_what_the_supernet_does():
    network = small()
    for path in network.space.sample(3, np.random.default_rng(0)):
        network.activate(path)
        alone = extract(network, path)
        assert isinstance(alone, Supernet) and alone.task == network.task
        theirs = logits(network, images(32))
        np.testing.assert_allclose(logits(alone, images(32)), theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())


def test_the_path_stays_the_chosen_one_in_training():
    network = small()
    network.activate(path := network.space.smallest())
    logits(network, images(32), training=True)
    np.testing.assert_array_equal(network.path, path)


def test_one_dropout_seed_drops_the_same_features_in_training_alone():
    network = small(drop_rate=0.5)
    first, same, other = (logits(network, images(32), training=True, dropout_seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    tested = [logits(network, images(32), dropout_seed=seed) for seed in (3, 4)]
    np.testing.assert_array_equal(*tested)


def test_loss_and_error_of_certain_logits():
    certain = np.full((2, 7), -50.0)
    certain[[0, 1], [3, 4]] = 50.0
    with nn.auto_forward():
        right, wrong = (nn.Variable.from_numpy_array(np.array(t).reshape(2, 1)) for t in ([3, 4], [3, 5]))
        for outputs in (nn.Variable.from_numpy_array(certain), [nn.Variable.from_numpy_array(certain)]):
            assert float(TASK.curves(outputs, [right])["error"].d) == 0
            assert float(TASK.curves(outputs, [wrong])["error"].d) == 0.5
            # label smoothing gives 0.1 / 7 of the weight to each class; the others' log-probability is −100
            for training, expected in ((True, 100 * 0.1 * 6 / 7), (False, 0)):
                loss = TASK.loss(outputs, [right], training=training)
                assert float(loss.d) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_a_networks_loss_is_smoothed_in_training_alone():
    network = small(label_smoothing=0.5)
    y, targets = nn.Variable.from_numpy_array(9 * np.eye(5)), [nn.Variable.from_numpy_array(np.arange(5)[:, None])]
    losses = []
    for training in (True, False):
        network.apply(training=training)
        losses.append(network.loss(y, targets))
    nn.forward_all(losses)
    assert float(losses[0].d) > 3 > float(losses[1].d)
    assert network.target_shapes(32) == [[1]]


def test_distillation_is_least_where_the_teacher_is_met_and_teaches_the_network_alone():
    rng = np.random.default_rng(0)
    teacher, other = (nn.Variable.from_numpy_array(rng.standard_normal((4, 5)), need_grad=True) for _ in range(2))
    losses = []
    for answer in (nn.Variable.from_numpy_array(teacher.d, need_grad=True), other):
        loss = small().kd_loss([answer], [teacher])
        loss.forward()
        answer.g, teacher.g = 0, 0
        loss.backward()
        losses.append(float(loss.d))
        assert (np.abs(answer.g).max() < 1e-6) == (answer is not other)
        np.testing.assert_array_equal(teacher.g, 0)
    assert losses[0] < losses[1]
    p = np.exp(teacher.d) / np.exp(teacher.d).sum(axis=1, keepdims=True)
    assert losses[0] == pytest.approx(-(p * np.log(p)).sum(axis=1).mean(), rel=1e-5)


def test_top1_is_the_share_of_images_whose_class_leads():
    """The last batch is filled up, and what fills it does not count."""
    sizes, classes = (4, 3), np.array([[0], [1], [2], [3]])

    def batches(_):
        for n in sizes:
            pixels = np.eye(4, dtype=np.float32)[[0, 1, 1, 3]]
            yield SimpleNamespace(images=pixels, targets=[classes], n_valid=n)

    class Echo:
        def apply(self, *, training):
            assert not training

        def __call__(self, x):
            return nn.functions.identity(x)

    loader = SimpleNamespace(task="classification", dataset=range(7), batches=batches)
    assert TASK.figure("top1", Echo(), loader) == 5 / 7
    assert TASK.is_defined(loader)
    found = TASK.assess("top1", Echo(), loader, rng=np.random.default_rng(0))
    assert found.figure == 5 / 7
    np.testing.assert_allclose(found.per_class, [1, 1, 0, 1, *[np.nan] * 3])
    assert len(found.resampled) == 1000 and found.resampled.mean() == pytest.approx(5 / 7, abs=0.02)


def test_a_data_set_for_another_network_is_said():
    TASK.require_fit(SimpleNamespace(task="classification", n_classes=7), 32)
    for loader in ({"task": "detection", "n_classes": 7}, {"n_classes": 30, "classes": tuple(map(str, range(30)))}):
        with pytest.raises(ConfigError, match="must agree"):
            TASK.require_fit(SimpleNamespace(**{"task": "classification", **loader}), 32)
