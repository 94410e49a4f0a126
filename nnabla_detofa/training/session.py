"""What all stages of a run share: lines, bars and curves, random streams, the run folder, the other processes."""

import zlib
from abc import abstractmethod
from contextlib import closing, contextmanager
from pathlib import Path

import nnabla as nn
import numpy as np
from tqdm import tqdm

from ..host import Runner
from ..threads import one_blas_thread
from .files import refused
from .interruption import StopRequest
from .run_folder import RunFolder

DATA = "data.json"  # what the examination of the data set found, so that it is not made again


class RunSession(Runner):
    """One session of a run, as the host's launchers start it: `check_settings`, then `algorithm`, stage by stage."""

    def __init__(self, model, optimizer, regularizer, dataloader, hparams, args):
        super().__init__(model, optimizer, regularizer, dataloader, hparams, args)
        self.stop = StopRequest()
        self.folder = RunFolder(
            Path(self._abs_output_path), say=self.say, writes=self.comm.rank == 0, barrier=self._barrier
        )

    @one_blas_thread()
    def run(self):
        """The algorithm; log and curves are whole on disk afterwards, whatever ended it."""
        with refused(self.folder.path), closing(self.monitor):
            self.check_settings()
            self.examine_data()
            if self.model.transfer is not None:
                self.say(f"pretrained: {self.model.transfer}")
            with self.stop:  # until here there is nothing to save, and a signal ends the run at once
                self.algorithm()
        return self

    def check_settings(self) -> None:
        """DetOFAError for what no run can have; subclasses add what they read."""

    def examine_data(self) -> None:
        """Say what is wrong with the data set, before anything is trained; DataError where it cannot be trained on."""
        if self.folder.writes:
            known = self.folder.read(DATA) if (self.folder / DATA).exists() else None
            digests = [self.dataloader[split].split_digest for split in ("train", "test")]
            found = self.dataloader["train"].examined(known, digests)
            if known is None:  # what is there may be another run's, whose folder refuses this one only later
                self.folder.write(DATA, found)

    @abstractmethod
    def algorithm(self) -> None:
        """The stages in their order."""

    # -- what the user sees -------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """A line to the terminal and the log, from rank 0 alone."""
        self.monitor.info(f"{line}\n")

    def progress(self, iterable, name: str, **options):
        """A bar with ETA over an iterable, on rank 0."""
        return tqdm(iterable, desc=name, disable=self.comm.rank > 0, dynamic_ncols=True, mininterval=1.0, **options)

    @contextmanager
    def bar(self, name: str, *, total: int | None):
        """A bar with ETA as a callable that takes a step, whatever it is given; the run may be stopped behind one."""

        def step(*_) -> None:
            bar.update()
            self.pause()

        with self.progress(None, name, total=total) as bar:
            yield step

    def curve(self, name: str, value: float, step: int) -> None:
        """One point of a TensorBoard curve, from rank 0."""
        if self.comm.rank == 0:
            self.monitor.tb.add_scalar(name, float(value), step)

    # -- randomness and processes -------------------------------------------------------------------------------------

    def rng(self, purpose: str) -> np.random.Generator:
        """A stream of its own for each purpose, from the run's one seed; the same on all ranks."""
        return np.random.default_rng([self.hparams["seed"], zlib.crc32(purpose.encode())])

    def _barrier(self) -> None:
        if self.comm.n_procs > 1:
            self.comm.comm.barrier()

    def sum_over_ranks(self, values: np.ndarray) -> np.ndarray:
        """Element-wise sum of an array over all processes; in single precision, whatever the context and their
        number."""
        array = nn.NdArray.from_numpy_array(values.astype(np.float32))
        if self.comm.n_procs > 1:
            self.comm.all_reduce([array], division=False, inplace=False)
        return array.data.astype(values.dtype)

    def any_process(self, *wishes: bool) -> list[bool]:
        """Whether any process has each wish, the same on all of them; all have to ask at the same place."""
        return list(wishes) if self.comm.n_procs == 1 else (self.sum_over_ranks(np.array(wishes, float)) > 0).tolist()

    def first_process(self, wish: bool) -> bool:
        """Whether the first process has the wish, the same on all of them; all have to ask at the same place."""
        return self.any_process(wish and self.comm.rank == 0)[0]

    def pause(self) -> None:
        """End the session, on all processes, if one was asked to stop; called where nothing would be lost."""
        if any(self.any_process(self.stop.asked)):
            raise KeyboardInterrupt("stopped by a signal")
