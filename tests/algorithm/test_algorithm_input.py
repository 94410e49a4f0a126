"""Faults of a run's input are said in one line before anything is trained, and nothing is lost."""

import gc
import re
import shutil

import numpy as np
import pytest
from small_runs import ABSENT, changed

from nnabla_detofa.algorithm import train_and_search
from nnabla_detofa.errors import ConfigError, SpaceError
from nnabla_detofa.training.step import PathStep

NETWORK = "network.ofa_resnet50_centernet"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pruning.operation_ratio_per_bucket", 0.99, "'flops_score_all'.*; the shortest path needs 4"),
        ("pruning.operation_ratio_all", 0.99, "'flops_score_all'.*; the shortest path needs 4.*lower the ratios"),
        ("search.budgets", [1e9, 1000], "at most 1,000; the cheapest path .* costs 421,248 MACs"),
        ("path_filter.network.heads", 3, "8.*3 heads"),
        ("path_filter.network.main_effects", "sometimes", "auto"),
        ("path_filter.fit.objective", "auc", "binary, ranking"),
        ("path_filter.evaluation_bn_images", None, "path_filter.evaluation_bn_images is None"),
        ("path_filter.validation_images", 0.5, "path_filter.validation_images is 0.5"),
        ("pruning.paths_per_operation", 0, "pruning.paths_per_operation is 0"),
        ("pruning.operation_ratio_all", -0.1, "pruning.operation_ratio_all is -0.1"),
        ("search.generations", -1, "search.generations is -1"),
        ("search.population", 1, "search.population is 1"),
        ("search.budgets", [float("inf")], "search.budgets is "),
        ("sampler.name", ABSENT, "sampler lacks name"),
    ],
)
def test_settings_that_leave_nothing_are_found_in_the_rehearsal(ready, key, value, words):
    with pytest.raises((ConfigError, SpaceError), match=words) as caught:
        ready.options = changed(ready.options, key, value)
        ready.rehearse(train_and_search)
    assert caught.type is (SpaceError if "est path" in words else ConfigError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["hparams.metric=map"], "'map'; known: coco, voc, voc07"),
        (["hparams.metric=coco"], "VOC2007 test has none"),
        (["~optimizer.train"], "optimizer.*train"),
        (["pruning.operation_ratio_per_bucket=0.99"], "'flops_score_all'"),
        (["path_filter.prior=cost", "path_filter.network.main_effects=false"], "path_filter.prior .*main_effects=true"),
        (["path_filter.effects_of=genes", "path_filter.network.main_effects=false"], "effects_of .*main_effects=true"),
        (["path_filter.effects_of=gene"], "path_filter.effects_of.*'gene'; known: genes, tokens"),
        (["path_filter=ridge", "path_filter.filters=2"], "path_filter.filters .*'ridge'"),
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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the host's log is open by then
def test_a_damaged_record_of_stages(again):
    (again.folder / "stages.json").write_text("{")
    assert again().refusal.startswith(f"{again.folder}/stages.json ")
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
