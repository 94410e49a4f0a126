"""A step whose loss is lost is kept whole: path, images, weights; and gives the same losses again anywhere."""

import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import h5py
import nnabla.functions as F  # noqa: N812
import numpy as np
import pytest

from nnabla_detofa.errors import NumericError, RunFolderError
from nnabla_detofa.storage.files import write_folder
from nnabla_detofa.training.replay import main, replay

BIAS = "heads/size/output/conv/_b"


@pytest.fixture
def train(run, tmp_path):
    """One step of a path as the eighth of a run, from a batch of the loader on; its folder, and what was said."""
    run.trainer.n_done = 7

    def step(path, batch=0):
        run.step.loader.seek(batch)
        run.trainer._sampler = SimpleNamespace(next=lambda: path, state=dict)
        with pytest.raises(NumericError) as caught:
            run.trainer._train_step("warmup", lambda _: 0.01, None)
        return tmp_path / "debug_step_7", str(caught.value)

    return step


@pytest.fixture
def lost(run, train):
    """The folder of a step that lost its loss to a weight, and what was said."""
    run.model.get_parameters()[BIAS].d = np.nan
    return train(run.space.largest(), 5)


def names(run, batch):
    """Of the images that the loader gives after so many batches."""
    run.step.loader.seek(batch)
    return [run.step.loader.dataset.picture(i)[0].name for i in run.step.loader.next()["indices"]]


def test_step_path_and_images_are_named_and_all_is_kept(run, lost):
    folder, said = lost
    assert run.step.loader.state() == {"batches": 6}  # training would go on with the next one
    images = names(run, 5)
    for part in (" nan at step 7,", str(run.space.largest().tolist()), ", ".join(images), f"replay {folder} "):
        assert part in said
    record = json.loads((folder / "state.json").read_text())
    assert (record["step"], record["lost"], record["images"]) == (7, BIAS, [images])
    assert record["options"]["seed"] == 0
    assert set(record["state"]) == {"sampler", "loss_scale", "losses"}
    files = {"weights.h5", "solver.h5", "state.json", "sums.json", "batches.h5"}
    assert {file.name for file in folder.iterdir()} == files
    run.step.loader.seek(5)
    batch = run.step.loader.next()
    with h5py.File(folder / "batches.h5") as arrays:
        np.testing.assert_array_equal(arrays["0/inputs/0"], batch["inputs"][0])
        assert len(arrays["0/targets"]) == len(batch["targets"])


def test_it_is_repeated_without_the_run(lost):
    record, (losses,), _ = replay(lost[0])
    assert np.isnan(losses["loss"]) and np.isnan(losses["size"]) and np.isfinite(losses["heatmap"])
    command = [sys.executable, "-m", "nnabla_detofa.training.replay", str(lost[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    assert first == f"step 7, path {record['path']}; not finite in the network: {BIAS}"
    assert second.startswith("batch 0: loss nan, heatmap ") and second.endswith(", ".join(record["images"][0]))
    assert third.startswith("gradients that are not finite: ")


def test_losses_that_are_finite_are_repeated_exactly(run, tmp_path):
    path, run.trainer.n_done, run.trainer._sampler = run.space.smallest(), 7, SimpleNamespace(state=dict)
    run.step.loader.seek(1)
    run.trainer._keep_step(path, np.array([True]))  # as if the batch before had been lost
    _, (losses,), lost = replay(tmp_path / "debug_step_7")
    run.step.loader.seek(0)
    assert (losses, lost) == (run.step(path), [])


def test_the_same_step_again_takes_the_place_of_the_first(run, train, lost):
    folder, said = lost
    (folder / "extra").touch()
    assert train(run.space.largest(), 5)[1] == said
    assert not (folder / "extra").exists()


def test_a_gradient_that_is_lost_where_the_loss_is_not(run, train):
    def lose(outputs, inputs):  # noqa: ARG001
        """No loss, and no gradient: 0 times the derivative of a root at 0."""
        return {"lost": (1.0, F.sum((outputs[1] - outputs[1]) ** 0.5))}

    run.step.more_losses = lose
    path, before = run.space.smallest(), run.model.get_parameters()[BIAS].d.copy()
    folder, said = train(path)
    assert re.search(r"a gradient is not finite at step 7, path \[.*\], images 0000\S+\.jpg, ", said)
    assert (run.model.get_parameters()[BIAS].d == before).all()
    record, (losses,), _ = replay(folder)
    assert record["path"] == path.tolist() and np.isfinite(losses["loss"])


def test_of_many_images_the_first_are_named(run, train, monkeypatch):
    monkeypatch.setattr("nnabla_detofa.training.trainer.MOST_NAMES", 3)
    run.model.get_parameters()[BIAS].d = np.inf
    assert re.search(r"images \S+, \S+, \S+ and 13 more; python -m", train(run.space.largest())[1])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "give one folder"), (["a", "b"], "give one folder"), (["nowhere"], "nowhere is no step")],
)
def test_what_is_no_kept_step(arguments, said, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


RECORDS = [("network", {"elsewhere": {}}), ("network", 3), ("images", [[], []]), ("images", None), ("path", [1, 2])]


def test_what_is_damaged_or_of_something_else_is_said(lost):
    folder, _ = lost
    contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "sums.json"}
    for name in ("weights.h5", "state.json", "batches.h5"):
        (folder / name).write_bytes(b"damaged")
        with pytest.raises(RunFolderError, match=f"damaged: .* {name}"):
            replay(folder)
        (folder / name).write_bytes(contents[name])
    record = json.loads(contents["state.json"])
    for key, value in RECORDS:
        shutil.rmtree(folder)
        write_folder(folder, {**contents, "state.json": json.dumps({**record, key: value}).encode()})
        with pytest.raises(RunFolderError, match="is no step that was kept"):
            replay(folder)
