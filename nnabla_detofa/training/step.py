"""One update of a supernet for one path (Algorithm 1, lines 2 and 14), on the host's runner."""

from typing import NoReturn

import nnabla as nn
import numpy as np

from ..errors import NumericError
from ..precision import single_precision
from .checkpoint import lost_parameter
from .gradients import PathGradients
from .loss_scale import LossScale
from .replay import save_step
from .session import RunSession

MOST_NAMES = 32  # of images in a message


class PathStep(RunSession):
    """Updates the weights for one path, and stops where its loss or a gradient is not finite."""

    def __init__(self, model, optimizer, regularizer, dataloader, hparams, args):
        super().__init__(model, optimizer, regularizer, dataloader, hparams, args)
        self.loss_scale = LossScale.of(self.args.get("type_config"))
        # Optimizer would decay all parameters, and clip what was decayed before
        self._weight_decay, optimizer["train"]._weight_decay = optimizer["train"]._weight_decay, None
        self._grad_clip, optimizer["train"]._grad_clip = optimizer["train"]._grad_clip, None
        self._step = 0
        self._path: np.ndarray = None  # that was trained last

    def train_on_batch(self, key="train", *, path):  # noqa: ARG002 - the host's protocol
        """One update of the weights for one path; returns the mean losses of the batch by name."""
        self._path = path
        self.model.activate(path)
        self.optimizer["train"].zero_grad()
        self.event.default_stream_synchronize()
        self.update_graph("train")
        placeholder = self.placeholder["train"]
        losses: dict[str, float] = {}
        shares: list[float] = []  # of the mini-batches in the loss
        for _ in range(self.accum_train):
            self._load_data(placeholder, self.dataloader["train"].next())
            nn.forward_all([placeholder["loss"], *placeholder["terms"].values()], clear_no_need_grad=True)
            placeholder["loss"].backward(self.loss_scale.value, clear_buffer=True)
            self.model.flush_statistics()
            for name, term in placeholder["terms"].items():
                losses[name] = losses.get(name, 0.0) + float(term.d) / self.accum_train
            shares.append(float(placeholder["loss"].d))
        losses["loss"] = sum(shares)
        loss = self.sum_over_ranks(np.array([losses["loss"]]))[0] / self.comm.n_procs  # so that all stop, or none
        if not np.isfinite(loss):
            self.diverged(f"the training loss is {loss} at step {self._step}", ~np.isfinite(shares))
        gradients = self.gradients()
        if self.comm.n_procs > 1:  # all processes train the same path
            self.comm.all_reduce(gradients.arrays, division=True, inplace=False)
        self.event.add_default_stream_event()
        if not self.loss_scale.dynamic and gradients.check_inf_or_nan_grad():  # ReLU may hide NaN from the loss
            self.diverged(f"a gradient is not finite at step {self._step}")
        if self._unscaled(gradients):
            if self._grad_clip:
                self.optimizer["train"]._solver.clip_grad_by_norm(self._grad_clip)
            if self._weight_decay:
                gradients.decay(self._weight_decay)
            self.optimizer["train"].update()
        return losses

    def gradients(self) -> PathGradients:
        """Those of the last backward pass."""
        parameters, solver = self.model.get_parameters(grad_only=True), self.optimizer["train"]._solver
        return PathGradients(parameters, solver, on_device=not self.model.works_channel_major())

    def _unscaled(self, gradients: PathGradients) -> bool:
        """Whether the gradients, their scale taken away, are to be used."""
        try:
            return self.loss_scale.unscale(gradients)
        except NumericError as error:
            self.diverged(f"{error} at step {self._step}")

    def diverged(self, what: str, lost: np.ndarray | None = None) -> NoReturn:
        """NumericError that says `what` happened in the last step, and on which path and images; the step is kept.

        `lost` says which of its mini-batches are to blame; without it, all may be.
        """
        lost = np.ones(self.accum_train, bool) if lost is None else lost
        if self._path is not None:  # before the first step there is nothing to keep
            where = self._keep_step(lost) if lost.any() else "on images of another process"
            what = f"{what}, path {self._path.tolist()}, {where}"
        raise NumericError(
            f"{what}; the last checkpoint is kept; try a lower optimizer.train.alpha or an optimizer.train.grad_clip"
        )

    def _keep_step(self, lost: np.ndarray) -> str:
        """Keep the step for `replay`; says the images of the lost mini-batches, and where to look."""
        loader, rank = self.dataloader["train"], self.comm.rank
        loader.seek(loader.state()["batches"] - self.accum_train)
        batches = [loader.next() for _ in range(self.accum_train)]
        images = [[loader.dataset.picture(i)[0].name for i in batch["indices"]] for batch in batches]
        folder = self.folder / (f"debug_step_{self._step}" + (f"_rank_{rank}" if rank else ""))
        record = {
            **{"step": self._step, "path": self._path.tolist(), "images": images, "lost": lost_parameter(self.model)},
            **{"network": self.hparams["identity"]["network"], "loss_weights": self.hparams.get("loss_weights")},
            **{"state": self.training_state(), "hparams": self.hparams, "type_config": self.args.get("type_config")},
        }
        save_step(folder, record, batches, network=self.model, solver=self.optimizer["train"]._solver)
        names = [name for batch, blamed in zip(images, lost, strict=True) if blamed for name in batch]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        shown = ", ".join(names[:MOST_NAMES]) + more
        return f"images {shown}; python -m nnabla_detofa.training.replay {folder} shows it again"

    def training_state(self) -> dict:
        """What beside weights and solver decides how training goes on, as JSON holds it."""
        return {"loss_scale": self.loss_scale.state()}

    def update_graph(self, key="train"):
        """Build the graph of the active path on the placeholders of `key`."""
        placeholder = self.placeholder[key]
        self.model.apply(training=key == "train")
        loss, terms = self.losses(self.model(*placeholder["inputs"]), placeholder)
        placeholder["terms"] = {name: term.apply(persistent=True) for name, term in terms.items()}
        with single_precision():
            placeholder["loss"] = (loss / self.accum_train).apply(persistent=True)
        return placeholder["loss"]

    def losses(self, outputs, placeholder):
        """The loss that training lowers, and what the curves show beside it, by name."""
        targets = placeholder["targets"]
        terms = self.model.metrics(outputs, targets)
        return self.model.loss(outputs, targets, self.hparams.get("loss_weights"), terms), terms

    # -- the rest of the host's protocol ------------------------------------------------------------------------------

    def valid_on_batch(self):
        """Nothing: paths are measured and evaluated in stages of their own."""

    callback_on_epoch_end = callback_on_start = callback_on_finish = valid_on_batch
