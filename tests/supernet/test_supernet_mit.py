"""MIT's parameter names: what becomes of each, and that the network they load into has that very backbone."""

import h5py
import numpy as np
import pytest

from nnabla_detofa.errors import WeightsError
from nnabla_detofa.supernet import from_mit, write_mit_weights

OURS = {"_W": "weight", "_gamma": "weight", "_beta": "bias", "_mean": "running_mean", "_var": "running_var"}


def mit_name(name, *, published):
    """MIT's name of one of our backbone's parameters; the published files do not repeat `conv` and `bn`."""
    *place, kind, _, value = name.split("/")
    return ".".join([*place, kind, *([] if published else [kind]), OURS[value]])


@pytest.fixture(params=[True, False], ids=["published", "package"])
def state(request, small):
    """A synthetic state dictionary of the small network's backbone, with a classifier of 7 classes; and the arrays."""
    values = small.values(small.awake(small.net(stem_activation="relu"))).items()
    own = {name: v.astype(np.float32) for name, v in values if name.startswith(("input_stem", "blocks"))}
    state = {
        mit_name(name, published=request.param): v.reshape(-1) if v.shape[0] == 1 else v for name, v in own.items()
    }
    linear = "classifier.linear" if request.param else "classifier.linear.linear"
    rng = np.random.default_rng(0)
    state |= {f"{linear}.weight": rng.standard_normal((7, 24)), f"{linear}.bias": rng.standard_normal(7)}
    return state | {"input_stem.0.bn.num_batches_tracked": np.array(3)}, own


def test_every_name_of_the_backbone_becomes_the_hosts(state):
    given, own = state
    found = from_mit(given)
    assert set(found) == {*own, "classifier/0/linear/linear/_W", "classifier/0/linear/linear/_b"}
    for name, value in own.items():
        np.testing.assert_array_equal(found[name].d, value, err_msg=name)
        assert found[name].need_grad == (not name.endswith(("_mean", "_var")))
    matrix = next(value for name, value in given.items() if name.startswith("classifier") and value.ndim == 2)
    np.testing.assert_array_equal(found["classifier/0/linear/linear/_W"].d, matrix.T.astype(np.float32))


@pytest.mark.parametrize("published", [True, False], ids=["published", "package"])
def test_every_name_of_mobilenetv3_becomes_the_hosts(mobile, published, tmp_path):
    own = mobile.values(mobile.awake(mobile.classifier(7)))
    state = {"blocks.0.conv.depth_conv.bn.num_batches_tracked": np.array(3)}
    for name, value in own.items():
        *place, last = name.split("/")
        of_norm, learned = place[-1] == "bn", last in ("_W", "_gamma") or last.endswith("_matrix")
        theirs = ".".join([*place, last if last.endswith("_matrix") else OURS.get(last, "bias")])
        if published:
            theirs = theirs.replace(".conv.conv.weight", ".conv.weight").replace(".bn.bn.", ".bn.")
            theirs = theirs.replace(".conv.", ".mobile_inverted_conv.", 1) if theirs.startswith("blocks") else theirs
        assert of_norm == (value.shape[0] == 1 and value.ndim == 4) and (learned or value.ndim != 2)
        state[theirs] = value.ravel() if of_norm else value.T if value.ndim == 2 else value
    assert write_mit_weights(state, tmp_path / "mit.h5") == len(own)
    found = mobile.values(mobile.classifier(7, pretrained=str(tmp_path / "mit.h5"), seed=3))
    for name, value in own.items():
        np.testing.assert_array_equal(np.float32(found[name]), np.float32(value), err_msg=name)


def test_the_file_gives_a_detector_its_backbone(state, small, tmp_path):
    (given, own), file = state, tmp_path / "mit.h5"
    assert write_mit_weights(given, file) == len(own) + 2
    with h5py.File(file) as stored:
        assert stored.attrs["stem_activation"] == "relu"
    network = small.net(stem_activation="relu", pretrained=str(file), seed=3)
    after = small.values(network)
    assert all(np.array_equal(after[name], value) for name, value in own.items())
    assert str(network.transfer).endswith("; new: neck, heads/heatmap, heads/size, heads/offset; left out: classifier")
    with pytest.raises(WeightsError, match="stem_activation"):
        small.net(pretrained=str(file))


def test_a_checkpoint_that_lacks_a_block_is_found_at_loading(state, small, tmp_path):
    write_mit_weights({n: v for n, v in state[0].items() if not n.startswith("blocks.4.")}, tmp_path / "mit.h5")
    with pytest.raises(WeightsError, match="blocks/4/conv1/conv/conv/_W is missing"):
        small.net(stem_activation="relu", pretrained=str(tmp_path / "mit.h5"))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        (None, None),
        ("input_stem.0.bn.num_batches_tracked", 1),
        ("first_conv.conv.bias", 1),
        ("blocks.1.mobile_inverted_conv.depth_conv.conv.conv.weight", (1, 1, 7, 7)),
        ("input_stem.0.conv.bias", 1),
        ("input_stem.0.bn.weight", (1, 2)),
        ("classifier.linear.weight", 3),
    ],
    ids=["empty", "counts alone", "a bias of MobileNetV3", "its block alone", "a bias", "a shape", "a flat matrix"],
)
def test_another_networks_state_is_refused_and_nothing_is_written(name, shape, tmp_path):
    with pytest.raises(WeightsError, match="parameters of MIT" if not name or "tracked" in name else name):
        write_mit_weights({name: np.zeros(shape)} if name else {}, tmp_path / "mit.h5")
    assert not [*tmp_path.iterdir()]
