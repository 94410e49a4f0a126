"""What all stages of a run share: lines, bars and curves, random streams, the run folder, the other processes."""

import zlib
from abc import abstractmethod
from contextlib import closing, contextmanager
from pathlib import Path

import nnabla as nn
import numpy as np
from tqdm import tqdm

from ..host import Runner
from .run_folder import RunFolder


class RunSession(Runner):
    """One session of a run, as the host's launchers start it: `check_settings`, then `algorithm`, stage by stage."""

    def __init__(self, model, optimizer, regularizer, dataloader, hparams, args):
        super().__init__(model, optimizer, regularizer, dataloader, hparams, args)
        self.folder = RunFolder(
            Path(self._abs_output_path), say=self.say, writes=self.comm.rank == 0, barrier=self._barrier
        )

    def run(self):
        """The algorithm; log and curves are whole on disk afterwards, whatever ended it."""
        with closing(self.monitor):
            self.check_settings()
            self.algorithm()
        return self

    def check_settings(self) -> None:
        """DetOFAError for what no run can have; subclasses add what they read."""

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
        """A bar with ETA as a callable that takes a step, whatever it is given."""
        with self.progress(None, name, total=total) as bar:
            yield lambda *_: bar.update()

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
        """Element-wise sum of an array over all processes; in single precision, however many there are."""
        array = nn.NdArray.from_numpy_array(values.astype(np.float32))
        if self.comm.n_procs > 1:
            self.comm.all_reduce([array], division=False, inplace=False)
        return array.data.astype(values.dtype)
