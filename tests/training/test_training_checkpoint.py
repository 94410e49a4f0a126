"""A checkpoint holds all that the next update needs, and there is a whole one at any moment."""

from pathlib import Path

import nnabla as nn
import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.errors import NumericError, RunFolderError, WeightsError
from nnabla_detofa.training.checkpoint import load_checkpoint, save_checkpoint

SHAPES = {"conv/W": (4, 3, 3, 3), "conv/b": (4,), "bn/mean": (1, 4, 1, 1)}


class Network:
    """What a checkpoint needs of a network: weights and a running statistic."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.parameters = {
            name: nn.Variable.from_numpy_array(rng.standard_normal(shape), need_grad=not name.startswith("bn"))
            for name, shape in SHAPES.items()
        }

    def get_parameters(self, grad_only=False):
        return {name: p for name, p in self.parameters.items() if p.need_grad or not grad_only}


class Training:
    """A network under a solver, updated by gradients drawn from a seed."""

    def __init__(self, network, solver):
        self.network, self.solver = network, solver
        solver.set_parameters(network.get_parameters(grad_only=True))

    def update(self, seed):
        rng = np.random.default_rng(seed)
        for parameter in self.network.get_parameters(grad_only=True).values():
            parameter.g = rng.standard_normal(parameter.shape)
        self.solver.update()
        return self

    def save(self, folder, **position):
        save_checkpoint(folder, network=self.network, solver=self.solver, position=position)

    def load(self, folder):
        return load_checkpoint(folder, network=self.network, solver=self.solver)

    def weights(self):
        return {name: parameter.d.copy() for name, parameter in self.network.get_parameters().items()}


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)


@pytest.fixture
def training():
    return lambda seed=0, make=S.Adam: Training(Network(seed), make(1e-2))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoint_warmup"


@pytest.mark.parametrize("make", [S.Adam, S.Momentum, S.Sgd])
@pytest.mark.parametrize("steps", [0, 3])
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(training, folder, make, steps):
    whole = training(make=make)
    for step in range(steps):
        whole.update(step)
    whole.save(folder, epoch=2, sampler={"queue": [[0, 1, -1]]})
    resumed = training(seed=1, make=make)
    assert resumed.load(folder) == {"epoch": 2, "sampler": {"queue": [[0, 1, -1]]}}
    same(resumed.weights(), whole.weights())
    same(resumed.update(7).update(8).weights(), whole.update(7).update(8).weights())


def test_no_checkpoint(training, folder):
    one = training()
    before = one.weights()
    assert one.load(folder) is None
    same(one.weights(), before)


def test_the_next_checkpoint_takes_the_place_of_the_last(training, folder):
    one = training()
    one.save(folder, epoch=1)
    one.update(0).save(folder, epoch=2)
    assert training().load(folder) == {"epoch": 2}
    assert [file.name for file in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("stopped_at", [1, 2])
def test_stopped_while_the_folders_are_swapped(training, folder, monkeypatch, stopped_at):
    one = training()
    one.save(folder, epoch=1)
    first = one.weights()
    one.update(0)
    renames, rename = [], Path.rename

    def stop(path, target):
        renames.append(target)
        if len(renames) == stopped_at:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", stop)
        one.save(folder, epoch=2)
    assert len(renames) == stopped_at
    resumed = training(seed=1)
    assert resumed.load(folder) == {"epoch": 1}
    same(resumed.weights(), first)
    resumed.save(folder, epoch=3)
    assert training().load(folder) == {"epoch": 3}


def test_stopped_while_a_checkpoint_is_written(training, folder, monkeypatch):
    one = training()
    one.save(folder, epoch=1)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("nnabla_detofa.training.checkpoint.write_json", stop)
        one.save(folder, epoch=2)
    assert training().load(folder) == {"epoch": 1}


def test_damaged_checkpoints_are_said(training, folder):
    one = training().update(0)
    one.save(folder, epoch=1)
    for name, error in (("solver.h5", RunFolderError), ("weights.h5", WeightsError), ("position.json", RunFolderError)):
        (folder / name).write_bytes(b"damaged")
        with pytest.raises(error, match=f"{name} cannot be read"):
            one.load(folder)


def test_weights_that_are_not_numbers_are_not_kept(training, folder):
    one = training()
    one.save(folder, epoch=1)
    one.network.parameters["conv/b"].d[2] = np.inf
    with pytest.raises(
        NumericError, match="^conv/b is not finite; the last checkpoint is kept; try a lower optimizer.tr"
    ):
        one.save(folder, epoch=2)
    assert training().load(folder) == {"epoch": 1}
