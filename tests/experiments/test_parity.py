"""The comparison with the PyTorch reference, as far as it goes without PyTorch: names, figures, and our own side."""

import numpy as np
import pytest

from experiments.parity import exchange, ours
from experiments.parity.__main__ import difference, differences, named_paths, settled

SMALL = ours.Settings(n_classes=2, neck=(6, 5, 4), head=3, width_scale=0.05, channel_divisor=1)


@pytest.fixture(scope="module")
def weights():
    return settled(ours.weights_of(ours.network(SMALL)))


@pytest.fixture(scope="module")
def steps(weights):
    """`ours.steps` of the small network on two images of 64 px with an object each."""
    rng = np.random.default_rng(0)
    heatmap = rng.uniform(0, 0.9, (2, 2, 16, 16)).astype(np.float32)
    heatmap[:, 0, 5, 6] = 1
    pairs = rng.uniform(0, 1, (2, 2, 1, 2)).astype(np.float32)
    targets = [heatmap, *pairs, np.full((2, 1), 5 * 16 + 6, np.int32), np.ones((2, 1), np.float32)]
    images, paths = rng.standard_normal((2, 3, 64, 64)).astype(np.float32), named_paths(SMALL.space())
    assert len({path.tobytes() for path in paths.values()}) == 7

    def call(kernels, name, n):
        return ours.steps(ours.network(SMALL, kernels, weights), paths[name], images, targets, rate=1e-3, n=n)

    return call


def test_all_weights_have_the_references_names_and_come_back_from_them(weights):
    known = {"heads/size/hidden/conv/_b": "heads.size.hidden.bias", "neck/2/bn/bn/_beta": "neck.2.bn.bias"}
    known["blocks/3/downsample/bn/bn/_var"] = "backbone.blocks.3.downsample.bn.bn.running_var"
    known["input_stem/1/conv/conv/conv/_W"] = "backbone.input_stem.1.conv.conv.conv.weight"
    assert [exchange.torch_name(name) for name in known] == [*known.values()]
    theirs = exchange.to_torch(weights)
    assert len(theirs) == len(weights)
    assert all(value.ndim == 1 for name, value in theirs.items() if ".bn." in name)
    back = exchange.from_torch(theirs, {name: value.shape for name, value in weights.items()})
    assert all(np.array_equal(back[name], value) for name, value in weights.items())


def test_files_hold_arrays_and_options_and_no_pickles(tmp_path):
    exchange.write(tmp_path / "a.npz", {"targets/0": np.arange(3), "targets/1": np.eye(2)}, {"rate": 0.5})
    arrays, options = exchange.read(tmp_path / "a.npz")
    assert options == {"rate": 0.5} and list(exchange.group(arrays, "targets")) == ["0", "1"]
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        exchange.read(tmp_path / "a.npz")


def test_without_the_peers_environment_it_is_said_how_it_is_made(monkeypatch, tmp_path):
    monkeypatch.setitem(exchange.PYTHONS, "peers", str(tmp_path / "python"))
    with pytest.raises(SystemExit, match="make .venv-peers/stamp"):
        exchange.ask("steps", {}, {})


def test_differences_are_relative_to_the_truth_the_worst_first():
    assert difference(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == pytest.approx(0.1)
    assert difference(np.zeros(2), np.zeros(2)) == 0 and difference(np.ones(2), np.zeros(2)) == np.inf
    truth = {"a": np.ones(4), "b": np.ones(4)}
    assert list(differences({"a": np.ones(4), "b": 1.1 * np.ones(4)}, truth)) == ["b", "a"]
    with pytest.raises(ValueError, match="only one side has \\['b'\\]"):
        differences({"a": np.ones(4)}, truth)


# ReLUs: of the pooled map, of the stem, three a block, of neck and heads
@pytest.mark.parametrize(("name", "relus"), [("largest", 1 + 3 + 3 * 18 + 6), ("smallest", 1 + 2 + 3 * 10 + 6)])
def test_both_kernels_step_alike_and_as_adams_equations_say(steps, name, relus):
    numpy, nnabla = (steps(kernels, name, 3) for kernels in ours.KERNELS)
    for found in (numpy, nnabla):
        for tensor in found.gradients[0]:
            change = ours.adam([one[tensor] for one in found.gradients], 1e-3)
            assert difference(found.first[f"change/{tensor}"], change) < 1e-3, tensor
    assert numpy.kinks.keys() == nnabla.kinks.keys() and len(numpy.kinks) == 3 * relus  # steps
    for key in (key for key in numpy.kinks if key.startswith("masks/0/")):
        assert np.mean(numpy.kinks[key] == nnabla.kinks[key]) > 0.99, key
    for key in (key for key in numpy.first if key.startswith(("maps/", "losses/"))):
        assert difference(numpy.first[key], nnabla.first[key]) < 1e-2, key  # NNabla's variance on a CPU loses digits


def test_adams_two_places_of_epsilon_agree_but_for_tiny_gradients():
    large, tiny = ([scale * np.array([1.0, -2.0])] * 3 for scale in (1e-2, 1e-7))
    assert difference(ours.adam(large, 1e-3), ours.adam(large, 1e-3, corrected=True)) < 1e-4
    assert difference(ours.adam(tiny, 1e-3), ours.adam(tiny, 1e-3, corrected=True)) > 0.1
    assert ours.adam(large, 1e-3, corrected=True) == pytest.approx([-3e-3, 3e-3], rel=1e-5)
