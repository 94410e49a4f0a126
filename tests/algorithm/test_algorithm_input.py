"""What is wrong with a run's input is said in one line before anything is trained, and nothing is lost."""

import gc
import re
import shutil

import numpy as np
import pytest
from small_runs import ABSENT, changed

from nnabla_detofa.algorithm import train_and_search
from nnabla_detofa.errors import ConfigError, SpaceError
from nnabla_detofa.supernet import save_weights
from nnabla_detofa.training.step import PathStep

NETWORK = "network.ofa_resnet50_centernet"
HPARAMS = ("warmup", "finetune", "seed", "loss_weights", "schedule", "phases", "warmpu")  # written below this key
LEAST = {
    **dict.fromkeys(["warmup", "finetune", "search.generations"], 0),
    **dict.fromkeys(["pruning.paths_per_operation", "pruning.paths_per_threshold"], 1),
    **dict.fromkeys([f"path_filter.{key}_images" for key in ("bn", "validation", "evaluation_bn")], 1),
    **{"path_filter.fit.epochs": 1, "search.population": 2, "path_filter.folds": 2, "path_filter.paths_per_bucket": 4},
}
RATIOS = ["path_ratio", "operation_ratio", "operation_ratio_all", "operation_ratio_per_bucket"]
NAMES = {
    "pruning.strategy": "flops, flops_score_all, flops_score_per_bucket, none",
    "pruning.path_strategy": "score, uniform",
    "sampler.name": "balanced, fullnet, genes, uniform",
    "schedule.name": "constant, cosine, step",
    "path_filter.fit.objective": "binary, ranking",
}
NUMBERS, KEYS = "a finite number", "keys and their values"
REFUSED = [  # key, value, and a word of what is allowed instead
    *((key, value, f"of at least {least}") for key, least in LEAST.items() for value in (least - 1, 4.5, None)),
    *((f"pruning.{key}", value, "0 and below 1") for key in RATIOS for value in (1, -0.1, "a")),
    *((key, value, names) for key, names in NAMES.items() for value in ("fulnet", [])),
    *(("seed", value, f"from 0 to {2**32 - 1}") for value in (2**32, -1, None)),
    *(("path_filter.n_buckets", value, "from 1 to 1000") for value in (0, 1001, 2.5)),
    *(("search.budgets", value, NUMBERS) for value in (3e6, [float("inf")], [])),
    ("loss_weights", [1, 1], f"3, each {NUMBERS}"),
    ("schedule.at", 45, NUMBERS),
    ("path_filter.second_measurement", 3, "true or false"),
    ("path_filter.pretrained", 3, "a file, or null"),
    ("path_filter.network.main_effects", "sometimes", "auto"),
    ("search", 3, KEYS),
    ("phases", 3, "phases with their choices, or null"),
    ("warmpu", 3, "warmup"),
    ("pruning.ratio", 1, "path_ratio"),
    ("path_filter.paths", 1, "paths_per_bucket"),
    ("path_filter.network.dims", 1, "dim, "),
    ("path_filter.fit.epoch", 1, "epochs"),
    ("search.budget", 1, "budgets"),
    ("sampler.seed", 1, "name"),
    ("schedule.total", 1, "per_batch"),
]
LACKING = ["schedule", "pruning", "pruning.paths_per_threshold", "path_filter.n_buckets", "pruning.strategy"]
LACKING += ["path_filter.folds", "search.budgets", "sampler.name", "schedule.name"]


def refusal(run, key, value):
    """What is said of a run's settings with one of them changed, by its options or in its rehearsal."""
    with pytest.raises((ConfigError, SpaceError)) as caught:
        run.options = changed(run.options, key, value)
        run.rehearse(train_and_search)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(("key", "value", "allowed"), REFUSED, ids=lambda part: repr(part)[:40])
def test_options_that_cannot_be(ready, key, value, allowed):
    error = refusal(ready, key, value)
    assert type(error) is ConfigError
    assert allowed in error.allowed
    assert error.key == (f"hparams.{key}" if key.split(".")[0] in HPARAMS else key)
    assert error.given in (value, key.split(".")[-1])
    assert repr(error.given).strip("'") in str(error)


@pytest.mark.parametrize("key", LACKING)
def test_options_that_are_needed(ready, key):
    error = refusal(ready, key, ABSENT)
    group, _, last = (f"hparams.{key}" if "." not in key or key.startswith("schedule") else key).rpartition(".")
    assert error.key == f"{group}.{last}" and str(error) == f"{group} lacks {last}"


@pytest.mark.parametrize(("key", "least"), LEAST.items())
def test_the_least_that_may_be_is_accepted(ready, key, least):
    changed(ready.options, key, least)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pruning.operation_ratio_per_bucket", 0.99, "'flops_score_all'.*; the shortest path needs 4"),
        ("pruning.operation_ratio_all", 0.99, "'flops_score_all'.*; the shortest path needs 4.*lower the ratios"),
        ("search.budgets", [1e9, 1000], "search.budgets has 1,000; the cheapest path .* costs 421,248 MACs"),
        ("path_filter.network.heads", 3, "8.*3 heads"),
    ],
)
def test_settings_that_leave_nothing_are_found_in_the_rehearsal(ready, key, value, words):
    error = refusal(ready, key, value)
    assert isinstance(error, ConfigError if "heads" in key else SpaceError)
    assert re.search(words, str(error))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+pruning.foo=1"], "unknown key in pruning: 'foo'; known: "),
        (["hparams.metric=map"], "'map'; known: coco, voc, voc07"),
        (["hparams.metric=coco"], "VOC2007 test has none"),
        (["~args.print_frequency", "+args.print_frequency=0"], "args.print_frequency is 0"),
        (["~optimizer.train"], "optimizer.*train"),
        (["optimizer.train.alpha=abc"], "optimizer.train.alpha is 'abc'"),
        (["pruning.operation_ratio_per_bucket=0.99"], "'flops_score_all'"),
        ([f"{NETWORK}.n_classes=4"], "n_classes=4 .* 3 .*0, 1, 7"),
        ([f"{NETWORK}.neck=[8]"], "stride .*8 .*output_stride.* 4"),
        (["hparams.batch_size_train=64"], "hparams.batch_size_train is 64.* 44"),
        (["+optimizer.train.lr_scheduler=CosineScheduler", "+hparams.epoch=1"], "lr_scheduler .*hparams.schedule"),
        (["args.algorithm=OFAPretrainer"], "OFAPretrainer .*classification.* detection"),
    ],
)
def test_wrong_input_is_one_line_and_touches_no_result(again, overrides, said):
    before = again.results()
    assert re.search(said, again(*overrides).refusal)
    assert again.results() == before
    assert not (again.folder / "previous").exists()


def test_weights_of_another_network(command, tiny):
    wider = {"width_scale": 0.125, "channel_divisor": 4, "base_depths": [1, 1, 1, 1], "depths": [0, 1]}
    save_weights(tiny(space=wider), command.start / "other.h5")
    said = command(f"{NETWORK}.pretrained=other.h5").refusal
    assert said.startswith(f"{command.start}/other.h5 holds the weights of another network: ")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the host's log is open by then
def test_a_damaged_record_of_stages(again):
    (again.folder / "stages.json").write_text("{")
    assert again().refusal.startswith(f"{again.folder}/stages.json cannot be read")
    gc.collect()


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_checkpoint(again, monkeypatch):
    trained, step = [], PathStep.__call__

    def diverge(self, path):
        trained.append(path.tolist())
        if len(trained) == 4:  # in the second epoch of fine-tuning
            self._model.get_parameters()["heads/size/output/conv/_b"].d = np.nan
        return step(self, path)

    monkeypatch.setattr(PathStep, "__call__", diverge)
    said = again("pruning.path_ratio=0.3").refusal
    assert said.startswith(f"the training loss is nan at step 5, path {trained[3]}, images 0000")
    assert f".replay {again.folder}/debug_step_5 " in said and "the last checkpoint is kept" in said
    assert again.json("checkpoint_finetune/000000004/state.json")["step"] == 4
    assert "checkpoint_warmup/000000002/weights.h5" in again.results()


def test_an_image_that_cannot_be_read_in_the_middle_of_training_is_named(command, pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "digits")
    damaged = [*(tmp_path / "digits").glob("*/VOC2007/JPEGImages/000020.jpg")]  # of sets of other tests too
    for one in damaged:
        one.write_bytes(one.read_bytes()[:100])
    said = command(f"dataloader.voc.root={tmp_path}/digits").refusal
    assert any(str(one) in said for one in damaged)


def test_data_that_is_not_there(command):
    said = command.run("-c", "detofa_voc", "args.context=cpu").refusal
    assert said.startswith(f"no VOC2007 in {command.start}/data/VOC")
