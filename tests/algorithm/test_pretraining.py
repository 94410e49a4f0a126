"""Pre-training from the command: phases in order, what they leave, how they go on, and what cannot be."""

import re
import shutil
from types import SimpleNamespace

import h5py
import nnabla as nn
import numpy as np
import pytest
from small_runs import TINY as DETECTOR
from small_runs import Command, settled

from nnabla_detofa import pretraining, shrinking
from nnabla_detofa.path_filter import PathFilter
from nnabla_detofa.pretraining import Teacher, corners, enter
from nnabla_detofa.searcher import OFAPretrainer
from nnabla_detofa.shrinking import read_phases
from nnabla_detofa.space import CostModel, SearchSpace
from nnabla_detofa.training.measuring import PathMeasurer
from nnabla_detofa.training.step import PathStep

NETWORK = {"n_classes": 3, "space": DETECTOR["network"]["ofa_resnet50_centernet"]["space"], "drop_rate": 0.1}
IMAGES = {"classes": [0, 1, 7], "n_train": 60, "n_test": 12, "image_size": 32}
LOADER = {"generate": IMAGES, "held_out": 16, "image_size": 32, "train_sizes": [32, 48], "workers": 0}
PHASES = {
    "fullnet": {"epochs": 1, "depths": [1], "expands": [0.35], "widths": [1.0], "rate": 0.05, "ramp": 1},
    "depth": {"epochs": 1, "expands": [0.35], "widths": [1.0], "rate": 0.02, "batch_size": 16},
    "width": {"epochs": 2, "rate": 0.02},
}
TINY = {
    "network": {"ofa_resnet50_classifier": NETWORK},
    "dataloader": {"image_folder": LOADER},
    "hparams": {f"{kind}_{split}": 8 for kind in ("batch_size", "mini_batch") for split in ("train", "valid")},
    "path_filter": {**DETECTOR["path_filter"], "second_measurement": False},
    "args": {"context": "cpu"},
}
TINY["path_filter"]["network"] = {**DETECTOR["path_filter"]["network"], "main_effects": "auto"}
SHIPPED = [f"hparams.phases.{name}" for name in ("fullnet", "depth", "expand_first", "expand", "width_first", "width")]
TRAINING = ["fullnet", "top1_fullnet", "depth", "top1_depth", "width", "top1_width"]
STAGES = [*TRAINING, "paths", "path_filter", "filter_quality", "top1", "report"]


@pytest.fixture(scope="session")
def pretraining_command(pictures):
    """Builds the command on the pre-training demo's configuration made tiny."""

    def build(start, phases=PHASES):
        tiny = {**TINY, "hparams": {**TINY["hparams"], "phases": phases}}
        return Command(start, pictures, "demo_pretrain", tiny, removed=SHIPPED)

    return build


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory, pretraining_command):
    """A command whose run is done, with its answer; not to be run again."""
    command = pretraining_command(tmp_path_factory.mktemp("pretrained"))
    return command, command()


@pytest.fixture
def command(tmp_path, pretraining_command):
    """The command in an empty folder."""
    return pretraining_command(tmp_path)


@pytest.fixture
def ready(command, monkeypatch):
    """A run as the pre-trainer builds it, its settings checked and nothing done."""
    with settled(OFAPretrainer) as seen:
        assert command().code == 0
    (run,) = seen
    run.session._monitor.quiet = True  # its log is closed
    monkeypatch.setattr(run.session, "curve", lambda *_: None)
    return run


def test_a_classifier_of_oblong_images(command):
    """Trained on them too where no sizes of squares are given."""
    with settled(OFAPretrainer) as seen:
        options = [f"dataloader.image_folder.{key}" for key in ("image_size=[32,64]", "train_sizes=null")]
        assert command(*options).code == 0
    (run,) = seen
    assert run.data["train"].next()["inputs"][0].shape == (8, 3, 32, 64)
    assert next(run.data["test"].batches()).images.shape == (8, 3, 32, 64)
    path = run.space.largest()[None]
    assert run.flops(path)[0] == CostModel.of(run.model.network_layers((32, 64)), "flops")(path)[0]


def test_phases_run_in_order_and_leave_their_files(pretrained):
    command, answer = pretrained
    assert (answer.code, answer.err) == (0, [])
    assert answer.ran == STAGES
    left = {file.name for file in command.folder.iterdir()}
    assert {"weights.h5", "teacher.h5", "path_filter.h5", "paths.csv", "summary.json", "top1.json"} <= left
    assert sum(line.split("of its")[0].endswith("top-1 ") for line in answer.out) == 2 * len(PHASES)
    # main effects are for few measured paths; `auto` leaves them out where thousands are
    assert [line for line in answer.out if line.startswith("path_filter: main_effects auto is off: ")]
    assert not PathFilter.load(command.folder / "path_filter.h5").design.main_effects


def test_the_summary_tells_the_accuracies(pretrained):
    summary = pretrained[0].json("summary.json")
    assert list(summary["phases"]) == list(PHASES)
    assert all(set(one) == {"largest", "smallest"} for one in summary["phases"].values())
    assert summary["phases"]["fullnet"]["largest"] == summary["phases"]["fullnet"]["smallest"]  # it has one path
    assert [row["name"] for row in summary["paths"]][:2] == ["D 1, E 0.35, W 1", "D 1, E 0.35, W 0.65"]
    assert len(summary["paths"]) == 8
    hits = np.array([12 * row["top1"] for row in summary["paths"]])
    assert ((hits >= 0) & (hits <= 12)).all() and hits == pytest.approx(hits.round())
    assert set(summary["filter"]) >= {"kendall_tau", "precision"}
    assert len(summary["buckets"]) == 6
    assert list(summary["seconds"]) == STAGES[:-1]


def test_a_detection_run_starts_from_what_pretraining_left(tmp_path, pictures, pretrained, finished):
    def files(folder):
        weights = f"network.ofa_resnet50_centernet.pretrained={folder / 'weights.h5'}"
        return weights, f"path_filter.pretrained={folder / 'path_filter.h5'}"

    source, command = pretrained[0].folder, Command(tmp_path, pictures)
    answer = command(*files(source), "path_filter.network.main_effects=auto")
    assert answer.code == 0
    (line,) = [line for line in answer.out if line.startswith("pretrained: ")]
    assert re.search(f"{source}/weights.h5: loaded input_stem, blocks .*; new: .*heads", line)
    for name in ("path_filter_warmup", "path_filter_final"):
        assert f"{name}: starting from {source / 'path_filter.h5'}" in answer.out
        assert f"{name}: main_effects auto is off: as {source / 'path_filter.h5'} has it" in answer.out
        assert not PathFilter.load(command.folder / f"{name}.h5").design.main_effects
    before = command.results()
    assert before["paths_warmup.csv"] != finished[0].results()["paths_warmup.csv"]
    # a copy of the files is the same start, and other content is not
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("weights.h5", "path_filter.h5"):
        shutil.copy(source / name, copy)
    again = command(*files(copy), "path_filter.network.main_effects=false")
    assert (again.code, again.ran, command.results()) == (0, [], before)
    with h5py.File(copy / "weights.h5", "a") as stored:
        stored["classifier/0/linear/linear/_W"][...] += 1
    refusal = command(*files(copy), "path_filter.network.main_effects=auto").refusal
    assert "network.ofa_resnet50_centernet.pretrained was '" in refusal
    assert command.results() == before


def test_a_plan_names_the_stages_of_the_run(command, ready):
    planned = list(ready.rehearse(pretraining.pretrain))
    assert planned == [stage for stage in STAGES if stage not in ("path_filter", "filter_quality", "report")]
    answer = command("plan=true")
    assert (answer.code, answer.err) == (0, [])
    assert [line.split()[0] for line in answer.out if ": about " in line] == planned


def test_an_interrupted_run_ends_as_if_it_had_not_been(pretrained, command, interrupt):
    """Stopped inside a phase that has a teacher, and while measuring: the same files to the last bit."""
    interrupt(PathStep, "__call__", call=5 + 2 + 4)  # in the third phase
    answer = command("args.checkpoint_steps=1")
    assert (answer.code, answer.ran) == (75, TRAINING[:4])
    steps = interrupt(PathStep, "__call__", call=None)
    interrupt(PathMeasurer, "loss", call=7)
    answer = command()
    assert (answer.code, answer.ran) == (75, TRAINING[4:])
    assert len(steps) == 2 * 5 - 3
    interrupt(PathMeasurer, "loss", call=None)
    assert command().code == 0
    ours, theirs = command.results(), pretrained[0].results()
    for name in ("weights.h5", "teacher.h5", "path_filter.h5", "paths.csv", "filter_quality.json", "top1.json"):
        assert ours[name] == theirs[name], name


def test_a_phase_boundary_keeps_what_was_trained(ready, monkeypatch):
    """The law of progressive shrinking: opening a phase changes no path of the phase before."""
    begun, opening = [], shrinking.opening

    def checking(run, phases, number):
        before = phases[max(0, number - 1)].space
        paths = [run.space.largest(), *before.sample(2, np.random.default_rng(number))]
        begin = opening(run, phases, number)

        def begin_and_compare():
            images = run.data["test"].next()["inputs"][0]
            expected = outputs(run.model, paths, images)
            begin()
            tolerance = {"rtol": 1e-4, "atol": 1e-5 * np.abs(expected).max()}
            np.testing.assert_allclose(outputs(run.model, paths, images), expected, **tolerance)
            assert all((state.pstate["m"].d == 0).all() for state in run.step.solver.get_states().values())
            begun.append(phases[number].name)

        return begin_and_compare

    monkeypatch.setattr(pretraining, "opening", checking)
    phases = read_phases(ready)
    for number in range(len(phases)):
        pretraining.train_phase(ready, phases, number)
    assert begun == list(PHASES)


def outputs(model, paths, images):
    """The answers of each path to the images."""
    answers = []
    for path in paths:
        model.activate(path)
        model.apply(training=False)
        y = model(nn.Variable.from_numpy_array(images))
        y.forward()
        answers.append(y.d.copy())
    return np.array(answers)


def test_the_teacher_is_asked_and_stays_as_it_is(pretrained, ready):
    shutil.copy(pretrained[0].folder / "teacher.h5", ready.folder / "teacher.h5")
    path = ready.space.smallest()
    assert set(ready.step(path)) == {"error", "loss"}
    teacher = Teacher(ready)
    ready.step.more_losses = teacher.losses
    before = {name: p.d.copy() for name, p in teacher.network.get_parameters(grad_only=True).items()}
    losses = ready.step(path)
    assert set(losses) == {"error", "loss", "distillation"}
    assert losses["loss"] > losses["distillation"] > 0
    for name, values in before.items():
        np.testing.assert_array_equal(teacher.network.get_parameters()[name].d, values)


@pytest.mark.parametrize(("weight", "asked"), [(1.0, [False, True, True]), (0.0, [False] * 3)])
def test_phases_behind_the_first_are_taught(ready, monkeypatch, weight, asked):
    taught = []
    monkeypatch.setattr(
        pretraining, "train", lambda run, *_, **own: taught.append((run.step.more_losses, own["forward"]))
    )
    monkeypatch.setattr(pretraining, "top1", lambda *_, **__: [])
    ready.options = ready.options.model_copy(update={"lambda_kd": weight})
    phases = read_phases(ready)
    for number in range(len(phases)):
        pretraining.train_phase(ready, phases, number)
    assert [(losses is not None, forward) for losses, forward in taught] == [(one, int(one)) for one in asked]


def test_the_size_of_a_step_is_the_loaders_and_dropout_is_the_steps_own(ready):
    phase = read_phases(ready)[0]
    enter(ready, phase)
    ready.step.prepare = lambda model, n: model.apply(dropout_seed=pretraining.dropout_seed(ready, n))
    loader, sides, losses = ready.data["train"], set(), []
    weights = {name: p.d.copy() for name, p in ready.model.get_parameters().items()}
    for _ in range(2):
        loader.seek(0)
        for n_done in range(6):
            for name, p in ready.model.get_parameters().items():
                p.d = weights[name]
            ready.trainer.n_done = n_done
            losses.append(ready.step(ready.space.largest())["loss"])
            sides.add(ready.step._inputs[0].shape[-1])
    assert sides == {32, 48}
    assert losses[:6] == losses[6:]
    assert len(set(losses)) == 6


def test_dropout_is_that_of_a_mini_batch_whatever_process_has_it(ready, monkeypatch):
    """Numbers of the mini-batches of one process that has four, and of two that have two each."""
    enter(ready, read_phases(ready)[0])
    seen = []
    monkeypatch.setattr(ready.step, "prepare", lambda _, number: seen.append(number), raising=False)
    monkeypatch.setattr(ready.step, "accumulate", 4)
    ready.step(ready.space.largest())
    assert seen == [0, 1, 2, 3]
    shares = []
    for rank in (0, 1):
        seen.clear()
        one = SimpleNamespace(n=2, rank=rank, mean=lambda values: values, average=lambda _: None)
        monkeypatch.setattr(ready.step, "_processes", one)
        monkeypatch.setattr(ready.step, "accumulate", 2)
        ready.step(ready.space.largest())
        shares.append(seen[:])
    assert shares == [[0, 2], [1, 3]]
    assert len({pretraining.dropout_seed(ready, number) for number in range(4)}) == 4


def test_corners_of_spaces():
    space = SearchSpace.ofa_resnet50()
    paths = dict(corners(space))
    assert len(paths) == 8
    np.testing.assert_array_equal(paths["D 2, E 0.35, W 1"], space.largest())
    np.testing.assert_array_equal(paths["D 0, E 0.2, W 0.65"], space.smallest())
    assert len(dict(corners(SearchSpace.comp_ofa()))) == 4


@pytest.mark.parametrize(
    ("phases", "more", "said"),
    [
        ({"width": {**PHASES["width"], "batch_size": 12}}, [], r"batch_size is 12;.* a multiple of 8 .* at most 44"),
        ({"width": {**PHASES["width"], "batch_size": 48}}, [], "hparams.phases.width.batch_size is 48"),
        ({"width": {**PHASES["width"], "rate": 0}}, [], "hparams.phases.width.rate is 0"),
        ({"depth": PHASES["depth"]}, [], "hparams.phases.depth is the last phase"),
        (PHASES, ["hparams.lambda_kd=-1"], "hparams.lambda_kd is -1"),
        (PHASES, ["hparams.metric=voc07"], "'voc07'; .*top1"),
        (PHASES, ["network.ofa_resnet50_classifier.n_classes=4"], r"n_classes=4 .* 3 \(0, 1, 7\)"),
        (PHASES, ["args.algorithm=DetOFASearcher"], "DetOFASearcher .*detection.* classification"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path, pretraining_command, phases, more, said):
    command = pretraining_command(tmp_path, phases)
    assert re.search(said, command(*more).refusal)
    assert not (command.folder / "stages.json").exists()
