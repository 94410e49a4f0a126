"""Weights on disk: exact round trips, what fits another network, and what is no weights file."""

import h5py
import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import WeightsError
from nnabla_detofa.supernet import SearchNet, load_weights, save_weights, transfer_weights
from nnabla_detofa.supernet.backbone import OFAResNet50


@pytest.fixture
def file(small, tmp_path):
    """The weights of a small network."""
    save_weights(small.awake(small.net()), tmp_path / "weights.h5")
    return tmp_path / "weights.h5"


@pytest.fixture
def backbone(small, tmp_path):
    """A backbone's weights, with those of a classifier beside them; the file and what it should give."""
    network = small.awake(OFAResNet50(small.net().space, rng=np.random.default_rng(5)))
    parameters = {**network.get_parameters(), "classifier/_b": nn.Variable.from_numpy_array(np.zeros(7, np.float32))}
    nn.save_parameters(str(tmp_path / "backbone.h5"), parameters)
    return tmp_path / "backbone.h5", small.values(network)


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_a_round_trip_is_exact(small, file):
    ours, other = small.awake(small.net()), small.net(seed=9)
    load_weights(other, file)
    assert equal(small.values(ours), small.values(other))
    for a, b in zip(small.outputs(ours), small.outputs(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kernels", ["numpy", "nnabla"])
def test_a_graph_built_before_the_weights_came_computes_with_them(small, file, kernels):
    network = small.net(seed=9, kernels=kernels)
    network.apply(training=False)
    maps = network(nn.Variable.from_numpy_array(small.images()))
    nn.forward_all(list(maps))
    load_weights(network, file)
    nn.forward_all(list(maps))
    for ours, theirs in zip(maps, small.outputs(network), strict=True):
        np.testing.assert_array_equal(ours.d, theirs)


def test_saving_replaces_the_file_and_leaves_no_other(small, file):
    network = small.net(seed=2)
    save_weights(network, file)
    assert [p.name for p in file.parent.iterdir()] == ["weights.h5"]
    load_weights(other := small.net(), file)
    assert equal(small.values(network), small.values(other))


def test_a_failed_saving_keeps_the_old_file(small, file, monkeypatch):
    before = file.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(nn, "save_parameters", full)
    with pytest.raises(OSError, match="no space left"):
        save_weights(small.net(), file)
    assert file.read_bytes() == before


def test_a_backbones_weights_are_taken_over_by_name(small, backbone):
    file, values = backbone
    network, fresh = small.net(), small.net()
    loaded, new, left_out = transfer_weights(network, file)
    assert loaded == list(values)
    assert left_out == ["classifier/_b"]
    assert {name.split("/")[0] for name in new} == {"neck", "heads"}
    assert set(loaded) | set(new) == set(network.get_parameters())
    after = small.values(network)
    assert equal({name: after[name] for name in loaded}, values)
    assert equal({name: after[name] for name in new}, {name: small.values(fresh)[name] for name in new})


def test_pretrained_is_a_transfer_at_building(small, backbone):
    file, values = backbone
    network = small.net(pretrained=str(file))
    assert network.transfer.loaded == list(values)
    assert equal({name: network.get_parameters()[name].d for name in values}, values)
    assert small.net().transfer is None


# ---- what is refused


@pytest.mark.parametrize("load", [load_weights, transfer_weights])
def test_sizes_of_another_network_are_listed_and_nothing_is_loaded(small, file, load):
    network = small.net(head=12, seed=4)
    before = small.values(network)
    with pytest.raises(WeightsError) as caught:
        load(network, file)
    message = str(caught.value)
    assert message.startswith(f"{file} holds the weights of another network: ")
    assert "heads/heatmap/hidden/conv/_W is (8, 8, 3, 3) in the file and (12, 8, 3, 3) in the network" in message
    assert message.endswith(" and 5 more")
    assert "\n" not in message
    assert equal(small.values(network), before)


def test_exact_loading_lists_names_that_only_one_side_has(small, file, backbone):
    shorter = small.net(neck=[8, 12], head=8)
    with pytest.raises(WeightsError, match=r"heads/heatmap/hidden/conv/_W is \(8, 8, 3, 3\) in the file and \(8, 12"):
        load_weights(shorter, file)
    with pytest.raises(WeightsError, match=r"another network: neck/1/conv/_W \(8, 12, 4, 4\) is not in .* and 6 more"):
        load_weights(small.net(neck=[8]), file)
    with pytest.raises(WeightsError, match="another network: neck/0/conv/_W is missing; .* and 24 more"):
        load_weights(small.net(), backbone[0])


def test_a_transfer_of_nothing_says_what_both_sides_have(small, tmp_path):
    nn.save_parameters(str(tmp_path / "other.h5"), {"fc/_W": nn.Variable.from_numpy_array(np.ones((2, 2)))})
    with pytest.raises(
        WeightsError, match="another network: it has fc/_W; the network has input_stem/0/.* and 238 more"
    ):
        transfer_weights(small.net(), tmp_path / "other.h5")


def test_a_supernets_weights_are_not_a_smaller_networks(small, file):
    with pytest.raises(WeightsError, match="in the file and .* in the network"):
        SearchNet(3, space={**small.SPACE, "width_scale": 0.25}, pretrained=str(file), **small.OPTIONS)


@pytest.mark.parametrize("load", [load_weights, transfer_weights])
@pytest.mark.parametrize(
    ("name", "kept", "message"),
    [
        ("gone.h5", None, "does not exist"),
        ("weights.h5", slice(-3000), "cannot be read: .*truncated"),
        ("weights.h5", slice(0), "cannot be read: "),
        ("weights.h5", slice(1, None), "cannot be read: "),
        ("weights.pth", slice(None), "holds no parameters; it must be NNabla's HDF5, with suffix .h5"),
    ],
    ids=["missing", "cut off", "empty", "no signature", "suffix"],
)
def test_what_is_no_weights_file_is_said_in_one_line(small, file, load, name, kept, message):
    broken = file.with_name(name)
    if kept:
        broken.write_bytes(file.read_bytes()[kept])
    with pytest.raises(WeightsError, match=f"weights file {broken} {message}") as caught:
        load(small.net(), broken)
    assert "\n" not in str(caught.value)


def test_an_hdf5_file_of_another_program_is_refused(small, tmp_path):
    with h5py.File(tmp_path / "foreign.h5", "w") as stored:
        stored["weight"] = np.zeros(3)
    with pytest.raises(WeightsError, match="foreign.h5 cannot be read: .*need_grad"):
        load_weights(small.net(), tmp_path / "foreign.h5")
    with h5py.File(tmp_path / "void.h5", "w"):
        pass
    with pytest.raises(WeightsError, match="void.h5 holds no parameters"):
        load_weights(small.net(), tmp_path / "void.h5")
