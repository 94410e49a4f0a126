"""A checkpoint holds all that the next update needs, and there is a whole one at any moment."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import nnabla as nn
import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.errors import RunFolderError, WeightsError
from nnabla_detofa.storage import files
from nnabla_detofa.training import checkpoint
from nnabla_detofa.training.checkpoint import Checkpoints, lost_parameter
from nnabla_detofa.training.trainer import NONE, Trainer

SHAPES = {"conv/W": (4, 3, 3, 3), "conv/b": (4,), "bn/mean": (1, 4, 1, 1)}


class Network:
    """What a checkpoint needs of a network: weights and a running statistic."""

    stem_activation = "relu"

    def __init__(self, seed, shapes=SHAPES):
        rng = np.random.default_rng(seed)
        self.parameters = {
            name: nn.Variable.from_numpy_array(rng.standard_normal(shape), need_grad=not name.startswith("bn"))
            for name, shape in shapes.items()
        }

    def get_parameters(self, grad_only=False):
        return {name: p for name, p in self.parameters.items() if p.need_grad or not grad_only}


class Training:
    """A network under a solver, updated by gradients drawn from a seed, with the checkpoints of a folder."""

    def __init__(self, folder, seed=0, make=S.Adam, digest="d", shapes=SHAPES):
        self.said = []
        self.checkpoints = Checkpoints(folder, self.said.append, digest)
        self.network, self.solver = Network(seed, shapes), make(1e-2)
        self.solver.set_parameters(self.network.get_parameters(grad_only=True))

    def update(self, seed):
        rng = np.random.default_rng(seed)
        for parameter in self.network.get_parameters(grad_only=True).values():
            parameter.g = rng.standard_normal(parameter.shape)
        self.solver.update()
        return self

    def save(self, step, **state):
        self.checkpoints.save(step, state, network=self.network, solver=self.solver)
        return self

    def load(self):
        state = self.checkpoints.load(network=self.network, solver=self.solver)
        return state if state is None else {key: state[key] for key in state if key not in ("digest", "versions")}

    def weights(self):
        return {name: parameter.d.copy() for name, parameter in self.network.get_parameters().items()}


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoint_warmup"


@pytest.fixture
def training(folder):
    return lambda seed=0, **options: Training(folder, seed, **options)


def places(folder):
    return sorted(one.name for one in folder.iterdir())


@pytest.mark.parametrize("make", [S.Adam, S.AMSBound, S.Momentum, S.Sgd])
@pytest.mark.parametrize("steps", [0, 3])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(training, make, steps):
    whole = training(make=make)
    for step in range(steps):
        whole.update(step)
    whole.save(steps, sampler={"queue": [[0, 1, -1]]})
    resumed = training(seed=1, make=make)
    assert resumed.load() == {"step": steps, "sampler": {"queue": [[0, 1, -1]]}}
    same(resumed.weights(), whole.weights())
    same(resumed.update(7).update(8).weights(), whole.update(7).update(8).weights())


def test_the_last_two_are_kept(training, folder):
    one = training()
    before = one.weights()
    assert one.load() is None
    same(one.weights(), before)
    for step in (3, 10, 9_999, 10_000):
        one.update(step).save(step)
    assert places(folder) == ["000009999", "000010000"]
    assert training().load() == {"step": 10_000}


@pytest.mark.parametrize(("first_sees", "found"), [(5, {"step": 5}), (None, None)])
def test_all_processes_go_on_from_the_checkpoint_of_the_first(training, folder, first_sees, found):
    """Though a shared disk shows this one another list of them."""
    one = training().update(0).save(5)
    then = one.weights()
    one.update(1).save(9)
    other, waited = training(seed=1), []
    before = other.weights()
    processes = SimpleNamespace(is_first=False, number_of_first=lambda _: NONE if first_sees is None else first_sees)
    trainer = Trainer(
        other.network,
        SimpleNamespace(loader=range(4), solver=other.solver),
        batch=2,
        session=SimpleNamespace(processes=processes),
        stages=SimpleNamespace(wait_for=waited.extend),
        options=None,
        record={},
    )
    state = trainer._load(other.checkpoints)
    assert (state and {"step": state["step"]}) == found
    assert waited == ([f"{folder.name}/000000005"] if found else [])
    same(other.weights(), then if found else before)


@pytest.mark.parametrize("name", ["weights.h5", "solver.h5", "state.json", "sums.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(training, folder, name, damage):
    first = training().update(0).save(5)
    before = first.weights()
    first.update(1).save(9)
    file = folder / "000000009" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    resumed = training(seed=1)
    assert resumed.load() == {"step": 5}
    same(resumed.weights(), before)
    (said,) = resumed.said
    assert said.startswith(f"{folder}/000000009 is damaged") and said.endswith(" 000000005")
    assert name in said or name == files.SUMS


def test_what_is_damaged_does_not_crowd_out_what_is_whole(training, folder):
    one = training().save(1).save(2).save(9)
    (folder / "000000009" / "solver.h5").write_bytes(b"damaged")
    one.save(4)
    assert places(folder) == ["000000002", "000000004"]
    (folder / "000000004" / "solver.h5").write_bytes(b"damaged")
    one.update(0).save(4)
    assert (training().load(), one.said) == ({"step": 4}, [])
    before = (folder / "000000004").stat().st_ino
    one.save(4)  # what is whole already is left alone
    assert (folder / "000000004").stat().st_ino == before


def test_none_is_whole(training, folder):
    one = training().save(1).save(2)
    for place in places(folder):
        (folder / place / "weights.h5").write_bytes(b"damaged")
    with pytest.raises(RunFolderError, match=f"000000001 is damaged .*weights.h5.* none before it; delete {folder} "):
        one.load()


STOPS = [(Path, "mkdir"), (Path, "rename"), (shutil, "rmtree"), (os, "fsync"), (checkpoint, "as_contents")]


@pytest.mark.parametrize(("owner", "name"), STOPS)
@pytest.mark.parametrize("call", [1, 2, 3])
def test_stopped_anywhere_in_writing_one(training, folder, monkeypatch, owner, name, call):
    one = training().save(1).update(0).save(2)
    original, calls = getattr(owner, name), []

    def stop(*arguments, **options):
        calls.append(name)
        if len(calls) >= call:  # as a kill would, nothing is done from here on
            raise KeyboardInterrupt
        return original(*arguments, **options)

    before = one.update(1).weights()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, stop)
        with contextlib.suppress(KeyboardInterrupt):
            one.save(3)
    resumed = training(seed=1)
    step = resumed.load()["step"]
    assert step in (2, 3)
    if step == 3:
        same(resumed.weights(), before)
    resumed.update(5).save(4)
    assert training().load() == {"step": 4}
    assert len(places(folder)) == 2
    assert resumed.said == []


def test_a_full_disk_leaves_those_before_as_they_are(training, folder, monkeypatch):
    one = training().save(1).save(2)
    write, room = files._write, [2]

    def full(file, content):
        room[0] -= 1
        if room[0] < 0:
            raise OSError(28, "No space left on device")
        write(file, content)

    with monkeypatch.context() as patch, pytest.raises(RunFolderError, match="000000003 cannot be written: No space"):
        patch.setattr(files, "_write", full)
        one.save(3)
    assert places(folder) == ["000000001", "000000002"]  # nothing half written takes up room
    assert training().load() == {"step": 2}


def test_other_settings_are_refused_and_another_release_is_said(training, folder, monkeypatch):
    training().save(3)
    with pytest.raises(RunFolderError, match=f"000000003 was made under other settings .*; delete {folder} "):
        training(digest="e").load()
    assert training(digest=None).load() == {"step": 3}
    monkeypatch.setattr(checkpoint, "version", lambda _: "9.9")
    one = training()
    assert one.load() == {"step": 3}
    assert "'nnabla': '9.9'" in one.said[0] and one.said[0].endswith("last digits may differ")


def forge(place, name, content):
    """A file with the checksum that it should have."""
    contents = {one.name: one.read_bytes() for one in place.iterdir() if one.name != files.SUMS}
    shutil.rmtree(place)
    files.write_folder(place, {**contents, name: content})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("state.json", content) for content in (b"[]", b"{}", b'{"step": 4}', b'{"step": "3"}')),
        *(("solver.h5", content) for content in (b"", b"no HDF5")),
    ],
)
def test_a_state_that_is_none(training, folder, name, content):
    one = training().save(3)
    forge(folder / "000000003", name, content)
    with pytest.raises(RunFolderError, match=f"{name} is .*; delete {folder} to train this stage anew"):
        one.load()


def test_another_solver_or_network(training, folder):
    training().save(3)
    with pytest.raises(RunFolderError, match="solver.h5 is not the state of this solver"):
        training(make=S.Momentum).load()
    other = training(shapes={**SHAPES, "conv/b": (5,)})
    with pytest.raises(WeightsError, match="conv/b"):
        other.load()
    contents = checkpoint.as_contents(Network(0), other.solver, {"step": 3})
    forge(folder / "000000003", "solver.h5", contents["solver.h5"])
    with pytest.raises(RunFolderError, match="conv/b/(mean|var) is .5,., not .4,."):
        training().load()


def test_everything_is_json_or_hdf5(training, folder):
    one = training().update(0).save(3, sampler={"rng": np.random.default_rng(0).bit_generator.state})
    assert lost_parameter(one.network) is None
    one.network.parameters["conv/b"].d[2] = np.inf
    assert lost_parameter(one.network) == "conv/b"
    contents = {one.name: one.read_bytes() for one in (folder / "000000003").iterdir()}
    assert all(content.startswith(b"\x89HDF") for name, content in contents.items() if name.endswith(".h5"))
    assert json.loads(contents["state.json"])["step"] == 3
    assert set(contents) == {"weights.h5", "solver.h5", "state.json", "sums.json"}
    assert set(json.loads(contents["sums.json"])) == {"weights.h5", "solver.h5", "state.json"}


@pytest.mark.parametrize("put", [Path.touch, lambda place: place.symlink_to("nowhere")], ids=["file", "link"])
def test_what_is_no_checkpoint_in_its_place_is_passed_over_and_replaced(training, folder, put):
    expected = training().update(1).save(1).weights()
    put(folder / "000000002")
    again = training(seed=9)
    assert again.load() == {"step": 1}
    same(again.weights(), expected)
    assert len(again.said) == 1 and "000000002 is damaged" in again.said[0]
    again.save(2).save(3)
    assert places(folder) == ["000000002", "000000003"]
