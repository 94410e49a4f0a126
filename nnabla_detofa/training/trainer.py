"""Supernet training on the host's runner (Algorithm 1, lines 2 and 7 to 16)."""

from functools import cached_property

import numpy as np
from tqdm import tqdm

from ..errors import ConfigError, NumericError
from ..space import Budgets
from ..supernet import load_weights, save_weights
from .checkpoint import POSITION, WEIGHTS, load_checkpoint, save_checkpoint
from .evaluation import METRICS
from .files import read_json
from .loss_scale import LossScale
from .samplers import SAMPLERS, PathSampler
from .schedule import SCHEDULES, learning_rate
from .session import RunSession
from .settings import keywords, require_count, require_keys, require_name, require_numbers

FINETUNE = "finetune"
# `conf/hparams` and `conf/args`; the host's own launcher and schedulers read the optional ones
HPARAMS = (
    *("seed", "batch_size_train", "mini_batch_train", "batch_size_valid", "mini_batch_valid", "loss_weights"),
    *("warmup", "finetune", "schedule", "metric", "identity", "pruning", "path_filter", "search", "sampler"),
)
HOST_HPARAMS = ("epoch", "cosine_warmup_epoch", "warmup_lr", "step_decay_rate", "epoch_steps")
SHAPES = ("input_shapes", "target_shapes")
ARGS = ("output_path", "print_frequency", "comm", "event")
HOST_ARGS = ("algorithm", "search", "context", "device_id", "type_config", "save_nnp", "no_visualize")


class SupernetTrainer(RunSession):
    """Trains paths of a supernet.

    Takes what the host's launchers hand to any runner; see `conf/hparams` for the keys of `hparams`.
    """

    def __init__(self, model, optimizer, regularizer, dataloader, hparams, args):
        loader = dataloader["train"]
        require_keys("optimizer", optimizer, optimizer, needed=["train"])
        _check_fit(model, loader)
        image_size, max_objects = loader.options.image_size, loader.options.max_objects
        shapes = {
            "input_shapes": model.image_shapes(image_size),
            "target_shapes": model.target_shapes(image_size, max_objects),
        }
        super().__init__(model, optimizer, regularizer, dataloader, {**hparams, **shapes}, args)
        self.space = model.space
        self.cost = model.flops(image_size)
        self.optimizer["train"].set_parameters(model.get_parameters(grad_only=True))
        self._base_rate = self.optimizer["train"]._solver.learning_rate()
        self.loss_scale = LossScale.of(self.args.get("type_config"))
        self._step = 0

    @cached_property
    def budgets(self) -> Budgets:
        """The FLOPs buckets (Section 3.1.1); once the settings are checked."""
        return Budgets.equal_width(self.cost, n=self.hparams["path_filter"]["n_buckets"])

    def check_settings(self) -> None:
        """ConfigError for a key or value of `hparams` or `args` that no run can have."""
        require_keys("hparams", self.hparams, {*HPARAMS, *HOST_HPARAMS, *SHAPES}, needed=HPARAMS)
        require_keys("args", self.args, {*ARGS, *HOST_ARGS}, needed=ARGS)
        schedule, sampler = self.hparams["schedule"], self.hparams["sampler"]
        require_keys("hparams.schedule", schedule, {"name", *keywords(learning_rate, "total")}, needed=["name"])
        require_name("learning-rate schedule", schedule["name"], SCHEDULES)
        self._schedule()
        if self.optimizer["train"]._lr_scheduler is not None:
            raise ConfigError("optimizer.train.lr_scheduler is set, but hparams.schedule sets the rate; remove it")
        require_numbers("hparams.loss_weights", self.hparams["loss_weights"], n=3)
        require_keys("sampler", sampler, ["name"], needed=["name"])
        require_name("sampler", sampler["name"], SAMPLERS)
        require_name("metric", self.hparams["metric"], METRICS)
        for key in ("warmup", "finetune"):
            require_count(f"hparams.{key}", self.hparams[key], least=0)
        require_count("args.print_frequency", self.args["print_frequency"])
        if not self.one_epoch_train:
            raise ConfigError(
                f"hparams.batch_size_train is {self.hparams['batch_size_train']}, more than the"
                f" {len(self.dataloader['train'].dataset)} training images"
            )

    @property
    def identity(self) -> dict:
        """What decides the first stage, and so whether a run folder is this run's."""
        irrelevant = {"workers", "prefetch", "cache_megabytes", "root"}
        name, dataloader = next(iter(self.hparams["identity"]["dataloader"].items()))
        dataloader = {key: value for key, value in dataloader.items() if key not in irrelevant}
        keys = ("seed", "batch_size_train", "mini_batch_train", "loss_weights", "schedule", "finetune")
        return {
            **{key: self.hparams[key] for key in keys},
            "n_buckets": len(self.budgets),
            "type_config": self.args.get("type_config"),
            **self.hparams["identity"],
            "dataloader": {name: dataloader, "images": len(self.dataloader["train"].dataset)},
        }

    # -- training (Algorithm 1, lines 2 and 7 to 16) ------------------------------------------------------------------

    def training_files(self, stage: str) -> list[str]:
        """What a training stage leaves: its last checkpoint and, if it is the last stage, the weights."""
        return [f"checkpoint_{stage}", *(["weights.h5"] if stage == FINETUNE else [])]

    def train(self, stage: str, sampler: PathSampler, *, first: int, last: int) -> None:
        """Train epochs `first` to `last` - 1 of the whole schedule, one path of the sampler a step.

        Every epoch ends with a checkpoint in `checkpoint_<stage>/`, from which an interrupted stage goes on.
        """
        folder, solver = self.folder / f"checkpoint_{stage}", self.optimizer["train"]._solver
        position = load_checkpoint(folder, network=self.model, solver=solver)
        if position is not None:
            sampler.restore(position["sampler"])
            self.loss_scale.restore(position["loss_scale"])
            self.say(f"{stage}: going on after epoch {position['epoch']} of {last}")
        elif stage == FINETUNE:  # in a later session than the warm-up's: weights alone are not all of its end
            end = load_checkpoint(self.folder / "checkpoint_warmup", network=self.model, solver=solver)
            self.loss_scale.restore(end["loss_scale"])
        epoch = position["epoch"] if position else first
        self._step = epoch * self.one_epoch_train
        self.dataloader["train"].seek(self._step * self.accum_train)

        def save(epochs: int) -> None:
            if self.folder.writes:
                state = {"epoch": epochs, "sampler": sampler.state(), "loss_scale": self.loss_scale.state()}
                save_checkpoint(folder, network=self.model, solver=solver, position=state)

        if epoch == last:  # nothing to train: what is there is the result
            save(last)
        steps = (last - first) * self.one_epoch_train
        with self.progress(None, stage, total=steps, initial=(epoch - first) * self.one_epoch_train) as bar:
            for self.cur_epoch in range(epoch, last):
                self._epoch(stage, sampler, bar)
                save(self.cur_epoch + 1)
        if stage == FINETUNE and self.folder.writes:
            save_weights(self.model, self.folder / "weights.h5")

    def sampler_state(self, stage: str) -> dict:
        """The sampler's state at the end of a training stage."""
        return read_json(self.folder / f"checkpoint_{stage}" / POSITION)["sampler"]

    def load_trained(self, stage: str) -> None:
        """The weights that a finished training stage left."""
        load_weights(self.model, self.folder / f"checkpoint_{stage}" / WEIGHTS)

    def _epoch(self, stage: str, sampler: PathSampler, bar: tqdm) -> None:
        schedule = self._schedule()
        losses: dict[str, float] = {}
        for i in range(self.one_epoch_train):
            self.optimizer["train"]._solver.set_learning_rate(schedule((self._step + 0.5) / self.one_epoch_train))
            step_losses = self.train_on_batch(path=sampler.next())
            for name, value in step_losses.items():
                losses[name] = losses.get(name, 0.0) + value / self.one_epoch_train
            if i % self.args["print_frequency"] == 0:
                bar.set_postfix(epoch=self.cur_epoch + 1, loss=f"{step_losses['loss']:.3f}", refresh=False)
            bar.update()
            self._step += 1
        for name, value in losses.items():
            self.curve(f"{stage}/{name}", value, self._step)
        self.curve(f"{stage}/learning_rate", schedule(self._step / self.one_epoch_train), self._step)

    def _schedule(self):
        options = dict(self.hparams["schedule"])
        total = self.hparams["warmup"] + self.hparams["finetune"]
        return learning_rate(options.pop("name"), self._base_rate, total=total, **options)

    def train_on_batch(self, key="train", *, path):  # noqa: ARG002 - the host's protocol
        """One update of the weights for one path; returns the mean losses of the batch by name."""
        self.model.activate(path)
        self.optimizer["train"].zero_grad()
        self.event.default_stream_synchronize()
        self.update_graph("train")
        placeholder = self.placeholder["train"]
        losses: dict[str, float] = {}
        for _ in range(self.accum_train):
            self._load_data(placeholder, self.dataloader["train"].next())
            placeholder["loss"].forward(clear_no_need_grad=True)
            placeholder["loss"].backward(self.loss_scale.value, clear_buffer=True)
            self.model.flush_statistics()
            for name, term in placeholder["terms"].items():
                losses[name] = losses.get(name, 0.0) + float(term.d) / self.accum_train
            losses["loss"] = losses.get("loss", 0.0) + float(placeholder["loss"].d)
        loss = self.sum_over_ranks(np.array([losses["loss"]]))[0] / self.comm.n_procs  # so that all stop, or none
        if not np.isfinite(loss):
            raise NumericError(
                f"the training loss is {loss} at step {self._step}, path {path.tolist()};"
                " stopped before the update, the last epoch's checkpoint is kept; try a lower optimizer.train.alpha"
            )
        if self.comm.n_procs > 1:
            gradients = [p.grad for p in self.model.get_parameters(grad_only=True).values()]
            self.comm.all_reduce(gradients, division=True, inplace=False)
        self.event.add_default_stream_event()
        if self.loss_scale.unscale(self.optimizer["train"]._solver):
            self.optimizer["train"].update()
        return losses

    def update_graph(self, key="train"):
        """Build the graph of the active path on the placeholders of `key`."""
        placeholder = self.placeholder[key]
        self.model.apply(training=key == "train")
        outputs = self.model(*placeholder["inputs"])
        terms = self.model.metrics(outputs, placeholder["targets"])
        loss = self.model.loss(outputs, placeholder["targets"], self.hparams["loss_weights"], terms)
        placeholder["terms"] = {name: term.apply(persistent=True) for name, term in terms.items()}
        placeholder["loss"] = (loss / self.accum_train).apply(persistent=True)
        return placeholder["loss"]

    # -- the rest of the host's protocol ------------------------------------------------------------------------------

    def valid_on_batch(self):
        """Nothing: paths are measured and evaluated in stages of their own."""

    callback_on_epoch_end = callback_on_start = callback_on_finish = valid_on_batch


def _check_fit(model, loader) -> None:
    """ConfigError where network and data set disagree."""
    if model.n_classes != loader.n_classes:
        raise ConfigError(
            f"the network has n_classes={model.n_classes} and the data set {loader.n_classes}"
            f" ({', '.join(loader.classes)}); they must agree"
        )
    if model.output_stride != loader.options.output_stride:
        raise ConfigError(
            f"the network's output stride is {model.output_stride} and dataloader's output_stride is"
            f" {loader.options.output_stride}; they must agree"
        )
