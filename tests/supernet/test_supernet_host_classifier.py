"""The stand-in for the host's `ofa_resnet50`: its keywords and its protocol."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.supernet import host_classifier

CHOICES = {"depth_list": [0, 1], "expand_ratio_list": [0.2, 0.25], "width_mult_list": [0.65, 1.0]}


@pytest.fixture(scope="module")
def network():
    return host_classifier.SearchNet(7, drop_rate=0.0, **CHOICES)


def test_training_draws_paths_and_validation_keeps_the_chosen_one(network):
    x = nn.Variable.from_numpy_array(np.zeros((1, 3, 32, 32)))
    network.apply(training=True)
    drawn = {(network(x), network.path.tobytes())[1] for _ in range(3)}
    assert len(drawn) == 3
    network.apply(training=False)
    network.set_valid_arch(([1] * 5, [0.25] * 14, 1.0))
    assert network(x).shape == (1, 7)
    np.testing.assert_array_equal(network.path, network.space.largest())
    network.set_valid_arch((0, 0.2, [0.65] * 6))
    np.testing.assert_array_equal(network.path, network.space.smallest())


def test_one_path_alone_is_smaller_and_stays_in_training(network):
    space = network.space
    alone = host_classifier.TrainNet(7, genotype=space.genotype(space.smallest()), **CHOICES)
    sizes = [sum(p.d.size for p in one.get_parameters().values()) for one in (alone, network)]
    assert sizes[0] < sizes[1]
    alone.apply(training=True)
    alone(nn.Variable((1, 3, 32, 32)))
    np.testing.assert_array_equal(alone.path, space.smallest())
    with pytest.raises(ConfigError):
        alone.activate(space.largest())


def test_without_a_genotype_it_is_the_largest_path(network):
    single = {name: values[0] for name, values in CHOICES.items()}
    alone = host_classifier.TrainNet(7, **single)
    assert alone.space.size() < network.space.size()
    np.testing.assert_array_equal(alone.path, alone.space.largest())


@pytest.mark.parametrize("kind", ["SearchNet", "TrainNet"])
@pytest.mark.parametrize("option", ["num_classes", "drop_rate", "seed", "weights", "kernels"])
def test_wrong_options_are_said(kind, option):
    with pytest.raises(ConfigError) as caught:
        getattr(host_classifier, kind)(**{option: -1})
    assert caught.value.given == -1 and option in caught.value.key
