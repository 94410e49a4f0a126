"""The runners that the host's launchers start: thin adapters from its protocol to functions of a run."""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from .algorithm import train_and_search
from .errors import ConfigError
from .host import Runner
from .pretraining import pretrain, pretraining_lines
from .report.folder import explain
from .report.plan import plan_lines
from .report.summary import summary_lines
from .run_options import PretrainingOptions, RunOptions, TrainingOptions
from .search_stages import estimate_statistics
from .storage.files import refused
from .threads import one_blas_thread
from .training import Run, say_fewer_images


class Searcher(Runner):
    """Base of both runners; takes what the host's launchers hand to any runner."""

    options: ClassVar[type[TrainingOptions]]
    tasks: ClassVar[tuple[str, ...]]

    @staticmethod
    @abstractmethod
    def algorithm(run: Run) -> dict[str, Any]:
        """All stages; the run's summary."""

    @staticmethod
    @abstractmethod
    def lines(found: dict[str, Any]) -> Iterator[str]:
        """The tables for the user."""

    def __init__(self, model, optimizer, regularizer, dataloader, hparams, args):
        if "train" not in optimizer:
            raise ConfigError("optimizer lacks train", key="optimizer.train")
        model.require_fit(dataloader["train"])
        # placeholders are made by whoever builds a graph
        super().__init__(
            model, optimizer, regularizer, dataloader, {**hparams, "input_shapes": [], "target_shapes": []}, args
        )

    def say(self, line: str) -> None:
        """A line to the terminal and the log, from rank 0 alone."""
        self.monitor.info(f"{line}\n")

    @one_blas_thread()
    def run(self):
        """The algorithm; log and curves are whole on disk afterwards, whatever ended it."""
        with refused(Path(self._abs_output_path)), closing(self.monitor):
            run = self._run()
            run.rehearse(self.algorithm)
            run.examine_data()
            if self.model.transfer is not None:
                run.say(f"pretrained: {self.model.transfer}")
            with run.session.stop:  # until here there is nothing to save, and a signal ends the run at once
                found = self.algorithm(run)
            for line in (*self.lines(found), *explain(run.folder)):
                run.say(line)
        return self

    @one_blas_thread()
    def plan(self) -> None:
        """Say what `run` would do and take; nothing is trained, and the network is of no use afterwards."""
        with closing(self.monitor):
            run = self._run(check_paths=0)
            if run.options.cost.name == "latency" and run.processes.n > 1:  # each has a folder of its own
                raise ConfigError(
                    "a plan of measured latency times the layers in one process: leave mpirun out", key="cost"
                )
            for line in plan_lines(run, type(self).__name__, run.rehearse(self.algorithm)):
                run.say(line)

    @one_blas_thread()
    def estimate(self) -> None:
        """The BN statistics of the detectors of a finished run, whose evaluation did not keep them."""
        with refused(Path(self._abs_output_path)), closing(self.monitor):
            estimate_statistics(self._run())

    def _run(self, **cost: int) -> Run:
        """The run whose settings are good as far as they can be known; ConfigError otherwise."""
        optimizer, task = self.optimizer["train"], self.model.task
        if task.name not in type(self).tasks:
            what = " or ".join(type(self).tasks)
            raise ConfigError(
                f"{type(self).__name__} trains a network for {what}, and this one is for {task.name}:"
                " take another network or another args.algorithm",
                key="network",
            )
        options = self.options.of(self.hparams, self.args)
        options = options.model_copy(update={"cost": options.cost.model_copy(update=cost)})
        task.require_metric(options.metric, self.dataloader["test"])
        task.require_weights(getattr(options, "loss_weights", None))
        if optimizer._lr_scheduler is not None:
            raise ConfigError(
                "optimizer.train.lr_scheduler is set, but hparams.schedule sets the rate: remove it",
                key="optimizer.train.lr_scheduler",
            )
        if not self.one_epoch_train:
            images = len(self.dataloader["train"].dataset)
            allowed = f"at most {images}, the number of training images"
            raise ConfigError(key="hparams.batch_size_train", given=options.batch_size_train, allowed=allowed)
        run = Run(
            model=self.model,
            data=self.dataloader,
            optimizer=optimizer,
            options=options,
            comm=self.comm,
            event=self.event,
            monitor=self.monitor,
            folder=Path(self._abs_output_path),
        )
        say_fewer_images(run)
        return run

    # -- the rest of the host's protocol ------------------------------------------------------------------------------

    def train_on_batch(self, key="train"):
        """Nothing: training is a stage of its own."""

    valid_on_batch = callback_on_epoch_end = callback_on_start = callback_on_finish = train_on_batch


class DetOFASearcher(Searcher):
    """Trains a supernet on the part of its search space that a path filter leaves, and searches it under budgets.

    A stage leaves its files in the run folder, and is not run again while they are there from the same inputs.
    """

    options, tasks = RunOptions, ("detection", "segmentation")
    algorithm, lines = staticmethod(train_and_search), staticmethod(summary_lines)


class OFAPretrainer(Searcher):
    """Trains a classification supernet phase by phase, then measures its paths and fits a path filter to them."""

    options, tasks = PretrainingOptions, ("classification",)
    algorithm, lines = staticmethod(pretrain), staticmethod(pretraining_lines)
