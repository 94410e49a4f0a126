"""Weights on disk: exact round trips, what fits another network, and what is no weights file."""

import h5py
import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, WeightsError
from nnabla_detofa.supernet import (
    extract,
    load_weights,
    network_of,
    save_weights,
    transfer_weights,
    weights_as_bytes,
)


@pytest.fixture
def file(small, tmp_path):
    """The weights of a small network."""
    save_weights(small.awake(small.net()), tmp_path / "weights.h5")
    return tmp_path / "weights.h5"


@pytest.fixture
def backbone(small, tmp_path):
    """A backbone's weights, with those of a classifier beside them; the file and what it should give."""
    network = small.awake(small.classifier(7, seed=5))
    save_weights(network, tmp_path / "backbone.h5")
    own = {name: value for name, value in small.values(network).items() if not name.startswith("classifier")}
    return tmp_path / "backbone.h5", own


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_a_round_trip_is_exact(small, file):
    ours, other = small.awake(small.net()), small.net(seed=9)
    load_weights(other, file)
    assert equal(small.values(ours), small.values(other))
    for a, b in zip(small.outputs(ours), small.outputs(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert weights_as_bytes(other) == file.read_bytes()


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
    network, fresh = small.net(), small.values(small.net())
    transfer = transfer_weights(network, file)
    assert transfer.loaded == list(values)
    assert {name.split("/")[0] for name in transfer.left_out} == {"classifier"}
    assert {name.split("/")[0] for name in transfer.new} == {"neck", "heads"}
    assert set(transfer.loaded) | set(transfer.new) == set(network.get_parameters())
    after = small.values(network)
    assert equal({name: after[name] for name in transfer.loaded}, values)
    assert equal({name: after[name] for name in transfer.new}, {n: fresh[n] for n in transfer.new})


def test_a_transfer_at_building_says_in_one_line_what_it_did(small, file, backbone):
    name, n = backbone[0], len(backbone[1])
    assert str(small.net(pretrained=str(name)).transfer) == (
        f"{name}: loaded input_stem, blocks ({n} parameters);"
        " new: neck, heads/heatmap, heads/size, heads/offset; left out: classifier"
    )
    whole = small.net(pretrained=str(file)).transfer
    assert str(whole).endswith(f"heads/offset ({len(whole.loaded)} parameters); new: nothing; left out: nothing")
    assert small.net().transfer is None


def test_parts_of_other_sizes_start_fresh_around_the_same_backbone(small, file):
    """A detector of three classes gives its backbone, neck and the heads of boxes to one of five."""
    network, fresh = (small.net(5) for _ in range(2))
    transfer = transfer_weights(network, file)
    after, stored = small.values(network), small.values(small.awake(small.net()))
    for name, value in after.items():
        from_file = not name.startswith("heads/heatmap/")
        assert np.array_equal(value, stored[name] if from_file else small.values(fresh)[name]), name
        assert (name in transfer.loaded, name in transfer.new) == (from_file, not from_file)
    assert str(transfer).endswith("new: heads/heatmap; left out: heads/heatmap")


def test_a_stem_trained_with_another_activation_is_refused(small, file):
    with pytest.raises(WeightsError, match="stem_activation relu6, and this network has relu;.* to relu6"):
        small.net(stem_activation="relu", pretrained=str(file))
    save_weights(small.net(stem_activation="relu"), file)
    assert small.net(stem_activation="relu", pretrained=str(file)).transfer.new == []
    with h5py.File(file, "a") as stored:
        del stored.attrs["stem_activation"]  # as in a file of the host's
    assert small.net(pretrained=str(file)).transfer.new == []


# ---- one path of a supernet


@pytest.mark.parametrize("pool", [True, False])
def test_a_supernets_file_is_cut_to_the_path(each, close, tmp_path, pool):
    supernet = each.awake(each.net(stem_pool=pool))
    save_weights(supernet, tmp_path / "weights.h5")
    for path in each.paths(supernet, 5):
        own = {"genotype": supernet.space.genotype(path), "pretrained": str(tmp_path / "weights.h5"), "stem_pool": pool}
        alone = each.net(kind="TrainNet", seed=3, **own)
        assert (alone.transfer.new, alone.transfer.left_out) == ([], [])
        cut = each.values(extract(supernet, path))
        assert equal(each.values(alone), cut)
        supernet.activate(path)
        for ours, theirs in zip(each.outputs(alone), each.outputs(supernet), strict=True):
            close(ours, theirs, 5e-5)


def test_a_backbone_is_cut_too_and_the_rest_begins_anew(small, backbone):
    space, (file, values) = small.net().space, backbone
    genotype = space.genotype(space.smallest())
    network, fresh = (small.net(kind="TrainNet", genotype=genotype, **own) for own in ({"pretrained": str(file)}, {}))
    new = {"neck", "heads"}
    assert {name.split("/")[0] for name in network.transfer.new} == new
    for name, value in small.values(network).items():
        first = name.split("/")[0]
        corner = tuple(slice(n) for n in value.shape)
        wanted = small.values(fresh)[name] if first in new else values[name][corner]
        np.testing.assert_array_equal(value, wanted)


def test_another_path_or_supernet_is_not_cut(small, tmp_path):
    space = small.net().space
    first, second = (
        small.net(kind="TrainNet", genotype=space.genotype(p)) for p in (space.largest(), space.smallest())
    )
    save_weights(second, tmp_path / "path.h5")
    assert "another network: " in refusal(small, first, transfer_weights, tmp_path / "path.h5")
    save_weights(small.net(space={"depths": [0, 1, 3]}), tmp_path / "deeper.h5")
    for network in (first, second):
        assert "another network: " in refusal(small, network, transfer_weights, tmp_path / "deeper.h5")


@pytest.mark.parametrize("labels", [[2, 0, 1], [1], [None, 2, None, 2]])
def test_classes_take_the_channels_of_their_labels(small, file, labels):
    network, fresh = small.net(len(labels), seed=5), small.net(len(labels), seed=5)
    transfer = transfer_weights(network, file, labels=labels)
    stored = small.values(small.awake(small.net()))
    last = [name for name in stored if name.startswith("heads/heatmap/output/")]
    assert transfer.loaded == list(stored)
    assert transfer.new == (last if None in labels else [])
    for name, value in small.values(network).items():
        if name in last:
            rows = [small.values(fresh)[name][i] if j is None else stored[name][j] for i, j in enumerate(labels)]
            np.testing.assert_array_equal(value, rows)
        else:
            np.testing.assert_array_equal(value, stored[name])


def test_classes_without_any_label_get_a_new_head(small, file):
    network = small.net(seed=5)
    transfer = transfer_weights(network, file, labels=[None] * 3)
    assert transfer.new == [name for name in network.get_parameters() if name.startswith("heads/heatmap/")]
    assert {*transfer.left_out} == {*transfer.new}
    fresh = small.values(small.net(seed=5))
    assert all(np.array_equal(small.values(network)[name], fresh[name]) for name in transfer.new)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 3]])
def test_labels_that_there_are_not(small, file, labels):
    with pytest.raises(ConfigError) as caught:
        transfer_weights(small.net(), file, labels=labels)
    assert (caught.value.key, caught.value.given) == ("labels", labels)


def test_a_description_says_which_network_it_is(small):
    space = small.net().space
    options = {"n_classes": 3, "space": small.SPACE, **small.OPTIONS}
    whole = network_of({"ofa_resnet50_centernet": options})
    alone = network_of({"ofa_resnet50_centernet": {**options, "genotype": space.genotype(space.smallest())}})
    assert whole.only is None and whole.largest.tolist() == space.largest().tolist()
    assert alone.largest.tolist() == alone.only.tolist() == space.smallest().tolist()


# ---- what is refused


def refusal(small, network, load, file):
    """The message of the load, one line; nothing was loaded."""
    before = small.values(network)
    with pytest.raises(WeightsError) as caught:
        load(network, file)
    assert equal(small.values(network), before)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)
    return str(caught.value)


def test_exact_loading_lists_what_differs(small, file, backbone):
    message = refusal(small, small.net(head=12, seed=4), load_weights, file)
    assert "heads/heatmap/hidden/conv/_W is (8, 8, 3, 3) in the file and (12, 8, 3, 3) in the network" in message
    assert message.endswith(" and 5 more")
    message = refusal(small, small.net(neck=[8]), load_weights, file)
    assert "neck/1/conv/_W (8, 12, 4, 4) is not in" in message and message.endswith(" and 6 more")
    message = refusal(small, small.net(), load_weights, backbone[0])
    assert "neck/0/conv/_W is missing; " in message and message.endswith(" and 25 more")


@pytest.mark.parametrize(
    ("other", "name", "said"),
    [
        ({"width_scale": 0.25}, "input_stem/0/conv/conv/_W", "is (4, 3, 3, 3) in the file and (8, 3, 3, 3)"),
        ({"expands": [0.2, 0.5]}, "blocks/0/conv1/conv/conv/_W", "is (12, 8, 1, 1) in the file and (16, 8, 1, 1)"),
        ({"depths": [0, 1]}, "blocks/2/conv1/conv/conv/_W", "is (12, 32, 1, 1) in the file and (24, 32, 1, 1)"),
        ({"base_depths": [1, 1, 1, 2]}, "blocks/12/conv1/conv/conv/_W", "is missing"),
    ],
    ids=str,
)
def test_a_backbone_of_other_widths_or_depths_is_refused_whole(small, file, other, name, said):
    network = small.net(space=other)
    assert f"another network: {name} {said}" in refusal(small, network, transfer_weights, file)
    if said == "is missing":
        save_weights(network, file.with_name("deeper.h5"))
        message = refusal(small, small.net(), transfer_weights, file.with_name("deeper.h5"))
        assert f"another network: {name} (" in message and ") is not in the network" in message


def test_values_that_are_not_finite_are_refused(small, file):
    with h5py.File(file, "a") as stored:
        stored["blocks/3/conv2/bn/bn/_var"][0, 1] = np.nan
    assert "blocks/3/conv2/bn/bn/_var holds" in refusal(small, small.net(), transfer_weights, file)


@pytest.mark.parametrize("load", [load_weights, transfer_weights])
@pytest.mark.parametrize(
    ("name", "kept", "said"),
    [
        ("gone.h5", None, "does not exist"),
        ("", None, "is a folder"),
        ("weights.h5", slice(-3000), "cannot be read: "),
        ("weights.h5", slice(0), "cannot be read: "),
        ("weights.h5", slice(1, None), "cannot be read: "),
        ("weights.pth", slice(None), "suffix .h5"),
    ],
    ids=["missing", "folder", "cut off", "empty", "no signature", "suffix"],
)
def test_what_is_no_weights_file_is_said(small, file, load, name, kept, said):
    broken = file.parent / name
    if kept:
        broken.write_bytes(file.read_bytes()[kept])
    assert said in refusal(small, small.net(), load, broken)


@pytest.mark.parametrize("content", [{"fc/_W": np.ones((2, 2))}, {}], ids=["foreign", "void"])
@pytest.mark.parametrize("load", [load_weights, transfer_weights])
def test_an_hdf5_file_of_another_program_is_refused(small, tmp_path, load, content):
    with h5py.File(tmp_path / "other.h5", "w") as stored:
        for name, value in content.items():
            stored[name] = value
    message = refusal(small, small.net(), load, tmp_path / "other.h5")
    assert ("fc/_W" in message or "input_stem/0" in message) if content else "holds no parameters" in message
