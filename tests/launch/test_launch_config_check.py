"""Faults of a configuration are answered with the key, what was given and what is allowed."""

import pytest

from nnabla_detofa.launch.config_check import (
    Config,
    accepted,
    check_keywords,
    check_optimizers,
    settle_batches,
    small_passes,
    without_effect,
)

from .conftest import CONFIG, GONE

NAN = float("nan")


@pytest.mark.parametrize(
    ("key", "values"),
    {
        "name": ["", ".", "..", "a/b", "/a", None, {}, []],
        "args": [None, 3],
        "args.algorithm": [3, None],
        "args.output_path": [3, None, {}],
        "args.search": [1, None, "true"],
        "hparams": [3, None],
        "hparams.seed": ["abc", -1, 2**32, 1.0, True],
        "hparams.identity": [3, []],
        "hparams.identity.network": [{}, 3, {"toy": 3}],
        "network": [{}, {"a": {}, "b": {}}, None, "voc", {"toy": 3}],
        "dataloader": [{}, {"a": {}, "b": {}}, None, "voc", {"toy": 3}],
        "optimizer": [3, {"train": "Adam"}],
        "regularizer": [3, {"MemoryEstimator": 3}],
        **{f"hparams.batch_size_{split}": [0, -4, 2.5, "16", True, None] for split in ("train", "valid")},
        **{f"hparams.mini_batch_{split}": [0, -4, 2.5, "16", True] for split in ("train", "valid")},
    }.items(),
)
def test_a_value_that_cannot_be(changed, refusal, key, values):
    for value in values:
        config = changed(key, value)
        if key.startswith("hparams.identity."):
            config["hparams"]["identity"]["dataloader"] = {"toydata": {}}
        error = refusal(Config.of, "", config)
        assert (error.key, error.given) == (key, value)
        assert error.allowed and error.allowed in str(error)


@pytest.mark.parametrize("key", [*CONFIG, "args.search", "args.output_path", "hparams.batch_size_train"])
def test_a_key_that_is_missing(changed, refusal, key):
    error = refusal(Config.of, "", changed(key, GONE))
    assert error.key == key
    assert " lacks " in str(error)


def test_a_group_that_nobody_reads(changed, refusal):
    error = refusal(Config.of, "", changed("hparam", {}))
    assert (error.key, error.given) == ("hparam", "hparam")
    assert "did you mean 'hparams'?" in str(error)


@pytest.mark.parametrize("name", ["a", "a.b", "..a", 3])
def test_names_of_folders(changed, name):
    Config.of("", changed("name", name))


def test_a_whole_configuration_and_what_others_read(changed):
    config = changed("args.whatever", 3)
    config["network"] = {"toy": None}
    config["hparams"]["identity"] = {"network": {"toy": {}}, "dataloader": {"toydata": {}}}
    Config.of("", config)


def test_keys_that_only_runners_of_the_host_read(changed):
    config = changed("hparams.warmup_lr", 0)
    config["args"] |= {"save_nnp": True, "no_visualize": False}
    config["regularizer"] = {"MemoryEstimator": {}}
    unread = ["args.save_nnp", "hparams.epoch", "hparams.warmup_lr", "optimizer.plain", "regularizer.MemoryEstimator"]
    lines = without_effect(config)
    assert lines == [f"{key} has no effect: ToyRunner does not read it" for key in unread]
    config["args"]["algorithm"] = "DetOFASearcher"
    answer, *others = without_effect(config)
    assert answer.startswith("args.save_nnp has no effect: ") and "detector.nnp" in answer
    assert [line.split(" has ")[0] for line in others] == unread[1:]


@pytest.mark.parametrize(("strategy", "search"), [("flops", False), ("flops", True), ("none", False)])
def test_pruning_where_one_path_is_trained(changed, strategy, search):
    config = changed("args.search", search)
    config["pruning"] = {"strategy": strategy}
    said = any(line.startswith("pruning has no effect") for line in without_effect(config))
    assert said is (strategy == "flops" and not search)


def toy(width, *, depth=1, communicator=None): ...


def test_keywords_that_a_call_takes():
    assert accepted(toy, "communicator") == ({"width", "depth"}, ["width"])
    assert accepted(lambda width, **_: width) == (None, ["width"])


@pytest.mark.parametrize(("given", "key"), [({"width": 1, "dept": 2}, "dept"), ({}, "width"), ({"depth": 1}, "width")])
def test_keywords_that_a_call_would_refuse(refusal, given, key):
    assert refusal(check_keywords, "network.toy", given, *accepted(toy)).key == f"network.toy.{key}"
    check_keywords("network.toy", {"width": 1, "depth": 2}, *accepted(toy))
    check_keywords("network.toy", {"whatever": 1}, None, [])


BATCHES = {"batch_size_train": 16, "mini_batch_train": 4, "batch_size_valid": 8, "mini_batch_valid": 8}


def settled(n_procs=1, *, validates=True, **options):
    hparams = {**BATCHES, **options}
    settle_batches(hparams, n_procs, validates=validates)
    return hparams


def test_batches_divide_into_processes_and_mini_batches(refusal):
    assert settled() == BATCHES
    assert refusal(settled, 2).key == "hparams.batch_size_valid"
    error = refusal(settled, batch_size_train=18)
    assert (error.key, error.given) == ("hparams.batch_size_train", 18)
    assert settled(4, validates=False) == {**BATCHES, "batch_size_valid": 32}  # nothing of ours validates in batches


@pytest.mark.parametrize(("n_procs", "share"), [(1, 16), (2, 8), (16, 1)])
def test_a_mini_batch_of_null_is_the_processes_share(refusal, n_procs, share):
    assert settled(n_procs, validates=False, mini_batch_train=None)["mini_batch_train"] == share
    assert refusal(settled, 3, mini_batch_train=None).key == "hparams.batch_size_train"


@pytest.mark.parametrize(
    ("mini", "n_procs", "said"), [(8, 4, False), (4, 8, True), (4, 1, False), (1, 32, True), (32, 1, False)]
)
def test_few_images_in_a_pass_of_several_processes_are_told(mini, n_procs, said):
    """With one process they are the user's own choice."""
    line = small_passes({"mini_batch_train": mini, "batch_size_train": 32}, n_procs)
    assert (line is not None) is said
    assert not said or (f"the {mini} image" in line and "batch_size_train=32" in line)


def checked(**options):
    check_optimizers({"train": options})


def test_optimizers_the_host_can_build():
    checked(name="Adam", alpha=1e-3, weight_decay=1e-4, grad_clip=1.0, eps=1e-6, beta1=0)
    checked(lr=0.1, lr_scheduler=None, weight_decay=None, grad_clip=None)
    checked(name="Adam", alpha=1e-3, lr_scheduler="CosineScheduler")
    check_optimizers({"plain": None})


@pytest.mark.parametrize(
    ("solver", "key", "values"),
    [
        ("Adam", "alpha", ["abc", None, True, NAN, 10**400, 0, -0.1]),
        ("Momentum", "lr", ["abc", None, True, NAN, 10**400, 0, -0.1]),
        *((solver, key, [1, -0.1, 1.5]) for solver, key in (("Adam", "beta1"), ("AdamW", "beta2"))),
        ("Nesterov", "momentum", [1, -0.1]),
        ("Adam", "eps", ["a"]),
        ("Adam", "grad_clip", ["a", 0]),
        ("Adam", "weight_decay", [-0.1]),
        ("Adam", "lr_scheduler", ["CosineSchedule"]),
        ("Adam", "lr", [0.1]),
        ("Adm", "name", [None]),
    ],
)
def test_what_an_optimizer_may_not_have(refusal, solver, key, values):
    for value in values:
        error = refusal(checked, **{"name": solver, **({} if key == "name" else {key: value})})
        assert error.key == f"optimizer.train.{key}"
        assert error.allowed in str(error)
