"""The classification supernet: the host's keywords, names and protocol."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.supernet import classifier

CHOICES = {"depth_list": [0, 1], "expand_ratio_list": [0.2, 0.25], "width_mult_list": [0.65, 1.0]}


@pytest.fixture(scope="module")
def network():
    return classifier.SearchNet(7, drop_rate=0.0, **CHOICES)


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
        assert float(network.loss(outputs, [right]).d) == pytest.approx(100 * 0.1 * 6 / 7, rel=1e-5)


def test_one_path_alone_is_smaller_and_other_paths_are_refused(network):
    space = network.space
    path = space.smallest()
    alone = classifier.TrainNet(7, genotype=space.genotype(path), **CHOICES)
    assert sum(p.d.size for p in alone.get_parameters().values()) < sum(
        p.d.size for p in network.get_parameters().values()
    )
    with pytest.raises(ConfigError):
        alone.activate(space.largest())


def test_a_wrong_number_of_classes_is_said():
    with pytest.raises(ConfigError, match="num_classes is 0; it must be a whole number of at least 1"):
        classifier.SearchNet(0)
