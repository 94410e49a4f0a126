"""The options of a run: every key of a shipped configuration is declared, and no other; errors name a user's keys."""

import copy
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.launch.composition import compose, plain, shipped_configs
from nnabla_detofa.run_options import HOST_HPARAMS, SUPPLIED, PretrainingOptions, RunOptions, ScheduleOptions

CLASSES = {"DetOFASearcher": RunOptions, "OFAPretrainer": PretrainingOptions}


def given(name, *overrides):
    """The arguments that the host hands to the runner of a shipped configuration."""
    composed = compose(name, overrides)
    config = plain(OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"]), Path.cwd())
    return config["hparams"], {**config["args"], "comm": None, "event": None}


@pytest.fixture(scope="module")
def demo():
    return given("detofa_demo")


def changed(demo, key, value):
    """The demo's options with the value at a user's key."""
    hparams, args = copy.deepcopy(demo)
    *groups, last = key.removeprefix("hparams.").split(".")
    at = {"args": args}.get(groups[0], hparams.get(groups[0])) if groups else hparams
    for group in groups[1:]:
        at = at[group]
    at[last] = value
    return RunOptions.of(hparams, args)


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configurations_have_what_is_declared(name):
    hparams, args = given(name)
    options = CLASSES[args["algorithm"]].of(hparams, args)
    assert (options.seed, options.args.output_path, options.cost.name) == (0, ".", "flops")
    assert options.phases is None or list(options.phases) == list(hparams["phases"])


def test_phases_name_their_choices():
    hparams, args = given("imagenet_pretrain")
    first = PretrainingOptions.of(hparams, args).phases["fullnet"]
    assert (first.epochs, first.rate, first.batch_size, first.ramp) == (185, 0.65, None, 5)
    assert first.choices == {"depths": [2], "expands": [0.35], "widths": [1.0]}
    hparams["phases"]["fullnet"].pop("rate")
    with pytest.raises(ConfigError) as caught:
        PretrainingOptions.of(hparams, args)
    assert caught.value.key == "hparams.phases.fullnet.rate"


def test_what_functions_get(demo):
    options = RunOptions.of(*demo)
    assert {"strategy", "operation_ratio", "paths_per_operation"} <= options.pruning.operations.keys()
    assert not {"path_ratio", "path_strategy", "paths_per_threshold"} & options.pruning.operations.keys()
    assert options.search.evolution["generations"] == 500
    assert "budgets" not in options.search.evolution
    assert dict(options.path_filter.fit)["epochs"] == 50


@pytest.mark.parametrize(
    ("key", "values"),
    {
        "args.checkpoint_minutes": [0, "10", True],
        "args.checkpoint_steps": [0, 1.5],
        "args.print_frequency": [0, None],
        "args.type_config": ["fp16"],
        "args.prin_frequency": [10],
        "cost.name": ["flop"],
        "cost.batch": [1],
        "hparams.batch_size_train": [0, None],
        "hparams.finetune": [-1, "1"],
        "hparams.identity": [3, None],
        "hparams.loss_weights": [[1, 1], [1, 1, -1], 3, [1, 1, float("nan")]],
        "hparams.phases": [{}, 3, {"a": 3}, *({name: {}} for name in ("a b", "é", "1st", "", "../a", 3, True, None))],
        "hparams.schedule": ["cosine", None],
        "hparams.schedule.at": [["a"], 3],
        "hparams.schedule.factor": [0, -1, "x", None, float("nan")],
        "hparams.schedule.name": ["stp", None],
        "hparams.schedule.per_batch": [0, 1.5],
        "hparams.schedule.ramp": [-1, "x", None, float("nan")],
        "hparams.schedule.ramp_from": [-1, "x", None, float("nan")],
        "hparams.schedule.rmap": [1],
        "hparams.seed": [-1, 2**32],
        "hparams.warmpu": [3],
        "path_filter.bn_images": [0],
        "path_filter.fit.epoch": [3],
        "path_filter.folds": [1],
        "path_filter.n_buckets": [0, 1001],
        "path_filter.network.dims": [3],
        "path_filter.paths_per_bucket": [3],
        "path_filter.pretrained": [3],
        "path_filter.second_measurement": ["true", 1],
        "pruning.operation_ratio": [1, -0.1],
        "pruning.path_ratio": [1, -0.1, None],
        "pruning.path_strategy": ["scores"],
        "pruning.paths_per_threshold": [0],
        "pruning.strategy": ["flop"],
        "sampler.name": ["uniforn", None],
        "search.budgets": [[], 3, ["a"]],
        "search.generation": [3],
    }.items(),
)
def test_what_a_run_may_not_have(demo, key, values):
    for value in values:
        with pytest.raises(ConfigError) as caught:
            changed(demo, key, value)
        assert caught.value.key == key


@pytest.mark.parametrize("group", ["hparams", "args", "pruning", "path_filter", "path_filter.fit", "cost"])
def test_a_group_holds_keys(demo, group):
    hparams, args = copy.deepcopy(demo)
    holder, _, last = group.rpartition(".")
    (hparams[holder] if holder else hparams)[last] = "x"
    with pytest.raises(ConfigError) as caught:
        RunOptions.of("x" if group == "hparams" else hparams, "x" if group == "args" else args)
    assert (caught.value.key, caught.value.given) == (group, "x")


def test_a_phase(demo):
    with pytest.raises(ConfigError) as caught:
        changed(demo, "hparams.phases", {"a": {"epochs": 0}})
    assert caught.value.key == "hparams.phases.a.epochs"


def test_latency_alone_has_options(demo):
    assert changed(demo, "cost", {"name": "latency", "batch": 2}).cost.batch == 2
    assert changed(demo, "cost", None).cost.name == "flops"
    for key, value in (("repetitions", 0), ("check_paths", -1), ("batch", 1.5), ("table", 3), ("reps", 1)):
        with pytest.raises(ConfigError) as caught:
            changed(demo, "cost", {"name": "latency", key: value})
        assert caught.value.key == f"cost.{key}"


@pytest.mark.parametrize("key", [*HOST_HPARAMS, *SUPPLIED])
def test_what_the_host_reads_or_adds_is_passed_over(demo, key):
    changed(demo, f"hparams.{key}", 3)


@pytest.mark.parametrize(
    ("key", "value"), [("sampler.name", "fullnet"), ("hparams.phases", {"depth": {"widths": [1.0]}})]
)
def test_methods_that_exclude_pruning(demo, key, value):
    for how in ({"strategy": "flops", "path_ratio": 0.0}, {"strategy": "none", "path_ratio": 0.1}):
        with pytest.raises(ConfigError) as caught:
            changed((demo[0] | {"pruning": demo[0]["pruning"] | how}, demo[1]), key, value)
        assert caught.value.key == key
    none = {"strategy": "none", "path_ratio": 0.0}
    options = changed((demo[0] | {"pruning": demo[0]["pruning"] | none}, demo[1]), key, value)
    assert not options.pruning.prunes
    assert options.trains_one is (value == "fullnet")


def test_one_path_is_neither_drawn_nor_pruned(demo):
    assert demo[0]["pruning"]["strategy"] != "none"
    options = changed(demo, "args.search", False)
    assert options.trains_one and not options.pruning.prunes and options.cost.check_paths == 0
    phases = {"a": {"epochs": 1}}
    unpruned = {**demo[0], "pruning": {**demo[0]["pruning"], "strategy": "none", "path_ratio": 0.0}, "phases": phases}
    with pytest.raises(ConfigError) as caught:
        changed((unpruned, demo[1]), "args.search", False)
    assert (caught.value.key, caught.value.given) == ("hparams.phases", ["a"])


def test_pre_training_is_of_a_supernet():
    hparams, args = given("imagenet_pretrain")
    with pytest.raises(ConfigError) as caught:
        PretrainingOptions.of(hparams, {**args, "search": False})
    assert (caught.value.key, caught.value.given) == ("args.search", False)


def test_pre_training_leaves_a_filter():
    hparams, args = given("imagenet_pretrain", "path_filter=ridge")
    with pytest.raises(ConfigError) as caught:
        PretrainingOptions.of(hparams, args)
    assert (caught.value.key, caught.value.given) == ("path_filter.ranker", "ridge")


def test_a_schedule_of_steps_has_some():
    with pytest.raises(ConfigError, match=r"schedule.at is \[\]; it must be at least one epoch for name=step"):
        ScheduleOptions.of("hparams.schedule", {"name": "step"})
    assert ScheduleOptions.of("hparams.schedule", {"name": "step", "at": [3]}).at == (3,)
