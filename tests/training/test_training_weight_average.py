"""Averaged weights are the plain mean of those behind the steps, wherever training was interrupted."""

import shutil

import nnabla as nn
import nnabla.solvers as S  # noqa: N812
import numpy as np
import pytest
from small_runs import TINY, Command, arrays

from nnabla_detofa.errors import RunFolderError
from nnabla_detofa.training import checkpoint
from nnabla_detofa.training.checkpoint import Checkpoints
from nnabla_detofa.training.step import PathStep
from nnabla_detofa.training.weight_average import WeightAverage

SHAPES = {"conv/W": (4, 3, 3, 3), "bn/mean": (1, 4, 1, 1)}
LAST = {**TINY, "hparams": {**TINY["hparams"], "weight_average": 1}, "args": {**TINY["args"], "checkpoint_steps": 1}}


def weights(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {
        name: nn.Variable.from_numpy_array(rng.standard_normal(shape).astype(np.float32))
        for name, shape in shapes.items()
    }


def values(parameters):
    return {name: one.d.copy() for name, one in parameters.items()}


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


@pytest.mark.parametrize("stop", [0, 1, 4])
def test_the_mean_of_what_was_added_whether_stopped_or_not(tmp_path, stop):
    average, seen = WeightAverage(), []
    for step in range(5):
        if step == stop:
            (tmp_path / "average.h5").write_bytes(average.as_bytes())
            average = WeightAverage()
            average.load(tmp_path / "average.h5", weights(0))
        parameters = weights(step)
        seen.append(values(parameters))
        average.add(parameters)
        same(values(parameters), seen[-1])
    average.put(parameters)
    means = {name: np.mean([one[name] for one in seen], axis=0, dtype=np.float64) for name in SHAPES}
    assert average.n == 5
    same(values(parameters), {name: one.astype(np.float32) for name, one in means.items()})


def test_without_steps_weights_are_as_they_are(tmp_path):
    average, parameters = WeightAverage(), weights(0)
    (tmp_path / "average.h5").write_bytes(average.as_bytes())
    average.load(tmp_path / "average.h5", parameters)
    average.put(parameters)
    same(values(parameters), values(weights(0)))


@pytest.mark.parametrize("shapes", [{}, {"conv/W": (4, 3, 3, 3)}, {**SHAPES, "bn/mean": (1, 5, 1, 1)}])
def test_the_average_of_another_network_is_refused(tmp_path, shapes):
    average = WeightAverage()
    average.add(weights(0, shapes))
    (tmp_path / "average.h5").write_bytes(average.as_bytes())
    with pytest.raises(RunFolderError, match="average.h5 is no average of these weights"):
        WeightAverage().load(tmp_path / "average.h5", weights(0))


@pytest.mark.parametrize("content", [b"", b"no HDF5"])
def test_what_is_no_average_is_refused(tmp_path, content):
    (tmp_path / "average.h5").write_bytes(content)
    with pytest.raises(RunFolderError):
        WeightAverage().load(tmp_path / "average.h5", weights(0))


class Network:
    """What a checkpoint needs of a network."""

    stem_activation = "relu"

    def __init__(self):
        self.parameters = weights(0)

    def get_parameters(self, grad_only=False):  # noqa: ARG002
        return self.parameters


def test_a_checkpoint_without_the_average_that_belongs_to_it_is_damaged(tmp_path):
    network, solver = Network(), S.Sgd(1.0)
    solver.set_parameters(network.parameters)
    own = Checkpoints(tmp_path / "checkpoint_x", lambda _: None, None, WeightAverage())
    own.save(1, {}, network=network, solver=solver)
    assert own.load(network=network, solver=solver)["step"] == 1
    (tmp_path / "checkpoint_x" / "000000001" / checkpoint.AVERAGE).unlink()
    with pytest.raises(RunFolderError, match="average.h5"):
        own.load(network=network, solver=solver)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory, pictures):
    """A run whose stages average their last epoch, and the weights behind each step of training."""
    command, seen, step = Command(tmp_path_factory.mktemp("averaged"), pictures, tiny=LAST), [], PathStep.__call__

    def counted(self, path):
        found = step(self, path)
        seen.append(values(self._model.get_parameters()))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PathStep, "__call__", counted)
        assert command().code == 0
    return command, seen


def test_a_run_keeps_the_mean_of_its_last_epoch(averaged):
    """Two steps an epoch, of one epoch of warm-up and two of fine-tuning."""
    command, seen = averaged
    assert len(seen) == 6
    means = {name: np.mean([one[name] for one in seen[-2:]], axis=0, dtype=np.float64) for name in seen[0]}
    same(arrays(command.folder / "weights.h5"), {name: one.astype(np.float32) for name, one in means.items()})
    assert any((seen[-1][name] != means[name].astype(np.float32)).any() for name in means)


def test_the_next_stage_goes_on_from_the_weights_themselves(averaged, finished):
    """Warm-up is as without an average; the first step of fine-tuning begins where it ended."""
    (command, seen), (plain, _) = averaged, finished
    for folder in (command.folder, plain.folder):
        same(arrays(folder / "checkpoint_warmup/000000002/weights.h5"), seen[1])
    untouched = [name for name in seen[1] if (seen[1][name] == seen[2][name]).all()]
    assert any((seen[0][name] != seen[1][name]).any() for name in untouched)  # or a mean would pass for them


@pytest.mark.parametrize("call", [2, 6])
def test_an_interrupted_run_ends_as_one_that_was_left_alone(averaged, interrupt, pictures, tmp_path, call):
    command = Command(tmp_path, pictures, tiny=LAST)
    interrupt(PathStep, "__call__", call=call)
    assert command().code != 0
    interrupt(PathStep, "__call__", call=0)
    assert command().code == 0
    whole = averaged[0].folder
    assert (command.folder / "weights.h5").read_bytes() == (whole / "weights.h5").read_bytes()
    for name in ("paths_warmup.csv", "paths_final.csv", "detectors.json"):
        assert (command.folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_finished_run_measures_averaged_weights_again(averaged, pictures, tmp_path):
    """What a later stage lost is made again of the same weights."""
    shutil.copytree(averaged[0].folder.parent, tmp_path / "log")
    command = Command(tmp_path, pictures, tiny=LAST)
    (command.folder / "paths_warmup.csv").unlink()
    (command.folder / "detectors.json").unlink()
    assert command().code == 0
    for name in ("paths_warmup.csv", "detectors.json"):
        assert (command.folder / name).read_bytes() == (averaged[0].folder / name).read_bytes()


def test_another_window_is_another_stage(averaged, pictures, tmp_path):
    shutil.copytree(averaged[0].folder.parent, tmp_path / "log")
    assert "weight_average" in Command(tmp_path, pictures, tiny=LAST)("hparams.weight_average=0.5").refusal


def test_processes_keep_the_mean_of_the_weights_that_they_share(command, pictures):
    """The last two checkpoints are of the last epoch's two steps."""
    hparams = {**LAST["hparams"], "mini_batch_train": 8}
    together = Command(command.start, pictures, tiny={**LAST, "hparams": hparams})
    assert together.by(2).code == 0
    steps = [arrays(one / "weights.h5") for one in sorted((command.folder / "checkpoint_finetune").iterdir())]
    assert len(steps) == 2
    for name, mean in arrays(command.folder / "weights.h5").items():
        parts = [one[name].astype(np.float64) for one in steps]
        np.testing.assert_array_equal(mean, (sum(parts) / 2).astype(np.float32), err_msg=name)
