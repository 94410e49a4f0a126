"""Channels change places when a phase opens smaller widths or expansions, and no path of the phases before notices."""

import numpy as np
import pytest

from nnabla_detofa.supernet import save_weights, sort_channels, transfer_weights

LARGEST = {"depths": [1], "widths": [1.0], "expands": [0.35]}
OPENINGS = {
    "expand": ({**LARGEST, "depths": [0, 1]}, {"widths": [1.0], "expands": [0.25, 0.35]}),
    "more expands": ({"widths": [1.0], "expands": [0.25, 0.35]}, {"widths": [1.0]}),
    "width": ({"widths": [1.0]}, {"widths": [0.8, 1.0]}),
    "more widths": ({"widths": [0.8, 1.0]}, {}),
    "all at once": (LARGEST, {}),
}
SPACE = {"base_depths": (1, 1, 2, 1), "depths": (0, 1)}


@pytest.fixture(params=["classifier", "detector", "detector without a neck"])
def network(request, small):
    """A network whose weights, scales and statistics all differ from channel to channel."""
    if request.param == "classifier":
        return small.awake(small.classifier(space=SPACE))
    return small.awake(small.net(space=SPACE, stem_pool=True, head=4, neck=[] if "without" in request.param else [8]))


@pytest.mark.parametrize("opening", OPENINGS)
def test_paths_of_the_phase_before_compute_what_they_did(small, network, opening):
    space = network.space
    before, after = (space.only(**choices) for choices in OPENINGS[opening])
    rng = np.random.default_rng(1)
    old = [space.largest(), *before.sample(3, rng)]
    new = [path for path in after.sample(20, rng) if not before.contains(path[None])[0]][:3]

    def outputs(path):
        network.activate(path)
        return np.concatenate([one.ravel() for one in small.outputs(network)])

    expected, others = ([outputs(path) for path in paths] for paths in (old, new))
    unsorted = small.values(network)
    assert sort_channels(network, before=before, after=after) > 0
    assert any((value != unsorted[name]).any() for name, value in small.values(network).items())
    for path, answer in zip(old, expected, strict=True):
        np.testing.assert_allclose(outputs(path), answer, rtol=1e-3, atol=1e-4 * np.abs(answer).max())
    for path, answer in zip(new, others, strict=True):
        assert np.abs(outputs(path) - answer).max() > 3e-3 * np.abs(answer).max()


def test_the_most_important_channels_lead(network):
    space = network.space
    sort_channels(network, before=space.only(**LARGEST), after=space.only(widths=[1.0]))
    weights = network.get_parameters()
    for block in range(9):
        for reader in ("conv2", "conv3"):
            importance = np.abs(weights[f"blocks/{block}/{reader}/conv/conv/_W"].d).sum(axis=(0, 2, 3))
            assert (np.diff(importance) <= 1e-4).all()
    stage = np.abs(weights["blocks/1/conv1/conv/conv/_W"].d).sum(axis=(0, 2, 3))
    assert (np.diff(stage) > 0.1).any()  # widths stay closed, so the stages' own channels stay where they were


def test_channels_stay_in_their_part(network):
    """Opening .2 after .25 sorts within the leading quarter and behind it, so that paths of .25 keep their channels."""
    weight = network.get_parameters()["blocks/8/conv1/conv/conv/_W"]
    edge = network.space.family.channels.middle[3][2][1]
    leading, rest = ({row.tobytes() for row in part} for part in (weight.d[:edge].copy(), weight.d[edge:].copy()))
    before, after = (network.space.only(**choices) for choices in OPENINGS["more expands"])
    sort_channels(network, before=before, after=after)
    assert {row.tobytes() for row in weight.d[:edge].copy()} == leading
    assert {row.tobytes() for row in weight.d[edge:].copy()} == rest


@pytest.mark.parametrize("before", [LARGEST, {"widths": [1.0]}, {}])
def test_nothing_moves_where_nothing_opens(small, network, before):
    unsorted, space = small.values(network), network.space
    for after in (before, {**before, "depths": [0, 1]} if "depths" in before else before):
        assert sort_channels(network, before=space.only(**before), after=space.only(**after)) == 0
    for name, value in small.values(network).items():
        np.testing.assert_array_equal(value, unsorted[name])


def test_loading_never_sorts(small, tmp_path):
    network, fresh = small.awake(small.classifier()), small.net(seed=1)
    save_weights(network, tmp_path / "weights.h5")
    for name in transfer_weights(fresh, tmp_path / "weights.h5").loaded:
        np.testing.assert_array_equal(fresh.get_parameters()[name].d, network.get_parameters()[name].d)
