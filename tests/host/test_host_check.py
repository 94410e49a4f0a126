"""What a configuration may not hold is answered with the place, the value and what is allowed."""

import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.host.check import (
    check_args,
    check_hparams,
    check_keywords,
    check_name,
    check_optimizers,
    inherited_options,
    need,
    only_entry,
    settle_batches,
    without_effect,
)

BATCHES = {"batch_size_train": 16, "mini_batch_train": 4, "batch_size_valid": 8, "mini_batch_valid": 8}


def make_network(*, width: int, depth: int = 1, communicator: object = None) -> None: ...


def message(call, *args, **kwargs) -> str:
    with pytest.raises(ConfigError) as caught:
        call(*args, **kwargs)
    return str(caught.value)


def test_need_finds_nested_values_and_names_the_first_missing_part():
    config = {"args": {"search": True}}
    assert need(config, "args", "search") is True
    assert message(need, config, "args", "algorithm") == "the configuration lacks args.algorithm"
    assert message(need, config, "hparams", "seed") == "the configuration lacks hparams"
    assert message(need, config, "args", "search", "x") == "the configuration lacks args.search.x"


@pytest.mark.parametrize("group", [{}, {"a": {}, "b": {}}, None, "voc"])
def test_only_entry_refuses_anything_but_one(group):
    assert message(only_entry, {"network": group}, "network") == (
        f"network must hold exactly one entry, a name and its options; it is {group!r}"
    )


def test_only_entry_takes_a_name_without_options():
    assert only_entry({"network": {"toy": None}}, "network") == ("toy", {})


def test_options_of_the_only_entry_have_names():
    assert message(only_entry, {"network": {"toy": 3}}, "network") == (
        "network.toy is 3; it must hold keys and their values"
    )


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", None, {}, []])
def test_a_run_has_a_folders_name(name):
    for good in ("a", "a.b", "..a", 3):
        check_name({"name": good})
    check_name({})
    assert message(check_name, {"name": name}) == (
        f"name is {name!r}; it must be a folder's name, without / and neither . nor .."
    )


@pytest.mark.parametrize("value", [3, None, {}])
def test_what_the_launcher_reads_of_args(value):
    args = {"output_path": ".", "search": True}
    check_args(args)
    assert message(check_args, {**args, "output_path": value}) == (
        f"args.output_path is {value!r}; it must name a folder; '.' is the run's own"
    )
    assert message(check_args, {**args, "search": value}) == f"args.search is {value!r}; it must be true or false"


IDENTITY = {"network": {"toy": {}}, "dataloader": {"toydata": {}}}


@pytest.mark.parametrize(
    ("hparams", "said"),
    [
        (3, "hparams is 3; it must hold keys and their values"),
        ({"identity": None}, "the configuration lacks hparams.identity.network"),
        ({"identity": {"network": {"toy": {}}}}, "the configuration lacks hparams.identity.dataloader"),
        (
            {"identity": {**IDENTITY, "network": 3}},
            "hparams.identity.network must hold exactly one entry, a name and its options; it is 3",
        ),
        (
            {"identity": {**IDENTITY, "dataloader": {}}},
            "hparams.identity.dataloader must hold exactly one entry, a name and its options; it is {}",
        ),
        (
            {"identity": {**IDENTITY, "dataloader": {"toydata": None}}},
            "hparams.identity.dataloader.toydata is None; it must hold keys and their values",
        ),
        ({"loss_weights": [1, -1, 0]}, "hparams.loss_weights is [1, -1, 0]; none of them may be below 0"),
    ],
)
def test_hparams_that_a_run_would_stumble_over(hparams, said):
    check_hparams({})
    check_hparams({"identity": IDENTITY, "loss_weights": [1.0, 0.1, 0]})
    assert message(check_hparams, hparams) == said


def test_keys_that_only_runners_of_the_host_read():
    config = {"args": {"save_nnp": False}, "hparams": {"seed": 0}, "optimizer": {"train": {}}}
    assert without_effect(config) == []
    config = {
        "args": {"save_nnp": True, "no_visualize": True},
        "hparams": {"epoch": 5, "warmup_lr": 0},
        "optimizer": {"train": {}, "valid": {}},
        "regularizer": {"MemoryEstimator": {}},
    }
    assert without_effect(config) == [
        *("args.save_nnp", "args.no_visualize", "hparams.epoch", "hparams.warmup_lr"),
        *("optimizer.valid", "regularizer.MemoryEstimator"),
    ]


def test_keywords():
    check_keywords("network.toy", make_network, {"width": 1})
    check_keywords("network.toy", lambda **anything: anything, {"whatever": 1})
    assert message(check_keywords, "network.toy", make_network, {"width": 1, "dept": 2}) == (
        "unknown key in network.toy: 'dept'; known: communicator, depth, width (did you mean 'depth'?)"
    )
    assert message(
        check_keywords, "network.toy", make_network, ["width", "communicator"], supplied=["communicator"]
    ) == ("unknown key in network.toy: 'communicator'; known: depth, width")
    assert message(check_keywords, "network.toy", make_network, []) == "network.toy lacks width"


class Backbone:
    def __init__(self, space, *, rng, width_scale=1.0): ...


class Detector(Backbone):
    def __init__(self, space, *, n_classes, head=64, **backbone):
        super().__init__(space, rng=(n_classes, head), **backbone)


class SearchNet(Detector):
    def __init__(self, n_classes, *, seed=0, **options):
        super().__init__(seed, n_classes=n_classes, **options)


class TakesAnything:
    def __init__(self, **options): ...


def test_options_of_a_network_are_those_of_its_bases_too():
    assert inherited_options(SearchNet) == ["seed", "head", "width_scale"]
    assert inherited_options(TakesAnything) == []
    options = {"n_classes": 3, "seed": 1, "head": 8, "width_scale": 0.5}
    check_keywords("network.toy", SearchNet, options, also=inherited_options(SearchNet))
    assert message(
        check_keywords, "network.toy", SearchNet, {**options, "heads": 1}, also=inherited_options(SearchNet)
    ) == ("unknown key in network.toy: 'heads'; known: head, n_classes, seed, width_scale (did you mean 'head'?)")


def settled(n_procs=1, *, validates=True, **changed):
    hparams = {**BATCHES, **changed}
    settle_batches(hparams, n_procs, validates=validates)
    return hparams


def test_batches_divide_into_processes_and_mini_batches():
    assert settled() == BATCHES
    assert message(settled, 2) == (
        "hparams.batch_size_valid is 8; it must be a multiple of hparams.mini_batch_valid (8) x processes (2)"
    )
    assert message(settled, batch_size_train=18) == (
        "hparams.batch_size_train is 18; it must be a multiple of hparams.mini_batch_train (4) x processes (1)"
    )


def test_batches_of_validation_divide_only_where_something_validates_in_batches():
    assert settled(4, validates=False) == {**BATCHES, "batch_size_valid": 4 * BATCHES["mini_batch_valid"]}
    assert "hparams.batch_size_valid is 0" in message(settled, validates=False, batch_size_valid=0)


@pytest.mark.parametrize(("n_procs", "share"), [(1, 16), (2, 8), (16, 1)])
def test_a_mini_batch_of_null_is_the_processes_share(n_procs, share):
    assert settled(n_procs, validates=False, mini_batch_train=None)["mini_batch_train"] == share
    assert message(settled, 3, mini_batch_train=None) == (
        "hparams.batch_size_train is 16; it must be a multiple of the number of processes (3)"
    )


@pytest.mark.parametrize("value", [0, -4, 2.5, "16", True, None])
def test_batch_sizes_are_whole_numbers(value):
    assert message(settled, batch_size_train=value) == (
        f"hparams.batch_size_train is {value!r}; it must be a whole number, 1 or more"
    )


def test_batch_sizes_are_there():
    assert message(settle_batches, {}, 1, validates=True) == "the configuration lacks hparams.batch_size_train"


def optimizer(hparams=None, **options):
    return {"optimizer": {"train": options}, "hparams": hparams or {}}


def test_optimizers_the_host_can_build():
    check_optimizers(optimizer(name="Adam", alpha=1e-3, weight_decay=1e-4, grad_clip=1.0))
    check_optimizers(optimizer(lr=0.1, lr_scheduler=None))
    check_optimizers(optimizer({"epoch": 2}, name="Adam", alpha=1e-3, lr_scheduler="CosineScheduler"))


def test_unknown_solver_and_keyword():
    assert message(check_optimizers, optimizer(name="Adm")).startswith(
        "unknown optimizer.train.name 'Adm'; known: AMSBound"
    )
    assert message(check_optimizers, optimizer(name="Adam", lr=0.1)).startswith(
        "unknown key in optimizer.train: 'lr'; known:"
    )


@pytest.mark.parametrize("value", ["abc", None, True, float("nan"), 10**400, 0, -0.1])
def test_rates_are_numbers(value):
    for key, solver in (("alpha", "Adam"), ("lr", "Momentum")):
        assert message(check_optimizers, optimizer(name=solver, **{key: value})) == (
            f"optimizer.train.{key} is {value!r}; it must be a finite number above 0"
        )


@pytest.mark.parametrize("value", [1, -0.1, 1.5])
@pytest.mark.parametrize(("solver", "key"), [("Adam", "beta1"), ("AdamW", "beta2"), ("Nesterov", "momentum")])
def test_moments_are_shares(solver, key, value):
    check_optimizers(optimizer(name=solver, **{key: 0}))
    assert message(check_optimizers, optimizer(name=solver, **{key: value})) == (
        f"optimizer.train.{key} is {value}; it must be a number in [0, 1)"
    )


def test_other_numbers_of_a_solver():
    check_optimizers(optimizer(name="Adam", eps=1e-6))
    assert message(check_optimizers, optimizer(name="Adam", eps="a")) == (
        "optimizer.train.eps is 'a'; it must be a finite number"
    )


def test_optimizers_that_are_no_options():
    check_optimizers(optimizer(name="Adam", weight_decay=None, grad_clip=None))
    assert message(check_optimizers, optimizer(name="Adam", grad_clip="a")) == (
        "optimizer.train.grad_clip is 'a'; it must be a finite number above 0, or null"
    )
    assert message(check_optimizers, optimizer(name="Adam", grad_clip=0)) == (
        "optimizer.train.grad_clip is 0; it must be a finite number above 0, or null"
    )
    assert message(check_optimizers, optimizer(name="Adam", weight_decay=-0.1)) == (
        "optimizer.train.weight_decay is -0.1; it must be a finite number of at least 0, or null"
    )
    assert message(check_optimizers, {"optimizer": 3}) == "optimizer is 3; it must hold keys and their values"
    assert message(check_optimizers, {"optimizer": {"train": "Adam"}}) == (
        "optimizer.train is 'Adam'; it must hold keys and their values"
    )


def test_schedulers():
    assert message(check_optimizers, optimizer(lr=0.1, lr_scheduler="CosineSchedule")) == (
        "unknown optimizer.train.lr_scheduler 'CosineSchedule';"
        " known: CosineScheduler, CosineSchedulerWarmup, StepScheduler (did you mean 'CosineScheduler'?)"
    )
    steps = optimizer({"epoch": 2, "step_decay_rate": 0.1}, lr=0.1, lr_scheduler="StepScheduler")
    assert message(check_optimizers, steps) == "the configuration lacks hparams.epoch_steps"
    assert message(check_optimizers, optimizer({"epoch": 2}, lr_scheduler="CosineScheduler")) == (
        "optimizer.train has an lr_scheduler and lacks its start rate: lr or alpha"
    )


def test_warmup_from_a_negative_rate_needs_lr():
    hparams = {"epoch": 2, "cosine_warmup_epoch": 1, "warmup_lr": -1}
    adam = optimizer(hparams, name="Adam", alpha=1e-3, lr_scheduler="CosineSchedulerWarmup")
    assert message(check_optimizers, adam) == "optimizer.train has an lr_scheduler and lacks its start rate: lr"
