"""Channels change places when a phase opens smaller widths or expansions, and no path of the phases before notices."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import CenterNet, ClassifierNet, save_weights, sort_channels, transfer_weights

SPACE = SearchSpace.ofa_resnet50(base_depths=(1, 1, 2, 1), depths=(0, 1), width_scale=0.125, channel_divisor=4)
LARGEST = {"depths": [1], "widths": [1.0], "expands": [0.35]}
OPENINGS = {
    "expand": ({**LARGEST, "depths": [0, 1]}, {"widths": [1.0], "expands": [0.25, 0.35]}),
    "more expands": ({"widths": [1.0], "expands": [0.25, 0.35]}, {"widths": [1.0]}),
    "width": ({"widths": [1.0]}, {"widths": [0.8, 1.0]}),
    "more widths": ({"widths": [0.8, 1.0]}, {}),
    "all at once": (LARGEST, {}),
}


def trained(kind, seed=0):
    """A network whose weights, scales and statistics all differ from channel to channel."""
    rng = np.random.default_rng(seed)
    network = (
        ClassifierNet(SPACE, n_classes=5, rng=rng)
        if kind == "classifier"
        else CenterNet(SPACE, n_classes=3, neck=[8], head=4, head_deviation=None, rng=rng)
    )
    for name, parameter in network.get_parameters().items():
        if name.endswith(("_gamma", "_var")):
            parameter.d = rng.uniform(0.5, 1.5, parameter.shape)
        elif name.endswith(("_beta", "_mean")):
            parameter.d = 0.3 * rng.standard_normal(parameter.shape)
    return network


def outputs(network, path):
    network.activate(path)
    network.apply(training=False)
    y = network(nn.Variable.from_numpy_array(np.random.default_rng(0).standard_normal((2, 3, 64, 64))))
    y = list(y) if isinstance(y, tuple) else [y]
    nn.forward_all(y)
    return np.concatenate([one.d.ravel() for one in y])


def values(network):
    return {name: parameter.d.copy() for name, parameter in network.get_parameters().items()}


@pytest.mark.parametrize("kind", ["classifier", "detector"])
@pytest.mark.parametrize("opening", OPENINGS)
def test_paths_of_the_phase_before_compute_what_they_did(opening, kind):
    before, after = (SPACE.only(**choices) for choices in OPENINGS[opening])
    network = trained(kind)
    rng = np.random.default_rng(1)
    old = [SPACE.largest(), *before.sample(3, rng)]
    new = [path for path in after.sample(20, rng) if not before.contains(path[None])[0]][:3]
    expected, others = ([outputs(network, path) for path in paths] for paths in (old, new))
    unsorted = values(network)
    assert sort_channels(network, before=before, after=after) > 0
    assert any((value != unsorted[name]).any() for name, value in values(network).items())
    for path, answer in zip(old, expected, strict=True):
        np.testing.assert_allclose(outputs(network, path), answer, rtol=1e-3, atol=1e-4 * np.abs(answer).max())
    for path, answer in zip(new, others, strict=True):
        assert np.abs(outputs(network, path) - answer).max() > 3e-3 * np.abs(answer).max()


def test_the_most_important_channels_lead():
    network = trained("classifier")
    sort_channels(network, before=SPACE.only(**LARGEST), after=SPACE.only(widths=[1.0]))
    weights = network.get_parameters()
    for block in range(9):
        for reader in ("conv2", "conv3"):
            importance = np.abs(weights[f"blocks/{block}/{reader}/conv/conv/_W"].d).sum(axis=(0, 2, 3))
            assert (np.diff(importance) <= 1e-4).all()
    stage = np.abs(weights["blocks/1/conv1/conv/conv/_W"].d).sum(axis=(0, 2, 3))
    assert (np.diff(stage) > 0.1).any()  # widths stay closed, so the stages' own channels stay where they were


def test_channels_stay_in_their_part():
    """Opening .2 after .25 sorts within the leading quarter and behind it, so that paths of .25 keep their channels."""
    network = trained("classifier")
    weight = network.get_parameters()["blocks/8/conv1/conv/conv/_W"]
    edge = SPACE.channels.middle[3][2][1]
    leading, rest = ({row.tobytes() for row in part} for part in (weight.d[:edge].copy(), weight.d[edge:].copy()))
    before, after = (SPACE.only(**choices) for choices in OPENINGS["more expands"])
    sort_channels(network, before=before, after=after)
    assert {row.tobytes() for row in weight.d[:edge].copy()} == leading
    assert {row.tobytes() for row in weight.d[edge:].copy()} == rest


@pytest.mark.parametrize("choices", [LARGEST, {"widths": [1.0]}, {}])
def test_nothing_moves_where_nothing_opens(choices):
    network = trained("classifier")
    unsorted = values(network)
    space = SPACE.only(**choices)
    assert sort_channels(network, before=space, after=space) == 0
    deeper = SPACE.only(**{**LARGEST, "depths": [0, 1]})
    assert sort_channels(network, before=SPACE.only(**LARGEST), after=deeper) == 0
    for name, value in values(network).items():
        np.testing.assert_array_equal(value, unsorted[name])


def test_loading_never_sorts(tmp_path):
    network, fresh = trained("classifier"), trained("detector", seed=1)
    save_weights(network, tmp_path / "weights.h5")
    transfer = transfer_weights(fresh, tmp_path / "weights.h5")
    for name in transfer.loaded:
        np.testing.assert_array_equal(fresh.get_parameters()[name].d, network.get_parameters()[name].d)
