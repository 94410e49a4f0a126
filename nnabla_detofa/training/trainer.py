"""Supernet training on the host's runner (Algorithm 1, lines 2 and 7 to 16)."""

import time
from functools import cached_property
from typing import Any

from tqdm import tqdm

from ..errors import ConfigError
from ..host.check import HOST_HPARAMS
from ..space import Budgets, CostModel
from ..supernet import save_weights
from .checkpoint import Checkpoints, lost_parameter
from .costs import FLOPS, check_cost, cost_model
from .evaluation import COCO, TASKS
from .files import checksum
from .latency import TABLE
from .samplers import BALANCED, SAMPLERS, PathSampler
from .schedule import SCHEDULES, learning_rate
from .settings import keywords, require_count, require_keys, require_name, require_numbers, require_positive
from .step import PathStep

FINETUNE = "finetune"
# `conf/hparams` and `conf/args`; the host's own launcher and schedulers read the optional ones
HPARAMS = (
    *("seed", "batch_size_train", "mini_batch_train", "batch_size_valid", "mini_batch_valid"),
    *("metric", "identity", "path_filter", "sampler"),
)
SCHEDULED = ("loss_weights", "warmup", "finetune", "schedule")  # of training under one schedule
SHAPES = ("input_shapes", "target_shapes")
ARGS = ("output_path", "print_frequency", "comm", "event")
HOST_ARGS = ("algorithm", "search", "context", "device_id", "type_config", "save_nnp", "no_visualize")
CHECKPOINT = {"checkpoint_steps": None, "checkpoint_minutes": 10}  # of `args`: the most between two; null is no limit


class SupernetTrainer(PathStep):
    """Trains paths of a supernet.

    Takes what the host's launchers hand to any runner; see `conf/hparams` for the keys of `hparams`, of which
    subclasses add to `HPARAMS` those that they read, and to `IDENTITY` those that decide all stages.
    """

    HPARAMS: tuple[str, ...] = (*HPARAMS, *SCHEDULED)
    IDENTITY: tuple[str, ...] = (
        *("seed", "batch_size_train", "mini_batch_train", "loss_weights", "schedule", "finetune"),
    )

    def __init__(self, model, optimizer, regularizer, dataloader, hparams, args):
        loader = dataloader["train"]
        require_keys("optimizer", optimizer, optimizer, needed=["train"])
        model.require_fit(loader)
        image_size = loader.options.image_size
        shapes = {"input_shapes": model.image_shapes(image_size), "target_shapes": loader.target_shapes()}
        super().__init__(model, optimizer, regularizer, dataloader, {**hparams, **shapes}, args)
        self.space = model.space
        self.flops = model.flops(image_size)
        self.optimizer["train"].set_parameters(model.get_parameters(grad_only=True))
        self._base_rate = self.optimizer["train"]._solver.learning_rate()
        self._checkpoints: Checkpoints = None  # of the stage that is being trained, or was last
        self._saved = 0.0  # when, on the monotonic clock
        self._sampler: PathSampler = None  # until a stage is trained
        self._losses: dict[str, float] = {}  # of the unfinished epoch, their sums

    @cached_property
    def cost(self) -> CostModel:
        """What buckets, pruning and search go by; once the settings are checked."""
        options = self.hparams.get("cost") or FLOPS
        if options == FLOPS:
            return self.flops
        return cost_model(self, self.dataloader["train"].options.image_size, options)

    @cached_property
    def budgets(self) -> Budgets:
        """The buckets of the cost (Section 3.1.1); once the settings are checked."""
        return Budgets.equal_width(self.cost, n=self.hparams["path_filter"]["n_buckets"])

    def check_settings(self) -> None:
        """ConfigError for a key or value of `hparams` or `args` that no run can have."""
        require_keys("hparams", self.hparams, {*self.HPARAMS, "cost", *HOST_HPARAMS, *SHAPES}, needed=self.HPARAMS)
        require_keys("args", self.args, {*ARGS, *HOST_ARGS, *CHECKPOINT}, needed=ARGS)
        check_cost(self.hparams.get("cost") or FLOPS)
        if self.optimizer["train"]._lr_scheduler is not None:
            raise ConfigError("optimizer.train.lr_scheduler is set, but hparams.schedule sets the rate; remove it")
        require_keys("sampler", self.hparams["sampler"], ["name"], needed=["name"])
        require_name("sampler", self.hparams["sampler"]["name"], SAMPLERS)
        require_name("metric", self.hparams["metric"], TASKS[self.model.task])
        test = self.dataloader["test"].dataset
        if self.hparams["metric"] == COCO and getattr(test, "category_ids", None) == ():  # a plan's has none to ask
            raise ConfigError(
                f"metric is '{COCO}', which needs COCO's instances json; {test.name} has none; take voc07"
            )
        self.check_schedule()
        require_count("args.print_frequency", self.args["print_frequency"])
        if (steps := self.args.get("checkpoint_steps")) is not None:
            require_count("args.checkpoint_steps", steps)
        if (minutes := self.args.get("checkpoint_minutes")) is not None:
            require_positive("args.checkpoint_minutes", minutes)
        if not self.one_epoch_train:
            raise ConfigError(
                f"hparams.batch_size_train is {self.hparams['batch_size_train']}, more than the"
                f" {len(self.dataloader['train'].dataset)} training images"
            )

    def check_schedule(self) -> None:
        """ConfigError for epochs, rates or weights of losses that no run can have."""
        schedule = self.hparams["schedule"]
        require_keys(
            "hparams.schedule", schedule, {"name", *keywords(learning_rate, "total", "batch")}, needed=["name"]
        )
        require_name("learning-rate schedule", schedule["name"], SCHEDULES)
        for key in ("warmup", "finetune", "seed"):
            require_count(f"hparams.{key}", self.hparams[key], least=0)
        self._schedule()
        require_numbers("hparams.loss_weights", self.hparams["loss_weights"], n=3)

    @property
    def identity(self) -> dict:
        """What decides the first stage, and so whether a run folder is this run's."""
        train = self.dataloader["train"]
        expected = {"images_expected", "classes_expected"}
        irrelevant = {"workers", "prefetch", "cache_megabytes", "examine", "root", *expected}
        name, dataloader = next(iter(self.hparams["identity"]["dataloader"].items()))
        dataloader = {key: value for key, value in dataloader.items() if key not in irrelevant}
        network = dict(self.hparams["identity"]["network"])
        if (transfer := self.model.transfer) is not None:  # a copy of the file is the same start, wherever it lies
            network = {key: {**options, "pretrained": checksum(transfer.file)} for key, options in network.items()}
        return {
            **{key: self.hparams[key] for key in self.IDENTITY},
            "n_buckets": len(self.budgets),
            "type_config": self.args.get("type_config"),
            **self.hparams["identity"],
            "network": network,
            "dataloader": {name: dataloader, "images": len(train.dataset), "digest": train.split_digest},
        }

    @property
    def cost_identity(self) -> dict[str, str]:
        """What tells a cost from others: its name and, since clocks differ, the table of a latency."""
        timed = {"table": checksum(self.folder / TABLE)} if self.cost.name == "latency" else {}
        return {"name": self.cost.name, **timed}

    @property
    def sampler_identity(self) -> dict[str, Any]:
        """What decides the drawn paths beside space and seed."""
        sampler = self.hparams["sampler"]
        return {"sampler": sampler, **({"cost": self.cost_identity} if sampler["name"] == BALANCED else {})}

    # -- training (Algorithm 1, lines 2 and 7 to 16) ------------------------------------------------------------------

    def weights_file(self, stage: str) -> str | None:
        """The file of weights that a training stage leaves beside its checkpoints, if it leaves one: the last does."""
        return "weights.h5" if stage == FINETUNE else None

    def training_files(self, stage: str) -> list[str]:
        """All that a training stage leaves."""
        return [f"checkpoint_{stage}", *filter(None, [self.weights_file(stage)])]

    def begin(self, stage: str) -> None:
        """Called once, where a stage that was not begun before begins: with the weights of the one before it."""

    def train_stage(self, stage: str, settings: dict, sampler: PathSampler, *, first: int, last: int) -> None:
        """`train` as a stage of the run folder; the network is then as the stage left it, in this session or before."""

        def work() -> None:
            self.train(stage, sampler, first=first, last=last)
            if (name := self.weights_file(stage)) and self.folder.writes:
                save_weights(self.model, self.folder / name)

        if not self.folder.stage(stage, settings, self.training_files(stage), work):
            self.train(stage, sampler, first=first, last=last)  # loads the end, or what a damaged one has lost of it

    def train(self, stage: str, sampler: PathSampler, *, first: int, last: int) -> None:
        """Train epochs `first` to `last` - 1 of the whole schedule, one path of the sampler a step.

        Goes on from the stage's last checkpoint, in the middle of an epoch too, or else from the end of the stage that
        was trained before it in this run. The loader's position follows from the step.
        """
        begin, end = first * self.one_epoch_train, last * self.one_epoch_train
        self._checkpoints, before = self.checkpoints(stage, self.folder.digest), self._checkpoints
        self._sampler = sampler
        self._restore(stage, before, begin=begin, end=end)
        loader, start = self.dataloader["train"], time.monotonic()
        waited, to_train = loader.waited, self._step < end
        with self.progress(None, stage, total=end - begin, initial=self._step - begin) as bar:
            while self._step < end:
                self._train_step(stage, bar)
                stop, due = self.any_process(self.stop.asked, self._save_due())
                if stop or due or self._step % self.one_epoch_train == 0:
                    self._save()
                if stop:
                    raise KeyboardInterrupt("stopped by a signal")
        if to_train:
            share = (loader.waited - waited) / (time.monotonic() - start)
            self.say(f"{stage}: {share:.1%} of the time went by in waiting for images")

    def checkpoints(self, stage: str, digest: str | None = None) -> Checkpoints:
        """Those of a training stage."""
        return Checkpoints(self.folder / f"checkpoint_{stage}", self.say, digest)

    def sampler_state(self, stage: str) -> dict:
        """The sampler's state at the end of a training stage."""
        return (self.checkpoints(stage).read() or {})["sampler"]

    def _restore(self, stage: str, before: Checkpoints | None, *, begin: int, end: int) -> None:
        """Everything as at the stage's last checkpoint, or as at its beginning."""
        own = {"network": self.model, "solver": self.optimizer["train"]._solver}
        state = self._checkpoints.load(**own)
        if state is not None:
            self._sampler.restore(state["sampler"])
        start = state or (before.load(**own) if before else None)
        if start is not None:
            self.loss_scale.restore(start["loss_scale"])
        self._step = state["step"] if state else begin
        self.dataloader["train"].seek(self._step * self.accum_train)
        self._losses = state["losses"] if state else {}
        if state is None:
            self.begin(stage)
            self._save()
        elif self._step < end:
            self.say(f"{stage}: going on after step {self._step - begin} of {end - begin}")
        self._saved = time.monotonic()

    def training_state(self) -> dict:
        """As in a checkpoint: the loss scale, the sampler, and the unfinished epoch's sums of losses."""
        return {**super().training_state(), "sampler": self._sampler and self._sampler.state(), "losses": self._losses}

    def _save(self) -> None:
        """A checkpoint after this step; NumericError, on all processes, for weights that are not finite."""
        lost = lost_parameter(self.model)
        if any(self.any_process(lost is not None)):
            self.diverged(f"{lost or 'a parameter of another process'} is not finite after step {self._step}")
        if self.folder.writes:
            solver = self.optimizer["train"]._solver
            self._checkpoints.save(self._step, self.training_state(), network=self.model, solver=solver)
        self.folder.count_seconds()
        self._saved = time.monotonic()

    def _save_due(self) -> bool:
        """Whether this process wants a checkpoint between two epochs' ends."""
        steps, minutes = (self.args.get(key, default) for key, default in CHECKPOINT.items())
        late = minutes is not None and time.monotonic() - self._saved >= 60 * minutes
        return self.folder.writes and (late or (steps is not None and self._step % steps == 0))

    def _train_step(self, stage: str, bar: tqdm) -> None:
        """One step; its share of the epoch's mean losses, which go to the curves at the epoch's end."""
        n, schedule = self.one_epoch_train, self._schedule()
        self.optimizer["train"]._solver.set_learning_rate(schedule((self._step + 0.5) / n))
        step_losses = self.train_on_batch(path=self._sampler.next())
        for name, value in step_losses.items():
            self._losses[name] = self._losses.get(name, 0.0) + value / n
        if self._step % self.args["print_frequency"] == 0:
            bar.set_postfix(epoch=self._step // n + 1, loss=f"{step_losses['loss']:.3f}", refresh=False)
        bar.update()
        self._step += 1
        if self._step % n == 0:
            for name, value in self._losses.items():
                self.curve(f"{stage}/{name}", value, self._step)
            self.curve(f"{stage}/learning_rate", schedule(self._step / n), self._step)
            self._losses = {}

    def _schedule(self):
        options = dict(self.hparams["schedule"])
        total, batch = self.hparams["warmup"] + self.hparams["finetune"], self.hparams["batch_size_train"]
        return learning_rate(options.pop("name"), self._base_rate, total=total, batch=batch, **options)
