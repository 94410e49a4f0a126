"""The classification supernet: its own form, and the host's keywords, names and protocol."""

from types import SimpleNamespace

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.space import CostModel
from nnabla_detofa.supernet import CenterNet, ClassifierNet, extract, host_classifier, save_weights
from nnabla_detofa.supernet.classifier import SearchNet, TrainNet

CHOICES = {"depth_list": [0, 1], "expand_ratio_list": [0.2, 0.25], "width_mult_list": [0.65, 1.0]}
SMALL = {"width_scale": 0.0625, "channel_divisor": 4, "base_depths": [1, 1, 1, 1], "depths": [0, 1]}


def small(n_classes=5, **options):
    return SearchNet(n_classes, **{"space": SMALL, "seed": 1, **options})


def logits(network, images, **state):
    network.apply(training=False, **state)
    y = network(nn.Variable.from_numpy_array(images))
    y.forward()
    return y.d.copy()


@pytest.fixture(scope="module")
def network():
    return host_classifier.SearchNet(7, drop_rate=0.0, **CHOICES)


def images(side, n=2):
    return np.random.default_rng(0).standard_normal((n, 3, side, side)).astype(np.float32)


# -- our own form -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [32, 36, 52])
@pytest.mark.parametrize("stem_pool", [True, False])
def test_the_kernels_agree_at_any_image_size(close, side, stem_pool):
    """An odd map is halved to the larger half, by convolutions and by the shortcut's average alike."""
    networks = [small(kernels=kernels, stem_pool=stem_pool) for kernels in ("numpy", "nnabla")]
    path = networks[0].space.sample(1, np.random.default_rng(3))[0]
    for network in networks:
        network.activate(path)
    ours, theirs = (logits(network, images(side)) for network in networks)
    assert ours.shape == (2, 5)
    close(ours, theirs)


def test_a_path_alone_computes_what_the_supernet_does(close):
    network = small()
    for path in network.space.sample(3, np.random.default_rng(0)):
        network.activate(path)
        alone = extract(network, path)
        assert isinstance(alone, ClassifierNet)
        close(logits(alone, images(32)), logits(network, images(32)))


def test_the_path_stays_the_chosen_one_in_training():
    network = small()
    path = network.space.smallest()
    network.activate(path)
    network.apply(training=True)
    network(nn.Variable.from_numpy_array(images(32)))
    np.testing.assert_array_equal(network.path, path)


def test_one_dropout_seed_drops_the_same_features():
    network = small(drop_rate=0.5)
    network.apply(training=True)
    answers = []
    for seed in (3, 3, 4):
        network.apply(dropout_seed=seed)
        y = network(nn.Variable.from_numpy_array(images(32)))
        y.forward()
        answers.append(y.d.copy())
    np.testing.assert_array_equal(answers[0], answers[1])
    assert (answers[0] != answers[2]).any()


def test_distillation_is_least_where_the_teacher_is_met_and_teaches_the_network_alone():
    network = small()
    rng = np.random.default_rng(0)
    teacher, other = (nn.Variable.from_numpy_array(rng.standard_normal((4, 5)), need_grad=True) for _ in range(2))
    losses = []
    for answer in (nn.Variable.from_numpy_array(teacher.d, need_grad=True), other):
        loss = network.kd_loss([answer], [teacher])
        loss.forward()
        answer.g, teacher.g = 0, 0
        loss.backward()
        losses.append(float(loss.d))
        assert (np.abs(answer.g).max() < 1e-6) == (answer is not other)
        np.testing.assert_array_equal(teacher.g, 0)
    assert losses[0] < losses[1]
    p = np.exp(teacher.d) / np.exp(teacher.d).sum(axis=1, keepdims=True)
    assert losses[0] == pytest.approx(-(p * np.log(p)).sum(axis=1).mean(), rel=1e-5)


def test_flops_are_the_convolutions_and_the_linear_layer():
    classifier, detector = small(), CenterNet(small().space, n_classes=5, rng=np.random.default_rng(0), neck=[4])
    paths = classifier.space.sample(20, np.random.default_rng(0))
    whole, backbone = classifier.flops(64)(paths), detector.flops(64).parts(paths)[0]
    last = paths[:, classifier.space.structure.stage_columns[-1][1]]
    np.testing.assert_array_equal(whole - backbone, 5 * np.array(classifier.space.channels.stage_out[-1])[last])
    parameters = CostModel.of(classifier.network_layers(64), "parameters")(classifier.space.largest()[None])[0]
    assert parameters == sum(p.d.size for p in classifier.get_parameters(grad_only=True).values())
    assert CostModel.of(classifier.network_layers(64), "memory")(paths).min() > 4 * 3 * 64**2


def test_a_detector_takes_the_backbone(tmp_path):
    classifier = small()
    save_weights(classifier, tmp_path / "weights.h5")
    again = small(n_classes=4, seed=2, pretrained=tmp_path / "weights.h5")
    assert {name.split("/")[0] for name in again.transfer.new} == {"classifier"}
    shared = classifier.get_parameters()
    assert all((shared[name].d == again.get_parameters()[name].d).all() for name in again.transfer.loaded)


def test_one_path_as_a_network_of_its_own():
    network = small()
    path = network.space.smallest()
    alone = TrainNet(5, space=SMALL, genotype=network.space.genotype(path))
    np.testing.assert_array_equal(alone.path, path)
    with pytest.raises(ConfigError, match="is not the one that this network holds"):
        alone.activate(network.space.largest())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_classes": 0}, "n_classes is 0; it must be a whole number of at least 1"),
        ({"drop_rate": 1}, "drop_rate is 1; it must be a number in \\[0, 1\\)"),
        ({"label_smoothing": "no"}, "label_smoothing is 'no'; it must be a number in \\[0, 1\\)"),
        ({"neck": [8]}, "unknown option of the network: 'neck'; known: .*drop_rate"),
    ],
)
def test_wrong_options_are_said(options, message):
    with pytest.raises(ConfigError, match=message):
        small(**options)


def test_a_data_set_for_another_network_is_said():
    network = small()
    network.require_fit(SimpleNamespace(task="classification", n_classes=5))
    with pytest.raises(ConfigError, match="the network is for classification and the data set for detection; they"):
        network.require_fit(SimpleNamespace(task="detection", n_classes=5))
    classes = tuple(map(str, range(30)))
    with pytest.raises(ConfigError, match="n_classes=5 and the data set 30 \\(0, 1, .*, 19, …\\); they must agree"):
        network.require_fit(SimpleNamespace(task="classification", n_classes=30, classes=classes))


# -- the host's form --------------------------------------------------------------------------------------------------


def test_names_are_the_hosts(network):
    names = network.get_parameters()
    assert names["classifier/0/linear/linear/_W"].shape == (2048, 7)
    assert names["classifier/0/linear/linear/_b"].shape == (7,)
    assert "blocks/0/conv1/conv/conv/_W" in names


def test_training_draws_paths_and_validation_keeps_the_chosen_one(network):
    x = nn.Variable.from_numpy_array(np.zeros((1, 3, 32, 32)))
    network.apply(training=True)
    drawn = {(network(x), network.path.tobytes())[1] for _ in range(3)}
    assert len(drawn) == 3
    network.apply(training=False)
    network.set_valid_arch(([1] * 5, [0.25] * 14, 1.0))
    assert network(x).shape == (1, 7)
    np.testing.assert_array_equal(network.path, network.space.largest())


def test_loss_and_error_of_certain_logits(network):
    logits = np.full((2, 7), -50.0)
    logits[[0, 1], [3, 4]] = 50.0
    with nn.auto_forward():
        outputs = [nn.Variable.from_numpy_array(logits)]
        right, wrong = (nn.Variable.from_numpy_array(np.array(t).reshape(2, 1)) for t in ([3, 4], [3, 5]))
        assert float(network.metrics(outputs, [right])["error"].d) == 0
        assert float(network.metrics(outputs, [wrong])["error"].d) == 0.5
        # label smoothing gives 0.1 / 7 of the weight to each class; the others' log-probability is −100
        for training, expected in ((True, 100 * 0.1 * 6 / 7), (False, 0)):
            network.apply(training=training)
            assert float(network.loss(outputs, [right]).d) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_one_path_alone_is_smaller_and_other_paths_are_refused(network):
    space = network.space
    path = space.smallest()
    alone = host_classifier.TrainNet(7, genotype=space.genotype(path), **CHOICES)
    assert sum(p.d.size for p in alone.get_parameters().values()) < sum(
        p.d.size for p in network.get_parameters().values()
    )
    with pytest.raises(ConfigError):
        alone.activate(space.largest())


def test_a_wrong_number_of_classes_is_said():
    with pytest.raises(ConfigError, match="num_classes is 0; it must be a whole number of at least 1"):
        host_classifier.SearchNet(0)
