"""A run: what the stages of Algorithm 1 share, put together from what the host's launcher hands over."""

import copy
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from ..space import Budgets, CostModel
from ..storage import Kept, Rehearsal, Stages, Work
from .costs import cost_inputs, cost_model
from .loss_scale import LossScale
from .session import Processes, Session
from .step import PathStep
from .trainer import Trainer

DATA = "data.json"  # what the examination of the data set found, so that it is not made again


class Run:
    """Everything that a stage may need.

    Args:
        model: the supernet.
        data: its loaders "train", "valid" (held out) and "test".
        optimizer: the host's, of training.
        options: as the configuration says.
        comm, event, monitor: the host's communicator, its wait for the device, and its log.
        folder: where results go.
    """

    def __init__(
        self,
        *,
        model: Any,
        data: dict[str, Any],
        optimizer: Any,
        options: Any,
        comm: Any,
        event: Any,
        monitor: Any,
        folder: Path,
    ):
        self.model, self.data, self.options, self.event = model, data, options, event
        self.space, self.image_size = model.space, data["train"].options.image_size
        self.processes = Processes(comm)
        self.session = Session(monitor, self.processes, seed=options.seed)
        self.folder = Stages(
            folder,
            say=self.session.say,
            writes=self.processes.is_first,
            barrier=self.processes.barrier,
            of_first=self.processes.of_first,
        )
        self.stages: Stages | Rehearsal = self.folder
        self.flops: CostModel = model.flops(self.image_size)
        optimizer.set_parameters(model.get_parameters(grad_only=True))
        batch = options.batch_size_train // self.processes.n
        self.step = PathStep(
            model,
            optimizer,
            data["train"],
            accumulate=batch // options.mini_batch_train,
            loss_weights=options.loss_weights,
            loss_scale=LossScale.of(options.args.type_config),
            processes=self.processes,
            event=event,
        )
        record = {"network": options.identity["network"], "loss_weights": options.loss_weights}
        self.trainer = Trainer(
            model,
            self.step,
            batch=batch,
            session=self.session,
            stages=self.folder,
            options=options.args,
            record={**record, "options": options.model_dump(mode="json", exclude={"args"})},
        )

    @cached_property
    def cost(self) -> CostModel:
        """The cost that buckets, pruning and search go by; layers are timed here where it is latency."""
        own = {"stages": self.folder, "session": self.session, "network": self.options.identity["network"]}
        synchronise = self.event.default_stream_synchronize
        return cost_model(self.model, self.flops, self.image_size, self.options.cost, synchronise=synchronise, **own)

    @cached_property
    def cost_inputs(self) -> dict[str, str]:
        """Identity of the cost among the inputs of a stage."""
        return cost_inputs(self.cost, self.folder)

    @cached_property
    def budgets(self) -> Budgets:
        """The buckets of the cost (Section 3.1.1)."""
        return Budgets.equal_width(self.cost, n=self.options.path_filter.n_buckets)

    def rehearsal(self) -> "Run":
        """This run, to be gone through without a word and without doing anything."""
        _ = self.budgets  # of the real cost
        other = copy.copy(self)
        other.stages, other.session = Rehearsal(), self.session.quiet()
        other.step, other.trainer = copy.copy(self.step), copy.copy(self.trainer)  # phases set what they train with
        return other

    def rehearse(self, algorithm: Callable[["Run"], Any]) -> dict[str, Work]:
        """Go through an algorithm's stages without doing them; what each takes, by name.

        DetOFAError for what would go wrong in one of them, before hours of training.
        """
        other = self.rehearsal()
        algorithm(other)
        assert isinstance(other.stages, Rehearsal)
        return other.stages.planned

    def examine_data(self) -> None:
        """Say what is wrong with the data set, before anything is trained; DataError where it cannot be trained on."""
        if self.folder.writes:
            kept: Kept[Any] = self.folder.json(DATA)
            known = kept.read() if (self.folder / DATA).exists() else None
            found = self.data["train"].examined(known, [self.data[split].split_digest for split in ("train", "test")])
            if known is None and found:  # what is there may be another run's, whose folder refuses this one only later
                self.folder.write(DATA, found)

    @property
    def epochs(self) -> int:
        """All that one schedule goes over."""
        return self.options.warmup + self.options.finetune

    def rng(self, purpose: str):
        """See `Session.rng`."""
        return self.session.rng(purpose)

    def say(self, line: str) -> None:
        """See `Session.say`."""
        self.session.say(line)
