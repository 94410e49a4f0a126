"""Checks of a configuration before the launcher reads it, where the host has a bare KeyError (an addition)."""

from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import Parameter, signature
from typing import Annotated, Any

from nnabla import solvers
from pydantic import ConfigDict, create_model

from ..errors import ConfigError, is_number, unknown
from ..options import Flag, Number, OneOf, Options, Text, Value, Whole, ratio
from ..run_options import HOST_HPARAMS

SOLVERS = {name: make for name, make in vars(solvers).items() if name[:1].isupper() and not isinstance(make, type)}
RATES, MOMENTS = ("alpha", "lr"), ("beta1", "beta2", "momentum")
UNREAD_ARGS = ("save_nnp", "no_visualize")  # what runners of the host read and ours do not, as HOST_HPARAMS
LEFT_ANYWAY = "each detector is left as detectors/RANK-COST/detector.nnp, with or without it"
FEW_IMAGES = 8  # of a forward pass in training
SCHEDULERS = ("CosineScheduler", "CosineSchedulerWarmup", "StepScheduler")  # that the host can build


def _is_folder(name: Any) -> bool:
    return isinstance(name, (str, int, float)) and str(name) not in ("", ".", "..") and "/" not in str(name)


def _are_entries(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(one or {}, Mapping) for one in value.values())


Entry = Annotated[Any, Value("exactly one name with keys below it", lambda x: _are_entries(x) and len(x) == 1)]
Entries = Annotated[Any, Value("names, each with keys below it", _are_entries)]


class Lenient(Options):
    """Options beside which there may be others, which somebody else reads."""

    model_config = ConfigDict(extra="allow")


class Identity(Lenient):
    """`hparams.identity`, by which a run is known."""

    network: Entry
    dataloader: Entry


class Args(Lenient):
    """`args`, beside what the device reads."""

    algorithm: Annotated[str, Text()]
    search: Annotated[bool, Flag()]
    output_path: Annotated[str, Text("a folder; '.' is the run's own")]


class HParams(Lenient):
    """`hparams`, of which each runner reads its own."""

    seed: Annotated[int | None, Whole(least=0, most=2**32 - 1, null=True)] = None
    batch_size_train: Annotated[int, Whole()]
    mini_batch_train: Annotated[int | None, Whole(null=True)]
    batch_size_valid: Annotated[int, Whole()]
    mini_batch_valid: Annotated[int, Whole()]
    identity: Identity | None = None


class Config(Options):
    """A whole configuration; our own groups are those that `hparams` refers to."""

    name: Annotated[Any, Value("a folder's name, without / and neither . nor ..", _is_folder)] = "trial"
    detector: Any = None
    args: Args
    hparams: HParams
    network: Entry
    dataloader: Entry
    optimizer: Entries
    regularizer: Entries = None
    pruning: Any = None
    path_filter: Any = None
    search: Any = None
    sampler: Any = None
    cost: Any = None
    space: Any = None


def only_entry(group: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options of the one entry that `network` or `dataloader` holds."""
    ((name, options),) = group.items()
    return name, dict(options or {})


def without_effect(config: Mapping[str, Any]) -> list[str]:
    """A line for each key of a configuration that runners of the host read and ours do not."""
    algorithm, args = config["args"]["algorithm"], config["args"]
    unread = [
        *(f"args.{key}" for key in UNREAD_ARGS if args.get(key)),
        *(f"hparams.{key}" for key in HOST_HPARAMS if key in config["hparams"]),
        *(f"optimizer.{name}" for name in config["optimizer"] if name != "train"),
        *(f"regularizer.{name}" for name in config.get("regularizer", ())),
    ]
    if not args["search"] and (config.get("pruning") or {}).get("strategy", "none") != "none":
        unread.append("pruning")
    why = {"pruning": "args.search is false, so one path is trained"}
    if algorithm == "DetOFASearcher":
        why["args.save_nnp"] = LEFT_ANYWAY
    return [f"{key} has no effect: {why.get(key, f'{algorithm} does not read it')}" for key in unread]


def check_keywords(where: str, given: Collection[str], known: Collection[str] | None, needed: Iterable[str]) -> None:
    """ConfigError for a keyword that is not `known`, or one that is `needed` and not `given`; see `accepted`."""
    for key in given:
        if known is not None and key not in known:
            raise unknown(f"key in {where}:", key, known, key=f"{where}.{key}")
    for key in needed:
        if key not in given:
            raise ConfigError(f"{where} lacks {key}", key=f"{where}.{key}")


def accepted(call: Callable, *supplied: str) -> tuple[set[str] | None, list[str]]:
    """The keywords that a call knows, None where it takes any, and those that it needs; without the `supplied`."""
    named = [p for p in _parameters(call) if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    own = [p for p in named if p.name not in supplied]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in _parameters(call))
    return None if takes_any else {p.name for p in own}, [p.name for p in own if p.default is p.empty]


def _parameters(call: Callable) -> Collection[Parameter]:
    return signature(call).parameters.values()


def settle_batches(hparams: dict[str, Any], n_procs: int, *, validates: bool) -> None:
    """Write a process's share of the batch for `mini_batch_train: null`; ConfigError for batches that do not divide.

    Each global batch has to divide evenly into processes and mini-batches. Only the host's algorithms read that of
    validation (`validates`); for ours one is written that the host takes.
    """
    if hparams["mini_batch_train"] is None:
        _require_multiple(hparams, "train", n_procs, f"the number of processes ({n_procs})")
        hparams["mini_batch_train"] = hparams["batch_size_train"] // n_procs
    if not validates:
        hparams["batch_size_valid"] = hparams["mini_batch_valid"] * n_procs
    for split in ("train", "valid"):
        mini = hparams[f"mini_batch_{split}"]
        said = f"hparams.mini_batch_{split} ({mini}) x processes ({n_procs})"
        _require_multiple(hparams, split, n_procs * mini, said)


def small_passes(hparams: Mapping[str, Any], n_procs: int) -> str | None:
    """A line where processes share a settled batch so that batch norm sees few images at once."""
    mini, batch = hparams["mini_batch_train"], hparams["batch_size_train"]
    if n_procs == 1 or mini >= FEW_IMAGES:
        return None
    return (
        f"batch norm normalises by the {mini} image{'s' * (mini > 1)} of a forward pass, few for it: raise"
        f" hparams.mini_batch_train, or hparams.batch_size_train={batch} with the number of processes; the"
        " learning rate follows where hparams.schedule.per_batch is set"
    )


def _require_multiple(hparams: Mapping[str, Any], split: str, of: int, said: str) -> None:
    key = f"batch_size_{split}"
    if hparams[key] % of:
        raise ConfigError(key=f"hparams.{key}", given=hparams[key], allowed=f"a multiple of {said}")


class OptimizerOptions(Options):
    """The keywords of the host's Optimizer itself; it hands the others to nnabla's solver."""

    name: Annotated[str, OneOf("solver", lambda: SOLVERS)] = "Sgd"
    lr_scheduler: Annotated[str | None, OneOf("lr_scheduler", lambda: SCHEDULERS, null=True)] = None
    weight_decay: Annotated[float | None, Number(least=0, null=True)] = None
    grad_clip: Annotated[float | None, Number(above=0, null=True)] = None
    retain_state: Any = None


def solver_options(solver: Any) -> type[OptimizerOptions]:
    """The options of an optimizer with that solver: what it has a number for by default has to be one."""
    own: dict[str, Any] = {}
    for p in _parameters(SOLVERS[solver]) if solver in list(SOLVERS) else ():
        kind = Number(above=0) if p.name in RATES else ratio() if p.name in MOMENTS else Number()
        hint = Annotated[float, kind] if is_number(p.default) else Any
        own[p.name] = (hint, ... if p.default is p.empty else p.default)
    return create_model("OptimizerOptions", __base__=OptimizerOptions, __doc__=OptimizerOptions.__doc__, **own)


def check_optimizers(optimizers: Mapping[str, Any]) -> None:
    """Solver, keywords and numbers of every entry of `optimizer`."""
    for name, given in optimizers.items():
        solver_options((given or {}).get("name", "Sgd")).of(f"optimizer.{name}", given or {})
