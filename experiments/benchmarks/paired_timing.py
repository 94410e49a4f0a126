"""Two sides measured alternately, so that whatever else the machine does slows both."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = {"ours": sys.executable, "peers": str(ROOT / ".venv-peers" / "bin" / "python")}  # by `make bench`

PATIENCE = 20  # seconds


class Workload(NamedTuple):
    """The work of one side: MODULE.NAME(**options) of this folder, in the environment `python` ("ours" or "peers").

    blas_threads: of NumPy's products. Our kernels share one among threads of their own and want 1.
    one_core: whether all of its threads keep to one core.
    """

    module: str
    name: str
    options: dict
    python: str = "ours"
    blas_threads: int = 1
    one_core: bool = False


class Measured(NamedTuple):
    """A run: wall and CPU seconds per unit of work, and megabytes, at most and left, more than its imports took."""

    seconds: float
    cpu: float
    peak: float
    resident: float


class Running:
    """A task in a process of its own, ready to run."""

    def __init__(self, task: Workload) -> None:
        python = PYTHONS.get(task.python, "")
        if not Path(python).is_file():
            raise RuntimeError(f"there is no environment for {task.python!r}; make bench builds them")
        threads = {name: str(task.blas_threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")}
        # OpenMP's threads spin while they wait; where anything else runs, that makes PyTorch ten times slower.
        threads["OMP_WAIT_POLICY"] = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
        self.task = task
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe that nobody reads would fill up
        self._process = subprocess.Popen(
            [
                python,
                "-m",
                f"{__package__}.serve",
                f"{__package__}.{task.module}",
                task.name,
                json.dumps(task.options),
            ],
            cwd=ROOT,
            env=os.environ | threads,
            preexec_fn=_keep_to_one_core if task.one_core else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def wait(self) -> None:
        """Returns when the task is built."""
        self._read()

    def run(self) -> Measured:
        """One more run."""
        self._process.stdin.write("run\n")
        self._process.stdin.flush()
        answer = self._read()
        work = answer["work"]
        return Measured(answer["seconds"] / work, answer["cpu"] / work, answer["peak"], answer["resident"])

    def _read(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = (self._errors.read().strip().splitlines() or ["no message"])[-1]
            raise RuntimeError(f"{self.task.module}.{self.task.name} in {PYTHONS[self.task.python]} ended: {last}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)  # it removes its files
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()


def _keep_to_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def alternate(tasks: Sequence[Workload], repetitions: int, *, warm_up: int = 1) -> list[float]:
    """Median seconds per unit of work of each task, as `measured`."""
    return [one.seconds for one in measured(tasks, repetitions, warm_up=warm_up)]


def measured(tasks: Sequence[Workload], repetitions: int, *, warm_up: int = 1) -> list[Measured]:
    """Medians of each task's runs; the tasks take turns, and `warm_up` rounds do not count."""
    sides: list[Running] = []
    try:
        for task in tasks:
            sides.append(Running(task))  # one by one: those that run already are closed where one fails
            sides[-1].wait()
        rounds = [[side.run() for side in sides] for _ in range(warm_up + repetitions)]
    finally:
        for side in sides:
            side.close()
    return [Measured(*map(median, zip(*runs, strict=True))) for runs in zip(*rounds[warm_up:], strict=True)]
