"""Answers to what the host would meet with a bare KeyError or a failed assert (an addition; not in the paper)."""

import inspect
from collections.abc import Callable, Collection, Mapping
from itertools import chain
from typing import Any

from nnabla import solvers

from ..errors import ConfigError, is_number, is_whole, require_ratio, unknown

SOLVERS = {name: make for name, make in vars(solvers).items() if name[:1].isupper() and not isinstance(make, type)}
# keywords of the host's Optimizer itself; it hands the others to nnabla's solver
OPTIMIZER_KEYS = ("name", "lr_scheduler", "weight_decay", "grad_clip", "retain_state")
RATES, MOMENTS = ("alpha", "lr"), ("beta1", "beta2", "momentum")
# the schedulers that the host can build, and what each reads from hparams
SCHEDULERS = {
    "CosineScheduler": (),
    "CosineSchedulerWarmup": ("cosine_warmup_epoch", "warmup_lr"),
    "StepScheduler": ("step_decay_rate", "epoch_steps"),
}
# what runners of the host read and ours do not
UNREAD_ARGS, HOST_HPARAMS = ("save_nnp", "no_visualize"), ("epoch", *chain(*SCHEDULERS.values()))


def need(config: Mapping[str, Any], *path: str) -> Any:
    """The value at `path` of a nested configuration; ConfigError when it is not there."""
    value: Any = config
    for depth, key in enumerate(path, start=1):
        if not isinstance(value, Mapping) or key not in value:
            raise ConfigError(f"the configuration lacks {'.'.join(path[:depth])}")
        value = value[key]
    return value


def only_entry(config: Mapping[str, Any], *path: str) -> tuple[str, dict[str, Any]]:
    """Name and options of the one entry that `network` or `dataloader` holds."""
    entries = need(config, *path)
    if not isinstance(entries, Mapping) or len(entries) != 1:
        raise ConfigError(f"{'.'.join(path)} must hold exactly one entry, a name and its options; it is {entries!r}")
    name, options = next(iter(entries.items()))
    return name, dict(mapping(f"{'.'.join(path)}.{name}", options or {}))


def check_name(config: Mapping[str, Any]) -> None:
    """The run's name, where it has one, is a folder's; Hydra has made that folder by then."""
    name = config.get("name", "trial")
    if not isinstance(name, (str, int, float)) or str(name) in ("", ".", "..") or "/" in str(name):
        raise ConfigError(f"name is {name!r}; it must be a folder's name, without / and neither . nor ..")


def check_args(args: Mapping[str, Any]) -> None:
    """What the launcher itself reads of `args`, beside the names of algorithm and device."""
    if not isinstance(need({"args": args}, "args", "output_path"), str):
        raise ConfigError(f"args.output_path is {args['output_path']!r}; it must name a folder; '.' is the run's own")
    if not isinstance(need({"args": args}, "args", "search"), bool):
        raise ConfigError(f"args.search is {args['search']!r}; it must be true or false")


def check_hparams(hparams: Mapping[str, Any]) -> None:
    """Those of ours that a run could only stumble over: what it is known by, and the signs of its losses."""
    if "identity" in mapping("hparams", hparams):
        for group in ("network", "dataloader"):
            name, _ = only_entry({"hparams": hparams}, "hparams", "identity", group)
            mapping(f"hparams.identity.{group}.{name}", hparams["identity"][group][name])
    weights = hparams.get("loss_weights")
    if isinstance(weights, list) and any(is_number(one) and one < 0 for one in weights):
        raise ConfigError(f"hparams.loss_weights is {weights!r}; none of them may be below 0")


def without_effect(config: Mapping[str, Any]) -> list[str]:
    """Keys of a configuration that runners of the host read and ours do not."""
    return [
        *(f"args.{key}" for key in UNREAD_ARGS if config["args"].get(key)),
        *(f"hparams.{key}" for key in HOST_HPARAMS if key in config["hparams"]),
        *(f"optimizer.{name}" for name in config["optimizer"] if name != "train"),
        *(f"regularizer.{name}" for name in config.get("regularizer", ())),
    ]


def check_keywords(
    where: str, call: Callable, given: Collection[str], *, supplied: Collection[str] = (), also: Collection[str] = ()
) -> None:
    """Raise ConfigError where `call` would refuse `given`: an unknown keyword, or a missing one.

    `supplied` are keywords that the launcher adds itself; `also` are allowed beside those of `call`.
    """
    parameters = inspect.signature(call).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in supplied]
    known = {p.name for p in named} | set(also)
    takes_any = not also and any(p.kind is p.VAR_KEYWORD for p in parameters)
    for key in given:
        if key not in known and not takes_any:
            raise unknown(f"key in {where}:", key, known)
    missing = [p.name for p in named if p.default is p.empty and p.name not in given]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")


def inherited_options(network: type) -> list[str]:
    """Optional keywords of a class and, where its `**options` go on to its bases, of those; none if any are taken."""
    found: list[str] = []
    for each in network.__mro__[:-1]:
        if initialise := vars(each).get("__init__"):
            parameters = inspect.signature(initialise).parameters.values()
            found += [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty]
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                return found
    return []


def settle_batches(hparams: dict[str, Any], n_procs: int, *, validates: bool) -> None:
    """Write a process's share of the batch for `mini_batch_train: null`; ConfigError for batches that do not divide.

    Each global batch has to divide evenly into processes and mini-batches. Only the host's algorithms read that of
    validation (`validates`); for ours one is written that the host takes.
    """
    batch = _positive(hparams, "batch_size_train")
    if need({"hparams": hparams}, "hparams", "mini_batch_train") is None:
        if batch % n_procs:
            raise ConfigError(
                f"hparams.batch_size_train is {batch}; it must be a multiple of the number of processes ({n_procs})"
            )
        hparams["mini_batch_train"] = batch // n_procs
    if not validates:
        _positive(hparams, "batch_size_valid")
        hparams["batch_size_valid"] = _positive(hparams, "mini_batch_valid") * n_procs
    for split in ("train", "valid"):
        batch, mini = (_positive(hparams, f"{kind}_{split}") for kind in ("batch_size", "mini_batch"))
        if batch % (n_procs * mini):
            raise ConfigError(
                f"hparams.batch_size_{split} is {batch}; it must be a multiple of"
                f" hparams.mini_batch_{split} ({mini}) x processes ({n_procs})"
            )


def check_optimizers(config: Mapping[str, Any]) -> None:
    """Solver, keywords, numbers and scheduler of every entry of `optimizer`."""
    for name, options in mapping("optimizer", need(config, "optimizer")).items():
        where = f"optimizer.{name}"
        mapping(where, options)
        solver = options.get("name", "Sgd")
        if solver not in SOLVERS:
            raise unknown(f"{where}.name", solver, SOLVERS)
        passed_on = [key for key in options if key not in OPTIMIZER_KEYS]
        check_keywords(where, SOLVERS[solver], passed_on, also=OPTIMIZER_KEYS)
        _check_numbers(where, SOLVERS[solver], options)
        if options.get("lr_scheduler") is not None:
            _check_scheduler(name, options, need(config, "hparams"))


def _check_numbers(where: str, solver: Callable, options: Mapping[str, Any]) -> None:
    """What the solver has a number for by default has to be one; the host's own two may be null as well."""
    defaults = {p.name: p.default for p in inspect.signature(solver).parameters.values()}
    for key, value in options.items():
        if not is_number(defaults.get(key)):
            continue
        if not is_number(value) or (key in RATES and value <= 0):
            above = " above 0" if key in RATES else ""
            raise ConfigError(f"{where}.{key} is {value!r}; it must be a finite number{above}")
        if key in MOMENTS:
            require_ratio(f"{where}.{key}", value)
    if (decay := options.get("weight_decay")) is not None and not (is_number(decay) and decay >= 0):
        raise ConfigError(f"{where}.weight_decay is {decay!r}; it must be a finite number of at least 0, or null")
    if (clip := options.get("grad_clip")) is not None and not (is_number(clip) and clip > 0):
        raise ConfigError(f"{where}.grad_clip is {clip!r}; it must be a finite number above 0, or null")


def mapping(where: str, value: object) -> Mapping[str, Any]:
    """`value`, which has to hold keys; ConfigError otherwise."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} is {value!r}; it must hold keys and their values")
    return value


def _check_scheduler(name: str, options: Mapping[str, Any], hparams: Mapping[str, Any]) -> None:
    scheduler = options["lr_scheduler"]
    if scheduler not in SCHEDULERS:
        raise unknown(f"optimizer.{name}.lr_scheduler", scheduler, SCHEDULERS)
    for key in ("epoch" if "train" in name else "warmup", *SCHEDULERS[scheduler]):
        need({"hparams": hparams}, "hparams", key)
    # with a negative hparams.warmup_lr the host starts the warm-up at `lr` and does not look for Adam's `alpha`
    rates = ("lr",) if scheduler == "CosineSchedulerWarmup" and hparams["warmup_lr"] < 0 else ("lr", "alpha")
    if not any(rate in options for rate in rates):
        raise ConfigError(f"optimizer.{name} has an lr_scheduler and lacks its start rate: {' or '.join(rates)}")


def _positive(hparams: Mapping[str, Any], key: str) -> int:
    value = need({"hparams": hparams}, "hparams", key)
    if not is_whole(value) or value < 1:
        raise ConfigError(f"hparams.{key} is {value!r}; it must be a whole number, 1 or more")
    return int(value)
