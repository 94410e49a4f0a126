"""Pre-training from the command: phases in order, what they leave, how they go on, and what cannot be."""

import shutil

import nnabla as nn
import numpy as np
import pytest
from nnabla_detofa.supernet.classifier import SearchNet

from nnabla_detofa.data import digits
from nnabla_detofa.data.digits import DigitsOptions
from nnabla_detofa.path_filter import PathFilter
from nnabla_detofa.pretraining import OFAPretrainer, corners
from nnabla_detofa.space import SearchSpace
from nnabla_detofa.supernet import load_weights
from nnabla_detofa.training.measuring import PathMeasurer
from nnabla_detofa.training.step import PathStep

SPACE = {
    "width_scale": 0.0625,
    "channel_divisor": 4,
    "base_depths": [1, 1, 1, 1],
    "depths": [0, 1],
    "widths": [0.65, 1.0],
}
NETWORK = {"n_classes": 3, "space": SPACE, "drop_rate": 0.1}
PHASES = {
    "fullnet": {"epochs": 1, "depths": [1], "expands": [0.35], "widths": [1.0], "rate": 0.05, "ramp": 1},
    "depth": {"epochs": 1, "expands": [0.35], "widths": [1.0], "rate": 0.02, "batch_size": 16},
    "width": {"epochs": 2, "rate": 0.02},
}
TINY = {
    "network": {"ofa_resnet50_classifier": NETWORK},
    "dataloader": {
        "image_folder": {
            "generate": {"classes": [0, 1, 7], "n_train": 60, "n_test": 12, "image_size": 32},
            "held_out": 16,
            "image_size": 32,
            "train_sizes": [32, 48],
            "workers": 0,
        }
    },
    "hparams": {
        "batch_size_train": 8,
        "mini_batch_train": 8,
        "batch_size_valid": 8,
        "mini_batch_valid": 8,
        "phases": PHASES,
    },
    "path_filter": {
        "paths_per_bucket": 4,
        "bn_images": 8,
        "evaluation_bn_images": 8,
        "validation_images": 8,
        "folds": 2,
        "second_measurement": False,
        "network": {"dim": 8, "heads": 2, "layers": 1, "hidden": 8, "main_effects": "auto"},
        "fit": {"epochs": 2},
    },
    "args": {"context": "cpu"},
}
SHIPPED = [f"hparams.phases.{name}" for name in ("fullnet", "depth", "expand_first", "expand", "width_first", "width")]
TRAINING = ["fullnet", "top1_fullnet", "depth", "top1_depth", "width", "top1_width"]
STAGES = [*TRAINING, "paths", "path_filter", "filter_quality", "top1", "report"]


@pytest.fixture(scope="session")
def pretraining(new_command, pictures):
    """Builds the command on the pre-training demo's configuration made tiny."""

    def build(start, phases=PHASES):
        tiny = {**TINY, "hparams": {**TINY["hparams"], "phases": phases}}
        return new_command(start, pictures, "demo_pretrain", tiny, removed=SHIPPED)

    return build


def ran(answer):
    """Names of the stages that a command ran, in order."""
    return [line.partition(":")[0] for line in answer.out if ": done in " in line]


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory, pretraining):
    """A command whose run is done, with its answer; not to be run again."""
    command = pretraining(tmp_path_factory.mktemp("pretrained"))
    return command, command()


@pytest.fixture
def command(tmp_path, pretraining):
    """The command in an empty folder."""
    return pretraining(tmp_path)


@pytest.fixture
def ready(command, monkeypatch):
    """A pre-trainer as the command builds it, its settings checked and nothing done."""
    seen = []
    monkeypatch.setattr(OFAPretrainer, "algorithm", lambda self: seen.append(self))
    assert command().code == 0
    return seen[0]


def network(**options):
    return SearchNet(**{**NETWORK, **options}, stem_activation="relu", stem_pool=False)


def test_phases_run_in_order_and_leave_their_files(pretrained):
    command, answer = pretrained
    assert (answer.code, answer.err) == (0, [])
    assert ran(answer) == STAGES
    left = {file.name for file in command.folder.iterdir()}
    assert {"weights.h5", "teacher.h5", "path_filter.h5", "paths.csv", "summary.json", "top1.json"} <= left
    assert sum(line.split("of its")[0].endswith("top-1 ") for line in answer.out) == 2 * len(PHASES)


def test_the_summary_tells_the_accuracies(pretrained):
    summary = pretrained[0].json("summary.json")
    assert list(summary["phases"]) == list(PHASES)
    assert all(set(one) == {"largest", "smallest"} for one in summary["phases"].values())
    assert summary["phases"]["fullnet"]["largest"] == summary["phases"]["fullnet"]["smallest"]  # it has one path
    assert [row["name"] for row in summary["paths"]][:2] == ["D 1, E 0.35, W 1", "D 1, E 0.35, W 0.65"]
    assert len(summary["paths"]) == 8
    assert all(
        0 <= row["top1"] <= 1 and 12 * row["top1"] == pytest.approx(round(12 * row["top1"])) for row in summary["paths"]
    )
    assert set(summary["filter"]) >= {"kendall_tau", "precision"}
    assert len(summary["buckets"]) == 6
    assert list(summary["seconds"]) == STAGES[:-1]


def test_what_detection_starts_from(pretrained):
    folder = pretrained[0].folder
    whole = network()
    load_weights(whole, folder / "weights.h5")
    load_weights(network(seed=1), folder / "teacher.h5")
    described = {**whole.space.structure.to_dict(), "cost": "flops"}
    stored = PathFilter.load(folder / "path_filter.h5", layout=whole.space.token_layout(), space=described)
    tokens = whole.space.tokenize(whole.space.sample(5, np.random.default_rng(0)))
    assert np.isfinite(stored.score(tokens, np.zeros(5, int))).all()


def test_the_filter_is_the_papers(pretrained):
    """Main effects are for few measured paths; `auto` leaves them out where thousands are."""
    command, answer = pretrained
    (line,) = [line for line in answer.out if "main_effects" in line]
    assert "path_filter: main_effects auto is off: pre-training measures the paths that the paper's filter" in line
    assert not PathFilter.load(command.folder / "path_filter.h5").design.main_effects


def test_a_detection_run_starts_from_the_filter_that_pretraining_left(tmp_path, new_command, pictures, pretrained):
    source, command = pretrained[0].folder, new_command(tmp_path, pictures)
    answer = command(
        f"network.ofa_resnet50_centernet.pretrained={source / 'weights.h5'}",
        f"path_filter.pretrained={source / 'path_filter.h5'}",
        "path_filter.network.main_effects=auto",
    )
    assert answer.code == 0
    for name in ("path_filter_warmup", "path_filter_final"):
        said = [line for line in answer.out if f"{name}: " in line]
        assert any(line.endswith(f"{name}: starting from {source / 'path_filter.h5'}") for line in said)
        assert any(f"{name}: main_effects auto is off: as {source / 'path_filter.h5'} has it" in line for line in said)
        assert not PathFilter.load(command.folder / f"{name}.h5").design.main_effects
    again = command("path_filter.network.main_effects=false", f"path_filter.pretrained={source / 'path_filter.h5'}",
                    f"network.ofa_resnet50_centernet.pretrained={source / 'weights.h5'}")  # fmt: skip
    assert (again.code, ran(again)) == (0, [])


def test_the_same_command_again_changes_nothing(pretrained, command):
    shutil.copytree(pretrained[0].folder, command.folder)
    before = command.results()
    answer = command()
    assert (answer.code, ran(answer)) == (0, [])
    assert command.results() == before


def test_an_interrupted_run_ends_as_if_it_had_not_been(pretrained, command, monkeypatch):
    """Stopped inside a phase that has a teacher, and while measuring: the same files to the last bit."""
    whole = PathStep.train_on_batch
    steps = 5 + 2 + 3  # in the third phase

    def stop(self, *args, **options):
        nonlocal steps
        steps -= 1
        if steps < 0:
            raise KeyboardInterrupt
        return whole(self, *args, **options)

    monkeypatch.setattr(PathStep, "train_on_batch", stop)
    answer = command("args.checkpoint_steps=1")
    assert (answer.code, ran(answer)) == (75, TRAINING[:4])
    steps = 100
    measure, left = PathMeasurer.loss, 6

    def stop_measuring(self, path):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return measure(self, path)

    monkeypatch.setattr(PathMeasurer, "loss", stop_measuring)
    answer = command()
    assert (answer.code, ran(answer)) == (75, TRAINING[4:])
    assert steps == 100 - (2 * 5 - 3)
    left = 100
    assert command().code == 0
    ours, theirs = command.results(), pretrained[0].results()
    for name in ("weights.h5", "teacher.h5", "path_filter.h5", "paths.csv", "filter_quality.json", "top1.json"):
        assert ours[name] == theirs[name], name


def test_a_phase_boundary_keeps_what_was_trained(command, monkeypatch):
    """The law of progressive shrinking: opening a phase changes no path of the phase before."""
    begun, begin = [], OFAPretrainer.begin

    def checking(run, stage):
        number = len(begun)
        before = run.phases[max(0, number - 1)].space
        paths = [run.space.largest(), *before.sample(2, np.random.default_rng(number))]
        images = run.dataloader["test"].next()["inputs"][0]
        expected = outputs(run.model, paths, images)
        begin(run, stage)
        np.testing.assert_allclose(
            outputs(run.model, paths, images), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
        )
        solver = run.optimizer["train"]._solver
        assert all((state.pstate["m"].d == 0).all() for state in solver.get_states().values())
        begun.append(stage)

    monkeypatch.setattr(OFAPretrainer, "begin", checking)
    monkeypatch.setattr(OFAPretrainer, "algorithm", OFAPretrainer.shrink)
    assert command().code == 0
    assert begun == list(PHASES)


def outputs(model, paths, images):
    """What each path says of the images."""
    answers = []
    for path in paths:
        model.activate(path)
        model.apply(training=False)
        y = model(nn.Variable.from_numpy_array(images))
        y.forward()
        answers.append(y.d.copy())
    return np.array(answers)


def test_the_teacher_is_asked_behind_the_first_phase_and_stays_as_it_is(pretrained, ready):
    shutil.copy(pretrained[0].folder / "teacher.h5", ready.folder / "teacher.h5")
    path = ready.space.smallest()
    ready._phase = ready.phases[0]
    assert set(ready.train_on_batch(path=path)) == {"error", "loss"}
    ready._phase = ready.phases[1]
    before = {name: p.d.copy() for name, p in ready.teacher.get_parameters(grad_only=True).items()}
    losses = ready.train_on_batch(path=path)
    assert set(losses) == {"error", "loss", "distillation"}
    assert losses["loss"] > losses["distillation"] > 0
    for name, values in before.items():
        np.testing.assert_array_equal(ready.teacher.get_parameters()[name].d, values)


def test_the_size_of_a_step_is_the_loaders_and_dropout_is_the_steps_own(ready):
    ready._phase = ready.phases[0]
    loader = ready.dataloader["train"]
    sides, losses = set(), []
    weights = {name: p.d.copy() for name, p in ready.model.get_parameters().items()}
    for _ in range(2):
        loader.seek(0)
        for step in range(6):
            for name, p in ready.model.get_parameters().items():
                p.d = weights[name]
            ready._step = step
            sides.add(loader.next_side)
            losses.append(ready.train_on_batch(path=ready.space.largest())["loss"])
            assert ready.placeholder["train"]["inputs"][0].shape[-1] in sides
    assert sides == {32, 48}
    assert losses[:6] == losses[6:]
    assert len(set(losses)) == 6


def test_only_weights_decay(ready):
    parameters = ready.model.get_parameters(grad_only=True)
    for parameter in parameters.values():
        parameter.g = 1.0
    ready.gradients().decay(0.5)
    decayed = {name for name, p in parameters.items() if not (p.g == 1).all()}
    assert {name.rsplit("/", 1)[1] for name in decayed} == {"_W"}
    weight = parameters["classifier/0/linear/linear/_W"]
    np.testing.assert_allclose(weight.g, 1 + 0.5 * weight.d, rtol=1e-6)


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
        (
            {"width": PHASES["width"], "depth": PHASES["depth"]},
            [],
            "hparams.phases.depth leaves out choices that the phase before it, width, has trained; the phases are",
        ),
        (
            {"fullnet": PHASES["fullnet"], "depth": PHASES["depth"]},
            [],
            "hparams.phases.depth is the last phase and opens 32 of",
        ),
        ({"width": {**PHASES["width"], "rate": 0}}, [], "hparams.phases.width.rate is 0; it must be a finite number"),
        (
            {"width": {**PHASES["width"], "ramp": -1}},
            [],
            "hparams.phases.width.ramp is -1; it must be a finite number of",
        ),
        (
            {"width": {**PHASES["width"], "batch_size": 12}},
            [],
            "hparams.phases.width.batch_size is 12; it must be a multiple of 8 (mini_batch_train times processes) and"
            " at most 44, the number of training images",
        ),
        ({"width": {**PHASES["width"], "batch_size": 48}}, [], "hparams.phases.width.batch_size is 48; it must be a"),
        ({"width": {"epochs": 1}}, [], "hparams.phases.width lacks rate"),
        (PHASES, ["hparams.lambda_kd=-1"], "hparams.lambda_kd is -1; it must be a finite number of at least 0"),
        (PHASES, ["hparams.metric=voc07"], "unknown metric 'voc07'; known: top1"),
        (
            PHASES,
            ["network.ofa_resnet50_classifier.n_classes=4"],
            "the network has n_classes=4 and the data set 3 (0, 1, 7)",
        ),
        (PHASES, ["args.algorithm=DetOFASearcher"], "unknown key in hparams: 'lambda_kd'; known: "),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(tmp_path, pretraining, phases, more, said):
    command = pretraining(tmp_path, phases)
    answer = command(*more)
    assert answer.code == 2
    assert answer.err[-1].removeprefix("nnabla_detofa: ").startswith(said), answer.err
    assert not (command.folder / "stages.json").exists()


def test_a_detector_cannot_be_pretrained_so(tmp_path, new_command, pictures):
    answer = new_command(tmp_path, pictures)("args.algorithm=OFAPretrainer")
    assert answer.code == 2
    assert answer.err == [
        "nnabla_detofa: OFAPretrainer trains a network for classification, and ofa_resnet50_centernet is for detection;"
        " take ofa_resnet50_classifier"
    ]


def test_an_unreadable_image_ends_the_run_with_one_line(command, tmp_path):
    generate = DigitsOptions(**TINY["dataloader"]["image_folder"]["generate"], objects=(1, 1))
    root = digits.generate(tmp_path / "digits", generate, classified=True)
    broken = sorted((root / "train" / "7").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:300])
    answer = command(f"dataloader.image_folder.root={root}", "dataloader.image_folder.generate=null")
    assert answer.code == 2
    assert answer.err[-1].startswith("nnabla_detofa: ") and str(broken) in answer.err[-1]
