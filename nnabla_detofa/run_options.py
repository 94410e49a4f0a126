"""Options of a run: every key below `hparams` and `args`, declared once (an addition; not in the paper).

The rooms declare their own options where they use them, and these are taken from there; this module stands above them,
`options/` below. A text in an annotation is a key's meaning in `docs/configuration.md`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, ConfigDict, model_validator

from .errors import ConfigError, unknown
from .host.device import open_device
from .options import Flag, Keys, Listed, Number, OneOf, Options, Text, Whole, declared, ratio
from .path_filter import TRANSFORMER, PathFilterOptions
from .pruning import PATH_STRATEGIES, prune_operations, strategy_options
from .search import evolve
from .space import COMPUTED, PROPOSALS

FULLNET = "fullnet"  # the sampler of one path alone
SCHEDULES = ("constant", "step", "cosine")
# what the host's launchers add for a runner, and what they and their schedulers read alone
SUPPLIED = ("input_shapes", "target_shapes")
HOST_HPARAMS = ("epoch", "cosine_warmup_epoch", "warmup_lr", "step_decay_rate", "epoch_steps")

T = TypeVar("T", bound="TrainingOptions")
_Device: Any = declared(open_device)
_Operations: Any = declared(prune_operations, "flops", "each", "rng")
_Strategies: Any = strategy_options()
_Search: Any = declared(evolve, "budgets", "rng", "progress")


class ArgsOptions(_Device):
    """Arguments that do not decide a run's result."""

    output_path: Annotated[str, Text("a folder"), "where results go, below the run's folder"]
    comm: Any  # the host's communicator
    event: Any  # and its stream events
    algorithm: Annotated[str, Text(), "the runner"] = "DetOFASearcher"
    search: Annotated[bool, Flag(), "a network's `SearchNet`; false: its `TrainNet`, one path alone"] = True
    print_frequency: Annotated[int, Whole(), "steps between updates of the progress bar's loss"] = 10
    checkpoint_minutes: Annotated[
        float | None, Number(above=0, null=True), "of training between two checkpoints at most"
    ] = 10
    checkpoint_steps: Annotated[int | None, Whole(null=True), "steps between two checkpoints at most"] = None
    save_nnp: Annotated[bool, Flag(), "of no effect: a run leaves detectors/*/detector.nnp in any case"] = False
    no_visualize: Annotated[bool, Flag(), "read by runners of the host alone"] = False


class CostOptions(Options):
    """The cost that buckets, pruning and search go by; all but the name are of a measured latency."""

    name: Annotated[str, OneOf("cost", lambda: (*COMPUTED, "latency")), "what is counted"] = "flops"
    table: Annotated[str | None, Text("a CSV file", null=True), "of another device; null: layers are timed here"] = None
    batch: Annotated[int, Whole(), "images at a time"] = 1
    repetitions: Annotated[int, Whole(), "passes whose median counts"] = 20
    warm_up: Annotated[int, Whole(least=0), "passes before them"] = 3
    check_paths: Annotated[int, Whole(least=0), "random paths timed whole, to say how well the table predicts"] = 50

    @model_validator(mode="after")
    def _own_keys(self) -> "CostOptions":
        foreign = self.model_fields_set - {"name"}
        if foreign and self.name != "latency":
            raise unknown(f"key in cost '{self.name}':", sorted(foreign)[0], ["name"], key=f"cost.{sorted(foreign)[0]}")
        return self


class SamplerOptions(Options):
    """Which path a training step takes."""

    name: Annotated[str, OneOf("sampler", lambda: (*PROPOSALS, FULLNET)), "a distribution, or the largest path alone"]


class ScheduleOptions(Options):
    """The learning rate over warm-up and fine-tuning together, in epochs."""

    name: Annotated[str, OneOf("learning-rate schedule", lambda: SCHEDULES), "the curve"]
    at: Annotated[tuple[float, ...], Listed(Number()), "step: the epochs from which the rate is lower"] = ()
    factor: Annotated[float, Number(above=0), "step: by which it is multiplied there"] = 0.1
    ramp: Annotated[float, Number(least=0), "epochs of linear rise"] = 0.0
    ramp_from: Annotated[float, Number(least=0), "the rate at their start"] = 0.0
    per_batch: Annotated[
        int | None,
        Whole(null=True),
        "images a step that the optimizer's rate is for; others get it in proportion",
    ] = None

    @model_validator(mode="after")
    def _falls(self) -> "ScheduleOptions":
        if self.name == "step" and not self.at:
            raise ConfigError(key="schedule.at", given=[], allowed="at least one epoch for name=step")
        return self


class PhaseOptions(Options):
    """A phase of progressive shrinking; its other keys are a space's choices and list those that are open."""

    model_config = ConfigDict(extra="allow")

    epochs: Annotated[int | None, Whole(null=True), "its length; null: as long as warm-up and fine-tuning"] = None

    @property
    def choices(self) -> dict[str, Sequence[float] | None]:
        """The open choices by name, as `SearchSpace.only` takes them, which knows the names; None is all."""
        return dict(self.model_extra or {})


class PretrainingPhaseOptions(PhaseOptions):
    """A phase of pre-training, with a rate and a batch of its own."""

    epochs: Annotated[int, Whole(), "its length"]
    rate: Annotated[float, Number(above=0), "of its own half cosine"]
    batch_size: Annotated[int | None, Whole(null=True), "over all processes; null: hparams.batch_size_train"] = None
    ramp: Annotated[float, Number(least=0), "epochs of linear rise"] = 0.0
    ramp_from: Annotated[float, Number(least=0), "the rate at their start"] = 0.0


def _phases(kind: type[PhaseOptions]) -> BeforeValidator:
    """Phases by name, in their order."""

    def read(given: object) -> object:
        where = "hparams.phases"
        if not isinstance(given, Mapping) or not all(isinstance(one, Mapping) for one in given.values()):
            null = kind is PhaseOptions
            if given is None and null:
                return None
            raise ConfigError(key=where, given=given, allowed=f"phases with their choices{', or null' * null}")
        if not given:
            raise ConfigError(f"{where} is empty; it must name at least one phase", key=where, given=given)
        for name in given:
            if not isinstance(name, str) or not (name.isascii() and name.isidentifier()):
                raise ConfigError(
                    f"{where} names a phase {name!r}; files are called after it: use letters, digits and _ of ASCII",
                    key=where,
                    given=name,
                )
        return {name: kind.of(f"{where}.{name}", one) for name, one in given.items()}

    return BeforeValidator(read)


class PruningOptions(_Operations, _Strategies):
    """Pruning behind the warm-up: of operations, and of paths of low score."""

    path_ratio: Annotated[float, ratio(), "r_path: the share of a bucket's paths that training rejects"]
    path_strategy: Annotated[str, OneOf("path strategy", lambda: PATH_STRATEGIES), "by score, or at random"]
    paths_per_threshold: Annotated[int, Whole(), "in each bucket, whose scores give its threshold"]

    @property
    def operations(self) -> dict[str, Any]:
        """The options of `prune_operations`."""
        return {key: value for key, value in self if not key.startswith("path_") and key != "paths_per_threshold"}

    @property
    def prunes(self) -> bool:
        """Whether operations or paths leave the space; without that training needs no path filter."""
        return self.strategy != "none" or self.path_ratio > 0


class SearchOptions(_Search):
    """Evolution under each budget."""

    budgets: Annotated[
        tuple[float, ...] | None,
        Listed(Number(), least=1, null=True),
        "in the cost's unit; null: the most of each bucket",
    ]

    @property
    def evolution(self) -> dict[str, Any]:
        """The options of `evolve`."""
        return {key: value for key, value in self if key != "budgets"}


class TrainingOptions(Options):
    """Options that runs of a detector and of a classifier share."""

    seed: Annotated[int, Whole(least=0, most=2**32 - 1), "of every random stream"]
    batch_size_train: Annotated[int, Whole(), "images a step, over all processes"]
    mini_batch_train: Annotated[int | None, Whole(null=True), "images a forward pass; null: a process's share"]
    batch_size_valid: Annotated[int, Whole(), "read by runners of the host alone"]
    mini_batch_valid: Annotated[int, Whole(), "images a forward pass"]
    weight_average: Annotated[float, Number(least=0), "last epochs of a stage whose mean weights count; 0: none"] = 0.0
    metric: Annotated[str, Text(), "voc07 (11 points), voc (area), coco; miou; top1"]
    identity: Annotated[dict[str, Any], Keys(), "network, dataloader and optimizer again: what a run is known by"]
    cost: CostOptions
    path_filter: PathFilterOptions
    sampler: SamplerOptions
    args: ArgsOptions

    @classmethod
    def of(cls: type[T], hparams: object, args: object) -> T:
        """The options in what the host hands to a runner; ConfigError names keys as users write them."""
        if not isinstance(hparams, Mapping):
            raise ConfigError(key="hparams", given=hparams, allowed="keys and their values")
        given = {key: value for key, value in hparams.items() if key not in (*HOST_HPARAMS, *SUPPLIED)}
        given["cost"] = given.get("cost") or {}
        for name, field in cls.model_fields.items():
            if name in GROUPS & given.keys() and field.annotation is not None:
                given[name] = field.annotation.of(name, given[name])
        return super().of("hparams", {**given, "args": ArgsOptions.of("args", args)})


class RunOptions(TrainingOptions):
    """The options of `DetOFASearcher`."""

    loss_weights: Annotated[tuple[float, ...] | None, Listed(Number(least=0), 3, null=True), "of CenterNet's losses"]
    warmup: Annotated[int, Whole(least=0), "epochs over the whole space"]
    finetune: Annotated[int, Whole(least=0), "epochs over the pruned space"]
    phases: Annotated[dict[str, PhaseOptions] | None, _phases(PhaseOptions), "progressive shrinking instead of both"]
    schedule: ScheduleOptions
    pruning: PruningOptions
    search: SearchOptions

    @classmethod
    def of(cls, hparams: object, args: object) -> "RunOptions":
        """As all; where one path is all that the network holds, nothing is drawn, timed at random or pruned."""
        options = super().of(hparams, args)
        if options.args.search:
            return options
        if options.phases:
            raise ConfigError(
                "hparams.phases opens choices one by one, and args.search=false trains one path: leave one of them out",
                key="hparams.phases",
                given=list(options.phases),
            )
        alone = {
            "pruning": options.pruning.model_copy(update={"strategy": "none", "path_ratio": 0.0}),
            "sampler": SamplerOptions(name=FULLNET),
            "cost": options.cost.model_copy(update={"check_paths": 0}),
        }
        return options.model_copy(update=alone)

    @property
    def trains_one(self) -> bool:
        """Whether the largest path alone is trained, or the only one: then there is no other to search for."""
        return self.sampler.name == FULLNET

    @model_validator(mode="after")
    def _one_method(self) -> "RunOptions":
        if self.trains_one and self.pruning.prunes:
            raise ConfigError(
                "sampler 'fullnet' trains one path, which leaves nothing to prune;"
                " add pruning=none pruning.path_ratio=0, or say method=fullnet",
                key="sampler.name",
                given=FULLNET,
            )
        if self.phases and self.pruning.prunes:
            raise ConfigError(
                f"hparams.phases trains the whole space, and pruning (strategy '{self.pruning.strategy}', path_ratio"
                f" {self.pruning.path_ratio:g}) takes parts of it away; choose one, as method=ofa_ps and method=detofa",
                key="hparams.phases",
                given=list(self.phases),
            )
        return self


class PretrainingOptions(TrainingOptions):
    """The options of `OFAPretrainer`, beside those of `DetOFASearcher` up to `metric`."""

    phases: Annotated[
        dict[str, PretrainingPhaseOptions], _phases(PretrainingPhaseOptions), "in order, each opening more choices"
    ]
    lambda_kd: Annotated[float, Number(least=0), "weight of the cross entropy to the largest network; 0: no teacher"]

    @model_validator(mode="after")
    def _whole_space(self) -> "PretrainingOptions":
        if self.path_filter.ranker != TRANSFORMER:
            raise ConfigError(
                "pre-training leaves a path filter for detectors to start from; path_filter.ranker puts another ranker"
                " in its place",
                key="path_filter.ranker",
                given=self.path_filter.ranker,
                allowed=TRANSFORMER,
            )
        if not self.args.search:
            raise ConfigError(
                "args.search is false, which trains one path, and OFAPretrainer trains a supernet: take DetOFASearcher",
                key="args.search",
                given=False,
            )
        return self

    @property
    def loss_weights(self) -> None:
        """None: a classifier has one loss."""


GROUPS = {"cost", "pruning", "path_filter", "search", "sampler"}  # which `hparams` repeats
