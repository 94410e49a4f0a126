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

    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(nn, "save_parameters", full)
    with pytest.raises(OSError, match="no space left"):
        save_weights(small.net(), file)
    assert file.read_bytes() == before


def test_a_backbones_weights_are_taken_over_by_name(small, backbone):
    file, values = backbone
    network, fresh = small.net(), small.net()
    transfer = transfer_weights(network, file)
    assert transfer.loaded == list(values)
    assert transfer.left_out == ["classifier/_b"]
    assert {name.split("/")[0] for name in transfer.new} == {"neck", "heads"}
    assert set(transfer.loaded) | set(transfer.new) == set(network.get_parameters())
    after = small.values(network)
    assert equal({name: after[name] for name in transfer.loaded}, values)
    assert equal({name: after[name] for name in transfer.new}, {n: small.values(fresh)[n] for n in transfer.new})


def test_a_transfer_says_in_one_line_what_it_did(small, file, backbone):
    n = len(backbone[1])
    assert str(small.net(pretrained=str(backbone[0])).transfer) == (
        f"{backbone[0]}: loaded input_stem, blocks ({n} parameters); new: neck, heads; left out: classifier"
    )
    whole = small.net(pretrained=file).transfer
    assert str(whole) == (
        f"{file}: loaded input_stem, blocks, neck, heads ({len(whole.loaded)} parameters);"
        " new: nothing; left out: nothing"
    )


def test_parts_of_other_sizes_start_fresh_around_the_same_backbone(small, file):
    """A detector of three classes gives its backbone and neck to one of five."""
    network, fresh = (SearchNet(5, space=small.SPACE, **small.OPTIONS) for _ in range(2))
    transfer = transfer_weights(network, file)
    after, stored = small.values(network), small.values(small.awake(small.net()))
    for name, value in after.items():
        from_file = not name.startswith("heads/")
        assert np.array_equal(value, stored[name] if from_file else small.values(fresh)[name]), name
        assert (name in transfer.loaded, name in transfer.new) == (from_file, not from_file)
    assert str(transfer).endswith("new: heads; left out: heads")


def test_pretrained_is_a_transfer_at_building(small, backbone):
    file, values = backbone
    network = small.net(pretrained=str(file))
    assert network.transfer.loaded == list(values)
    assert equal({name: network.get_parameters()[name].d for name in values}, values)
    assert small.net().transfer is None


def test_a_stem_trained_with_another_activation_is_refused(small, file):
    with pytest.raises(WeightsError) as caught:
        small.net(stem_activation="relu", pretrained=file)
    assert str(caught.value) == (
        f"{file} was trained with stem_activation relu6, and this network has relu;"
        " set the network's stem_activation to relu6"
    )
    save_weights(small.net(stem_activation="relu"), file)
    assert small.net(stem_activation="relu", pretrained=file).transfer.new == []
    with h5py.File(file, "a") as stored:
        del stored.attrs["stem_activation"]  # as in a file of the host's
    assert small.net(pretrained=file).transfer.new == []


# ---- what is refused


def refusal(small, network, load, file):
    """What the load says; nothing was loaded."""
    before = small.values(network)
    with pytest.raises(WeightsError) as caught:
        load(network, file)
    assert equal(small.values(network), before)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_sizes_of_another_network_are_listed_and_nothing_is_loaded(small, file):
    message = refusal(small, small.net(head=12, seed=4), load_weights, file)
    assert message.startswith(f"{file} holds the weights of another network: ")
    assert "heads/heatmap/hidden/conv/_W is (8, 8, 3, 3) in the file and (12, 8, 3, 3) in the network" in message
    assert message.endswith(" and 5 more")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"width_scale": 0.25}, "input_stem/0/conv/conv/_W is (4, 3, 3, 3) in the file and (8, 3, 3, 3) in the netw"),
        ({"expands": [0.2, 0.5]}, "blocks/0/conv1/conv/conv/_W is (12, 8, 1, 1) in the file and (16, 8, 1, 1) in the"),
        ({"depths": [0, 1]}, "blocks/2/conv1/conv/conv/_W is (12, 32, 1, 1) in the file and (24, 32, 1, 1) in the ne"),
        ({"base_depths": [1, 1, 1, 2]}, "blocks/12/conv1/conv/conv/_W is missing; "),
        ({"base_depths": [1, 1, 1, 1], "depths": [0, 1]}, "blocks/2/conv1/conv/conv/_W is (12, 32, 1, 1) in the file"),
    ],
    ids=str,
)
def test_a_backbone_of_other_widths_or_depths_is_refused_whole(small, file, other, said):
    network = SearchNet(3, space={**small.SPACE, **other}, **small.OPTIONS)
    message = refusal(small, network, transfer_weights, file)
    assert message.startswith(f"{file} holds the weights of another network: {said}")


def test_a_deeper_backbone_than_the_networks_is_refused(small, tmp_path):
    deeper = SearchNet(3, space={**small.SPACE, "base_depths": [1, 1, 1, 2]}, **small.OPTIONS)
    save_weights(deeper, tmp_path / "deeper.h5")
    message = refusal(small, small.net(), transfer_weights, tmp_path / "deeper.h5")
    assert "another network: blocks/12/conv1/conv/conv/_W (" in message and ") is not in the network" in message


def test_values_that_are_not_finite_are_refused(small, file):
    with h5py.File(file, "a") as stored:
        stored["blocks/3/conv2/bn/bn/_var"][0, 1] = np.nan
    message = refusal(small, small.net(), transfer_weights, file)
    assert message == f"weights file {file}: blocks/3/conv2/bn/bn/_var holds values that are not finite"


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


@pytest.mark.parametrize("load", [load_weights, transfer_weights])
@pytest.mark.parametrize(
    ("name", "kept", "message"),
    [
        ("gone.h5", None, "does not exist"),
        ("", None, "is a folder"),
        ("weights.h5", slice(-3000), "cannot be read: .*truncated"),
        ("weights.h5", slice(0), "cannot be read: "),
        ("weights.h5", slice(1, None), "cannot be read: "),
        ("weights.pth", slice(None), "holds no parameters; it must be NNabla's HDF5, with suffix .h5"),
    ],
    ids=["missing", "folder", "cut off", "empty", "no signature", "suffix"],
)
def test_what_is_no_weights_file_is_said_in_one_line(small, file, load, name, kept, message):
    broken = file.parent / name
    if kept:
        broken.write_bytes(file.read_bytes()[kept])
    with pytest.raises(WeightsError, match=f"weights file {broken} {message}") as caught:
        load(small.net(), broken)
    assert "\n" not in str(caught.value)


def test_an_hdf5_file_of_another_program_is_refused(small, tmp_path):
    with h5py.File(tmp_path / "foreign.h5", "w") as stored:
        stored["weight"] = np.zeros(3)
    with pytest.raises(WeightsError, match="foreign.h5 holds the weights of another network: input_stem/0/.* is miss"):
        load_weights(small.net(), tmp_path / "foreign.h5")
    with h5py.File(tmp_path / "void.h5", "w"):
        pass
    with pytest.raises(WeightsError, match="void.h5 holds no parameters"):
        load_weights(small.net(), tmp_path / "void.h5")
