"""Supernet training, epoch by epoch (Algorithm 1, lines 2 and 7 to 16)."""

import time
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

from ..errors import NumericError, RunFolderError
from ..run_options import ArgsOptions
from ..storage import Stages
from .checkpoint import Checkpoints, lost_parameter
from .replay import save_step
from .samplers import PathSampler
from .schedule import Schedule
from .session import Session
from .step import NotFiniteError, PathStep
from .weight_average import WeightAverage

MOST_NAMES = 32  # of images in a message
NONE = -1  # for the step of a checkpoint that is not there


class Trainer:
    """Trains paths of a supernet; goes on from checkpoints, in the middle of an epoch too.

    Args:
        model: the supernet.
        step: one update of it.
        batch: images of an update, of each process.
        session: lines, bars, and the wish to stop.
        stages: the run's folder.
        options: how often a checkpoint is due.
        record: of the run, kept beside a step that diverged.
    """

    _checkpoints: Checkpoints  # of the stage that is being trained
    _sampler: PathSampler

    def __init__(
        self,
        model: Any,
        step: PathStep,
        *,
        batch: int,
        session: Session,
        stages: Stages,
        options: ArgsOptions,
        record: dict[str, Any],
    ):
        self.step, self._model, self._loader = step, model, step.loader
        self._session, self._stages, self._options, self._record = session, stages, options, record
        self.steps_an_epoch = len(self._loader) // batch
        self.base_rate: float = step.solver.learning_rate()
        self.n_done = 0  # steps of the run
        self._path: np.ndarray | None = None  # that was trained last
        self._trained: Checkpoints | None = None  # of the stage that was trained last
        self._saved = 0.0  # when, on the monotonic clock
        self._losses: dict[str, float] = {}  # of the unfinished epoch, their sums

    def train(
        self,
        stage: str,
        sampler: PathSampler,
        *,
        first: int,
        last: int,
        rate: Schedule,
        begin: Callable[[], None] = lambda: None,
        average: float = 0.0,
    ) -> None:
        """Train epochs `first` to `last` - 1, one path of the sampler a step.

        Goes on from the stage's last checkpoint, or else from the end of the stage that was trained before it in this
        run: then `begin` is called once. The loader's position follows from the step. `average`: the epochs at the end
        over which weights are averaged, at most all; the network is left with their mean, and the next stage goes on
        from the weights themselves, as the checkpoint has them.
        """
        start, end = first * self.steps_an_epoch, last * self.steps_an_epoch
        averaged = average and max(1, round(average * self.steps_an_epoch))
        own = WeightAverage() if averaged else None
        self._checkpoints = checkpoints(self._stages, stage, self._session.say, self._stages.digest(stage), own)
        self._sampler = sampler
        self._restore(stage, begin, start=start, end=end)
        self._trained = self._checkpoints
        since, waited, to_train = time.monotonic(), self._loader.waited, self.n_done < end
        with self._session.progress(None, stage, total=end - start, initial=self.n_done - start) as bar:
            while self.n_done < end:
                self._train_step(stage, rate, bar)
                if own and self.n_done > end - averaged:
                    own.add(self._model.get_parameters())
                stop, due = self._session.processes.any(self._session.stop.asked, self._save_due())
                if stop or due or self.n_done % self.steps_an_epoch == 0:
                    self._save()
                if stop:
                    self._session.end()
        if own:
            own.put(self._model.get_parameters())
        if to_train:
            share = (self._loader.waited - waited) / (time.monotonic() - since)
            self._session.say(f"{stage}: {share:.1%} of the time went by in waiting for images")

    def _train_step(self, stage: str, rate: Schedule, bar: tqdm) -> None:
        """One step; its share of the epoch's mean losses, which go to the curves at the epoch's end."""
        n = self.steps_an_epoch
        self.step.solver.set_learning_rate(rate((self.n_done + 0.5) / n))
        self._path = path = self._sampler.next()
        try:
            losses = self.step(path)
        except NotFiniteError as error:
            self._diverged(f"{error} at step {self.n_done}", error.lost)
        for name, value in losses.items():
            self._losses[name] = self._losses.get(name, 0.0) + value / n
        if self.n_done % self._options.print_frequency == 0:
            bar.set_postfix(epoch=self.n_done // n + 1, loss=f"{losses['loss']:.3f}", refresh=False)
        bar.update()
        self.n_done += 1
        if self.n_done % n == 0:
            for name, value in {**self._losses, "learning_rate": rate(self.n_done / n)}.items():
                self._session.curve(f"{stage}/{name}", value, self.n_done)
            self._losses = {}

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def _restore(self, stage: str, begin: Callable[[], None], *, start: int, end: int) -> None:
        """Everything as at the stage's last checkpoint, or as at its beginning."""
        state = self._load(self._checkpoints)
        if state is not None:
            self._sampler.restore(state["sampler"])
        origin = state or (self._load(self._trained) if self._trained else None)
        if origin is not None:
            self.step.loss_scale.restore(origin["loss_scale"])
        self.n_done = state["step"] if state else start
        self._loader.seek(self.n_done * self.step.accumulate)
        self._losses = state["losses"] if state else {}
        if state is None:
            begin()
            self._save()
        elif self.n_done < end:
            self._session.say(f"{stage}: going on after step {self.n_done - start} of {end - start}")
        self._saved = time.monotonic()

    def _load(self, some: Checkpoints) -> dict | None:
        """Network and solver as at the last whole checkpoint, on all processes at that which the first one sees: a
        shared disk may show another list of them to each. Returns its state, None where there is none."""
        processes, own = self._session.processes, {"network": self._model, "solver": self.step.solver}
        state = some.load(**own) if processes.is_first else None
        step = processes.number_of_first(state["step"] if state else NONE)
        if processes.is_first or step == NONE:
            return state
        self._stages.wait_for([f"{some.folder.name}/{step:09d}"])
        return some.load(**own, step=step)

    def _state(self) -> dict:
        """State beside weights and solver that decides how training goes on, as JSON holds it."""
        sampler, scale = self._sampler.state(), self.step.loss_scale.state()
        return {"loss_scale": scale, "sampler": sampler, "losses": self._losses}

    def _save(self) -> None:
        """A checkpoint after this step; NumericError, on all processes, for weights that are not finite."""
        lost = lost_parameter(self._model)
        if any(self._session.processes.any(lost is not None)):
            self._diverged(f"{lost or 'a parameter of another process'} is not finite after step {self.n_done}")
        if self._path is not None:
            self._session.processes.require_same(f"genes at step {self.n_done}", self._path)
        if self._stages.writes:
            self._checkpoints.save(self.n_done, self._state(), network=self._model, solver=self.step.solver)
        self._stages.count_seconds()
        self._saved = time.monotonic()

    def _save_due(self) -> bool:
        """Whether this process wants a checkpoint between two epochs' ends."""
        steps, minutes = self._options.checkpoint_steps, self._options.checkpoint_minutes
        late = minutes is not None and time.monotonic() - self._saved >= 60 * minutes
        return self._stages.writes and (late or (steps is not None and self.n_done % steps == 0))

    # -- what is not finite -------------------------------------------------------------------------------------------

    def _diverged(self, what: str, lost: np.ndarray | None = None) -> NoReturn:
        """NumericError that says `what` happened in the last step, and on which path and images; the step is kept.

        `lost` says which of its mini-batches are to blame; without it, all may be.
        """
        lost = np.ones(self.step.accumulate, bool) if lost is None else lost
        if self._path is not None:  # before the first step there is nothing to keep
            where = self._keep_step(self._path, lost) if lost.any() else "on images of another process"
            what = f"{what}, path {self._path.tolist()}, {where}"
            self._session.processes.barrier()  # the first to raise ends the others
        raise NumericError(
            f"{what}; the last checkpoint is kept; try a lower optimizer.train.alpha or an optimizer.train.grad_clip"
        )

    def _keep_step(self, path: np.ndarray, lost: np.ndarray) -> str:
        """Keep the step for `replay`; says the images of the lost mini-batches, and where to look."""
        loader, rank, n = self._loader, self._session.processes.rank, self.step.accumulate
        loader.seek(loader.state()["batches"] - n)
        batches = [loader.next() for _ in range(n)]
        images = [[loader.dataset.picture(i)[0].name for i in batch["indices"]] for batch in batches]
        folder = self._stages / (f"debug_step_{self.n_done}" + (f"_rank_{rank}" if rank else ""))
        own = {"step": self.n_done, "path": path.tolist(), "images": images}
        record = {**self._record, **own, "lost": lost_parameter(self._model), "state": self._state()}
        save_step(folder, record, batches, network=self._model, solver=self.step.solver)
        names = [name for batch, blamed in zip(images, lost, strict=True) if blamed for name in batch]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        shown = ", ".join(names[:MOST_NAMES]) + more
        return f"images {shown}; python -m nnabla_detofa.training.replay {folder} shows it again"


def checkpoints(
    stages: Stages,
    stage: str,
    say: Callable[[str], None] = lambda _: None,
    digest: str | None = None,
    average: WeightAverage | None = None,
) -> Checkpoints:
    """Those of a training stage."""
    return Checkpoints(stages / f"checkpoint_{stage}", say, digest, average)


def sampler_state(stages: Stages, stage: str) -> dict:
    """The sampler's state at the end of a training stage; RunFolderError where no checkpoint of it can be read."""
    if (state := checkpoints(stages, stage).read()) is None:
        raise RunFolderError(f"{stages / f'checkpoint_{stage}'} holds no checkpoint that can be read")
    return state["sampler"]
