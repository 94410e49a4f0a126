"""A step whose loss is lost is kept whole: path, images, weights; and gives the same losses again anywhere."""

import json
import re
import shutil
import subprocess
import sys

import h5py
import nnabla.functions as F  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.errors import NumericError, RunFolderError
from nnabla_detofa.training import replay as replay_module
from nnabla_detofa.training.files import write_folder
from nnabla_detofa.training.replay import main, replay
from nnabla_detofa.training.step import MOST_NAMES, PathStep

BIAS = "heads/size/output/conv/_b"


@pytest.fixture
def searcher(ready, tmp_path, monkeypatch):
    """The searcher with a folder of its own; weights and loader as before afterwards."""
    before = {name: p.d.copy() for name, p in ready.model.get_parameters().items()}
    monkeypatch.setattr(ready.folder, "path", tmp_path)
    monkeypatch.setattr(ready, "_step", 7)
    yield ready
    for name, parameter in ready.model.get_parameters().items():
        parameter.d = before[name]
    ready.dataloader["train"].seek(0)


@pytest.fixture
def lost(searcher, tmp_path):
    """The folder of a step that lost its loss to a weight, and what was said."""
    searcher.dataloader["train"].seek(5)
    searcher.model.get_parameters()[BIAS].d = np.nan
    with pytest.raises(NumericError) as caught:
        searcher.train_on_batch(path=searcher.space.largest())
    return tmp_path / "debug_step_7", str(caught.value)


def names(searcher, *, batch):
    """Of the images that the loader gives after so many batches."""
    loader = searcher.dataloader["train"]
    loader.seek(batch)
    return [loader.dataset.picture(i)[0].name for i in loader.next()["indices"]]


def test_step_path_and_images_are_named(searcher, lost):
    folder, said = lost
    assert said == (
        f"the training loss is nan at step 7, path {searcher.space.largest().tolist()}, images"
        f" {', '.join(names(searcher, batch=5))}; python -m nnabla_detofa.training.replay {folder} shows it again; the"
        " last checkpoint is kept; try a lower optimizer.train.alpha or an optimizer.train.grad_clip"
    )


def test_training_would_go_on_with_the_next_batch(searcher, lost):  # noqa: ARG001
    assert searcher.dataloader["train"].state() == {"batches": 6}


def test_what_is_kept(searcher, lost):
    folder, _ = lost
    record = json.loads((folder / "state.json").read_text())
    assert (record["step"], record["lost"]) == (7, BIAS)
    assert record["images"] == [names(searcher, batch=5)]
    assert record["hparams"]["seed"] == 0
    assert set(record["state"]) == {"sampler", "loss_scale", "losses"}
    assert {file.name for file in folder.iterdir()} == {
        *("weights.h5", "solver.h5", "state.json", "sums.json", "batches.h5")
    }
    searcher.dataloader["train"].seek(5)
    batch = searcher.dataloader["train"].next()
    with h5py.File(folder / "batches.h5") as arrays:
        np.testing.assert_array_equal(arrays["0/inputs/0"], batch["inputs"][0])
        assert len(arrays["0/targets"]) == len(batch["targets"])


def test_it_is_repeated_without_the_run(lost, capsys):
    folder, _ = lost
    record, (losses,), _ = replay(folder)
    assert np.isnan(losses["loss"]) and np.isnan(losses["size"]) and np.isfinite(losses["heatmap"])
    assert main([str(folder)]) == 0
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == f"step 7, path {record['path']}; not finite in the network: {BIAS}"
    assert third.startswith("gradients that are not finite: ")
    assert second.startswith("batch 0: loss nan, heatmap ") and second.endswith(", ".join(record["images"][0]))


def test_losses_that_are_finite_are_repeated_exactly(searcher, tmp_path):
    path, loader = searcher.space.smallest(), searcher.dataloader["train"]
    loader.seek(1)
    searcher._path = path
    searcher._keep_step(np.array([True]))  # as if the batch before had been lost
    _, (losses,), lost = replay(tmp_path / "debug_step_7")
    loader.seek(0)
    assert (losses, lost) == (searcher.train_on_batch(path=path), [])


def test_as_a_command(lost):
    command = [sys.executable, "-m", "nnabla_detofa.training.replay", str(lost[0])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)


def test_the_same_step_again_takes_the_place_of_the_first(searcher, lost):
    folder, said = lost
    (folder / "extra").touch()
    searcher.dataloader["train"].seek(5)
    with pytest.raises(NumericError) as caught:
        searcher.train_on_batch(path=searcher.space.largest())
    assert str(caught.value) == said
    assert not (folder / "extra").exists()


def test_a_gradient_that_is_lost_where_the_loss_is_not(searcher, tmp_path, monkeypatch):
    def lose(self, outputs, placeholder):
        """The loss, and no gradient: 0 times the derivative of a root at 0."""
        loss, terms = losses(self, outputs, placeholder)
        return loss + F.sum((outputs[1] - outputs[1]) ** 0.5), terms

    losses = PathStep.losses
    monkeypatch.setattr(PathStep, "losses", lose)
    path, before = searcher.space.smallest(), searcher.model.get_parameters()[BIAS].d.copy()
    with pytest.raises(NumericError, match=r"a gradient is not finite at step 7, path \[.*\], images 0000\S+\.jpg, "):
        searcher.train_on_batch(path=path)
    assert (searcher.model.get_parameters()[BIAS].d == before).all()
    record, (losses,), _ = replay(tmp_path / "debug_step_7")
    assert record["path"] == path.tolist() and np.isfinite(losses["loss"])


def test_of_many_images_the_first_are_named(searcher, monkeypatch):
    monkeypatch.setattr("nnabla_detofa.training.step.MOST_NAMES", 3)
    searcher.model.get_parameters()[BIAS].d = np.inf
    with pytest.raises(NumericError, match=r"images \S+, \S+, \S+ and 13 more; python -m"):
        searcher.train_on_batch(path=searcher.space.largest())
    assert MOST_NAMES > 3


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["nowhere"]])
def test_what_is_no_kept_step(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "give one folder: " in said or "nowhere is no step that was kept, or damaged: sums.json cannot" in said


@pytest.mark.parametrize("name", ["weights.h5", "state.json", "batches.h5"])
def test_a_damaged_one_is_said(lost, name):
    (lost[0] / name).write_bytes(b"damaged")
    with pytest.raises(RunFolderError, match=f"is no step that was kept, or damaged: the checksum of {name}"):
        replay_module.replay(lost[0])


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("network", {"elsewhere": {}}, "KeyError: 'elsewhere'"),
        ("network", 3, "AttributeError: 'int' object has no attribute 'items'"),
        ("images", [[], []], "TypeError: CenterNet.call() missing 1 required positional"),
        ("images", None, "TypeError: object of type 'NoneType' has no len"),
        ("path", [1, 2], "SpaceError: "),
    ],
)
def test_a_record_of_something_else_is_said(lost, key, value, said):
    folder, _ = lost
    record = json.loads((folder / "state.json").read_text()) | {key: value}
    contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "sums.json"}
    shutil.rmtree(folder)
    write_folder(folder, {**contents, "state.json": json.dumps(record).encode()})
    with pytest.raises(RunFolderError, match=f"is no step that was kept, or damaged: {re.escape(said)}"):
        replay_module.replay(folder)
