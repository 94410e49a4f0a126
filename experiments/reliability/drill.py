"""Failure drill: runs are killed at random moments and resumed; each has to end exactly as one that was left alone.

    python -m experiments.reliability.drill --kills 100 [--seed 0] [--config FILE] [--signal TERM] [KEY=VALUE …]

A third of the kills come at any moment of a run, a third inside a stage of its own choosing (measuring and search
are stages), a third while a file or checkpoint is being written. Prints a line a kill, and how many ended identically.
A session is a fork of a process that has imported everything, and else what the command does.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .run_digest import digest_of

CONFIG = Path(__file__).with_name("drill.yaml")
LOOK = 0.002  # seconds between two looks at a run's folder
MISSES = 20  # in a row: runs that were over before their kill


class Session:
    """One process on a run, from a fork on; `folder` is the run's."""

    def __init__(self, name: str, options: argparse.Namespace):
        self.folder = options.folder / "log" / name
        self.log = options.folder / f"{name}.txt"
        arguments = ["-c", str(options.config), f"name={name}", *options.overrides]
        self.pid = os.fork()
        if not self.pid:
            os._exit(_work(arguments, options.folder, self.log))
        self.code: int | None = None

    def end(self, how: int = 0) -> int | None:
        """Wait for the end; the exit code, negative for a signal. With WNOHANG, None while the process lives."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, how)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code

    def reaches(self, moment: Callable[[], bool]) -> bool:
        """Wait for the moment; False where the end comes first."""
        while self.end(os.WNOHANG) is None:
            if moment():
                return True
            time.sleep(LOOK)
        return False

    def kill(self, number: signal.Signals) -> None:
        """Send the signal, and wait for the end."""
        os.kill(self.pid, number)
        self.end()

    def stages(self) -> dict:
        """The record of stages, or nothing before there is one."""
        try:
            return json.loads((self.folder / "stages.json").read_text())
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def present(self) -> str:
        """The stage at work."""
        return next((name for name, entry in self.stages().items() if not entry["done"]), "between stages")

    def writing(self) -> list[str]:
        """Files and checkpoints that are half written."""
        folders = [self.folder, *self.folder.glob("checkpoint_*")]
        return [one.name for folder in folders for one in folder.glob(".*.writing*")]


def _work(arguments: list[str], start: Path, log: Path) -> int:
    from nnabla_detofa.launch import cli

    with log.open("ab") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    os.chdir(start)
    return cli.main(arguments)


class Moments:
    """Draws when to kill: what a session has to be waited for, and for how long after that."""

    def __init__(self, seconds: float, stages: dict[str, float], writes: int, rng: np.random.Generator):
        """Of a run left alone: how long it took, each of its stages, and how often it was seen writing."""
        self._seconds, self._stages, self._writes, self._rng = seconds, stages, writes, rng

    def draw(self, number: int, session: Session) -> tuple[Callable[[], bool], float]:
        """The moment of this kill, and seconds behind it."""
        return (self._any, self._in_stage, self._in_writing)[number % 3](session)

    def _any(self, _: Session) -> tuple[Callable[[], bool], float]:
        return lambda: True, self._rng.uniform(0, self._seconds)

    def _in_stage(self, session: Session) -> tuple[Callable[[], bool], float]:
        stage = self._rng.choice(list(self._stages))
        return lambda: session.present() == stage, self._rng.uniform(0, self._stages[stage])

    def _in_writing(self, session: Session) -> tuple[Callable[[], bool], float]:
        return Writes(session, self._rng.integers(1, self._writes + 1)), 0.0


class Writes:
    """Asked again and again, says when the n-th name of what is being written is seen."""

    def __init__(self, session: Session, n: float = np.inf):
        self.seen: set[str] = set()
        self._session, self._n = session, n

    def __call__(self) -> bool:
        self.seen.update(self._session.writing())
        return len(self.seen) >= self._n


def reference(options: argparse.Namespace) -> tuple[dict[str, str], Moments]:
    """A run that is left alone: its end, and when others may be killed."""
    start = time.monotonic()
    session = Session("reference", options)
    writes = Writes(session)
    session.reaches(writes)
    if session.code:
        sys.exit(f"the run itself ended with {session.code}:\n{session.log.read_text()}")
    seconds = time.monotonic() - start
    stages = {name: entry["seconds"] for name, entry in session.stages().items()}
    print(f"left alone: {seconds:.1f} s, {len(stages)} stages, seen writing {len(writes.seen)} files and checkpoints")
    rng = np.random.default_rng(options.seed)
    return digest_of(session.folder), Moments(seconds, stages, len(writes.seen), rng)


def killed_run(number: int, moments: Moments, options: argparse.Namespace) -> Session:
    """A run that was killed once; one that is over too soon is begun anew."""
    for _ in range(MISSES):
        session = Session(f"kill_{number}", options)
        moment, behind = moments.draw(number, session)
        if session.reaches(moment):
            until = time.monotonic() + behind
            if not behind or session.reaches(lambda until=until: time.monotonic() >= until):
                session.kill(options.signal)
                if session.code == (75 if options.signal == signal.SIGTERM else -options.signal):
                    return session
        if session.code not in (0, 75):
            sys.exit(f"a run that was not killed ended with {session.code}:\n{session.log.read_text()}")
        shutil.rmtree(session.folder)
    sys.exit(f"{MISSES} runs in a row were over before their kill")


def drill(options: argparse.Namespace) -> bool:
    """All kills; whether every end was that of the run left alone."""
    expected, moments = reference(options)
    places, in_writing, resumes, identical = Counter[str](), 0, 0, 0
    for number in range(options.kills):
        session = killed_run(number, moments, options)
        place, writing = session.present(), session.writing()
        places[place] += 1
        in_writing += bool(writing)
        again = Session(session.folder.name, options)
        resumes += again.end() == 0
        end = digest_of(session.folder) if again.code == 0 else {}
        differing = sorted(name for name in {*end, *expected} if end.get(name) != expected.get(name))
        identical += not differing
        result = "identical" if not differing else f"ended with {again.code}; differing: {', '.join(differing)}"
        print(f"kill {number + 1}: in {place}{', writing ' * bool(writing)}{' '.join(writing)}: {result}", flush=True)
        if not differing:
            shutil.rmtree(session.folder)
    where = ", ".join(f"{name} {n}" for name, n in places.most_common())
    print(f"kills {options.kills} ({in_writing} inside a write; {where}), resumes {resumes}, identical {identical}")
    return identical == options.kills


def main() -> int:
    parser = argparse.ArgumentParser(prog="drill", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--signal", default="KILL", choices=["KILL", "TERM"])
    parser.add_argument("--folder", type=Path, help="where to run; a temporary one unless it is given")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    options.signal = signal.Signals[f"SIG{options.signal}"]
    options.config = options.config.absolute()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # no thread to lose in a fork, and as the command sets it
    import nnabla_detofa.launch.run  # noqa: F401 - what takes long to import

    with tempfile.TemporaryDirectory(prefix="drill-") as place:
        options.folder = (options.folder or Path(place)).absolute()
        options.folder.mkdir(parents=True, exist_ok=True)
        start = time.monotonic()
        good = drill(options)
        print(f"{time.monotonic() - start:.0f} s")
        return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
