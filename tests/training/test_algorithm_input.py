"""What is wrong with a command's input is said in one line before anything is trained, and nothing is lost."""

import copy
import gc
import shutil

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError, SpaceError
from nnabla_detofa.supernet import save_weights
from nnabla_detofa.training.trainer import SupernetTrainer

NETWORK = "network.ofa_resnet50_centernet"
A_COUNT = "it must be a whole number of at least"
A_RATIO = "it must be a number in [0, 1)"
NUMBERS = "it must be a list of finite numbers"
ABSENT = "(absent)"  # not an object(): its address would make a test's name differ from process to process

UNKNOWN = [
    ("pruning.strategy", "flop", "unknown pruning strategy 'flop'; known: flops, flops_score_all, flops_score_per_"),
    ("pruning.path_strategy", "random", "unknown path strategy 'random'; known: score, uniform"),
    ("sampler.name", "fulnet", "unknown sampler 'fulnet'; known: balanced, fullnet, genes, uniform (did you mean 'fu"),
    ("metric", "map", "unknown metric 'map'; known: coco, voc, voc07"),
    ("schedule.name", "steps", "unknown learning-rate schedule 'steps'; known: constant, cosine, step"),
    ("pruning.ratio", 1, "unknown key in pruning: 'ratio'; known: operation_ratio, operation_ratio_all, operation_r"),
    ("path_filter.paths", 1, "unknown key in path_filter: 'paths'; known: bn_images, evaluation_bn_images, fit, folds"),
    ("path_filter.network.dims", 1, "unknown key in path_filter.network: 'dims'; known: block_encoding, budget_con"),
    ("path_filter.fit.epoch", 1, "unknown key in path_filter.fit: 'epoch'; known: batch, binary_ratio, bounded, epo"),
    ("search.budget", 1, "unknown key in search: 'budget'; known: budgets, generations, mutation_probability"),
    ("sampler.seed", 1, "unknown key in sampler: 'seed'; known: name"),
    ("schedule.total", 1, "unknown key in hparams.schedule: 'total'; known: at, factor, name, per_batch, ramp"),
    ("warmpu", 3, "unknown key in hparams: 'warmpu'; known: batch_size_train, batch_size_valid, cosine_warmup_epoch"),
    ("schedule", ABSENT, "hparams lacks schedule"),
    ("pruning", ABSENT, "hparams lacks pruning"),
    ("search", 3, "search is 3; it must hold keys and their values"),
    ("pruning.paths_per_threshold", ABSENT, "pruning lacks paths_per_threshold"),
    ("path_filter.n_buckets", ABSENT, "path_filter lacks n_buckets"),
    ("pruning.strategy", ABSENT, "pruning lacks strategy"),
    ("path_filter.folds", ABSENT, "path_filter lacks folds"),
    ("search.budgets", ABSENT, "search lacks budgets"),
    ("sampler.name", ABSENT, "sampler lacks name"),
    ("schedule.name", ABSENT, "hparams.schedule lacks name"),
]
VALUES = [
    ("warmup", None, f"hparams.warmup is None; {A_COUNT} 0"),
    ("finetune", {}, f"hparams.finetune is {{}}; {A_COUNT} 0"),
    ("seed", None, f"hparams.seed is None; {A_COUNT} 0"),
    ("pruning.strategy", [], "unknown pruning strategy '[]'; known: flops, "),
    ("sampler.name", {}, "unknown sampler '{}'; known: "),
    ("pruning.operation_ratio", 1, f"operation_ratio is 1; {A_RATIO}"),
    ("pruning.operation_ratio_all", -0.1, f"operation_ratio_all is -0.1; {A_RATIO}"),
    ("pruning.operation_ratio_per_bucket", 1.5, f"operation_ratio_per_bucket is 1.5; {A_RATIO}"),
    ("pruning.path_ratio", 1, f"path_ratio is 1; {A_RATIO}"),
    ("pruning.path_ratio", "a", f"path_ratio is 'a'; {A_RATIO}"),
    ("pruning.paths_per_operation", 0, f"pruning.paths_per_operation is 0; {A_COUNT} 1"),
    ("pruning.paths_per_threshold", 0, f"pruning.paths_per_threshold is 0; {A_COUNT} 1"),
    ("search.budgets", 3e6, f"search.budgets is 3000000.0; {NUMBERS}"),
    ("search.budgets", [float("inf")], f"search.budgets is [inf]; {NUMBERS}"),
    ("search.budgets", [], "search.budgets is empty; give MACs, or null for one budget a bucket"),
    ("search.generations", -1, f"search.generations is -1; {A_COUNT} 0"),
    ("search.population", 1, f"search: population is 1; {A_COUNT} 2"),
    ("path_filter.network.heads", 3, "path filter: dim 8 is not a multiple of the 3 heads"),
    ("path_filter.fit.epochs", 0, f"path filter: epochs is 0; {A_COUNT} 1"),
    ("path_filter.fit.objective", "auc", "path filter: objective is 'auc'; it must be one of ranking, binary"),
    ("path_filter.n_buckets", 0, f"path_filter.n_buckets is 0; {A_COUNT} 1"),
    ("path_filter.n_buckets", 2.5, f"path_filter.n_buckets is 2.5; {A_COUNT} 1"),
    ("path_filter.folds", 1, f"path_filter.folds is 1; {A_COUNT} 2"),
    ("path_filter.second_measurement", 3, "path_filter.second_measurement is 3; it must be true or false"),
    ("path_filter.paths_per_bucket", 3, f"path_filter.paths_per_bucket is 3; {A_COUNT} 4"),
    ("path_filter.bn_images", 0, f"path_filter.bn_images is 0; {A_COUNT} 1"),
    ("path_filter.validation_images", 0.5, f"path_filter.validation_images is 0.5; {A_COUNT} 1"),
    ("path_filter.evaluation_bn_images", None, f"path_filter.evaluation_bn_images is None; {A_COUNT} 1"),
    ("warmup", -1, f"hparams.warmup is -1; {A_COUNT} 0"),
    ("finetune", 1.5, f"hparams.finetune is 1.5; {A_COUNT} 0"),
    ("loss_weights", [1, 1], "hparams.loss_weights is [1, 1]; it must be a list of 3 finite numbers"),
    ("schedule.at", 45, f"hparams.schedule.at is 45; {NUMBERS}"),
]
SPACE = [
    ("pruning.operation_ratio_per_bucket", 0.99, "strategy 'flops_score_all' with {'operation_ratio': 0.3, "),
    ("pruning.operation_ratio_all", 0.99, "strategy 'flops_score_all' with {'operation_ratio': 0.3, "),
    ("search.budgets", [1e9, 1000], "no path costs at most 1,000; the cheapest path of this space costs "),
]


def refused(searcher, monkeypatch, key, value):
    """What the searcher's check says of its settings with one of them changed."""
    hparams = copy.deepcopy(searcher.hparams)
    *groups, last = key.split(".")
    group = hparams
    for name in groups:
        group = group[name]
    if value is ABSENT:
        del group[last]
    else:
        group[last] = value
    monkeypatch.setattr(searcher, "hparams", hparams)
    with pytest.raises((ConfigError, SpaceError)) as caught:
        searcher.check_settings()
    assert "\n" not in str(caught.value)
    return caught.type, str(caught.value)


@pytest.mark.parametrize("case", UNKNOWN + VALUES + SPACE, ids=lambda case: f"{case[0]}={case[1]}")
def test_settings_that_cannot_be(ready, monkeypatch, case):
    key, value, said = case
    kind, message = refused(ready, monkeypatch, key, value)
    assert kind is (SpaceError if case in SPACE else ConfigError)
    assert message.startswith(said)


def test_ratios_that_leave_no_path_say_how_few_operations_there_would_be(ready, monkeypatch):
    _, message = refused(ready, monkeypatch, "pruning.operation_ratio_all", 0.99)
    assert message.endswith(" operations; the shortest path needs 4, so lower the ratios")


def answer(command, *overrides):
    """The one line of a command that must end with exit code 2."""
    return one_line(command(*overrides))


def one_line(answer):
    code, _, err = answer
    assert (code, len(err)) == (2, 1), (code, err)
    assert err[0].startswith("nnabla_detofa: ")
    return err[0].removeprefix("nnabla_detofa: ")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["pruning.strategy=flop"], "unknown pruning strategy 'flop'; known: flops, "),
        (["+pruning.foo=1"], "unknown key in pruning: 'foo'; known: "),
        (["+foo=1"], "unknown key in the configuration: 'foo'; known: args, cost, dataloader, hparams, name, network"),
        (["+args.foo=1"], "unknown key in args: 'foo'; known: algorithm, checkpoint_minutes, checkpoint_steps, "),
        (["+hparams.warmpu=3"], "unknown key in hparams: 'warmpu'; known: "),
        (["~args.print_frequency"], "args lacks print_frequency"),
        (["~hparams.schedule"], "hparams lacks schedule"),
        (["~hparams.pruning"], "hparams lacks pruning"),
        (["~optimizer.train"], "optimizer lacks train"),
        (["optimizer.train.alpha=abc"], "optimizer.train.alpha is 'abc'; it must be a finite number"),
        (["path_filter.n_buckets=4"], "run folder {folder} belongs to another configuration: n_buckets was 5 and is 4"),
        (["pruning.operation_ratio_per_bucket=0.99"], "strategy 'flops_score_all' with {'operation_ratio': 0.3, "),
        (["args.print_frequency=0"], f"args.print_frequency is 0; {A_COUNT} 1"),
        ([f"{NETWORK}.n_classes=4"], "the network has n_classes=4 and the data set 3 (0, 1, 7); they must agree"),
        ([f"{NETWORK}.neck=[8]"], "the network's output stride is 8 and dataloader's output_stride is 4; they must"),
        (
            ["hparams.batch_size_train=64"],
            "hparams.batch_size_train is 64, more than the 44 training images",
        ),
        (
            ["+optimizer.train.lr_scheduler=CosineScheduler", "+hparams.epoch=1"],
            "optimizer.train.lr_scheduler is set, but hparams.schedule sets the rate; remove it",
        ),
        (
            ["hparams.seed=1"],
            "run folder {folder} belongs to another configuration: dataloader.voc.seed was 0 and is 1;"
            " network.ofa_resnet50_centernet.seed was 0 and is 1; seed was 0 and is 1;"
            " give this run its own with name=NEW_NAME, or delete the folder",
        ),
        (
            ["hparams.warmup=2"],
            "run folder {folder} belongs to another configuration: epochs was [0, 1] and is [0, 2];",
        ),
    ],
)
def test_wrong_input_is_one_line_and_touches_no_result(again, overrides, said):
    before = again.results()
    assert answer(again, *overrides).startswith(said.replace("{folder}", str(again.folder)))
    assert again.results() == before
    assert not (again.folder / "previous").exists()


def test_weights_of_another_network(command, tiny, tmp_path):
    wider = {"width_scale": 0.125, "channel_divisor": 4, "base_depths": [1, 1, 1, 1], "depths": [0, 1]}
    save_weights(tiny(space=wider), tmp_path / "other.h5")
    said = answer(command, f"{NETWORK}.pretrained=other.h5")
    assert said.startswith(
        f"{tmp_path}/other.h5 holds the weights of another network: input_stem/2/conv/conv/_W is (8, 4, 3, 3) in the"
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the host's log is open by then
def test_a_damaged_record_of_stages(again):
    (again.folder / "stages.json").write_text("{")
    assert answer(again).startswith(f"{again.folder}/stages.json cannot be read (Expecting property name")
    gc.collect()


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_checkpoint(again, monkeypatch):
    trained, train_on_batch = [], SupernetTrainer.train_on_batch

    def diverge(self, key="train", *, path):
        trained.append(path)
        if len(trained) == 4:  # in the second epoch of fine-tuning
            self.model.get_parameters()["heads/size/output/conv/_b"].d = np.nan
        return train_on_batch(self, key, path=path)

    monkeypatch.setattr(SupernetTrainer, "train_on_batch", diverge)
    said = answer(again, "pruning.path_ratio=0.3")
    assert said.startswith(f"the training loss is nan at step 5, path {trained[3].tolist()}, images 0000")
    assert said.endswith(
        f".jpg; python -m nnabla_detofa.training.replay {again.folder}/debug_step_5 shows it again; the last"
        " checkpoint is kept; try a lower optimizer.train.alpha or an optimizer.train.grad_clip"
    )
    assert again.json("checkpoint_finetune/000000004/state.json")["step"] == 4
    assert "checkpoint_warmup/000000002/weights.h5" in again.results()


def test_an_image_that_cannot_be_read_in_the_middle_of_training_is_named(command, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "digits")
    damaged = [*(tmp_path / "digits").glob("*/VOC2007/JPEGImages/000020.jpg")]  # of sets of other tests too
    for one in damaged:
        one.write_bytes(one.read_bytes()[:100])
    said = answer(command, f"dataloader.voc.root={tmp_path}/digits")
    assert any(str(one) in said for one in damaged)


def test_data_that_is_not_there(command):
    said = one_line(command.run("-c", "detofa_voc", "args.context=cpu"))
    assert said == (
        f"no VOC2007 in {command.start}/data/VOC: put VOCdevkit/VOC2007 with Annotations, ImageSets/Main and JPEGImages"
        f" into {command.start}/data/VOC, or choose other years"
    )
