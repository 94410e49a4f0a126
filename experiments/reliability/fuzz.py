"""Ask every property of input from outside with many examples, each property in a process of its own.

    python -m experiments.reliability.fuzz --examples 10000 [--only NAME …] [--seed 0] [--minutes 9]

A property holds where every example gives a result or one of our errors: no foreign exception, no hang, no memory
beyond `--megabytes`, no crash of the process. Prints a line a property: examples, and how they were answered.
"""

import argparse
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
from hypothesis import HealthCheck, Phase, given, seed, settings

from .properties import PROPERTIES

MEGABYTES = 3000  # an image of the most pixels that are allowed, decoded twice, and some
MEMORY = Path("/dev/shm")  # a run flushes its files to the disk, which takes most of an example's time
OUT_OF_TIME = 3
LONGEST = 5000  # characters of what a failing property says
ROUND = 1000  # examples; Hypothesis keeps all of a round


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--only", nargs="+", choices=PROPERTIES, metavar="NAME", help=f"of {', '.join(PROPERTIES)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="for each property")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # this process asks
    options = parser.parse_args()
    if options.inside:
        return ask(options.only[0], options.examples, options.seed, options.minutes)
    failed = [name for name in options.only or PROPERTIES if not in_process(name, options)]
    print(f"failed: {', '.join(failed)}" if failed else "all hold")
    return int(bool(failed))


def in_process(name: str, options: argparse.Namespace) -> bool:
    """Whether the property holds; a process that dies is a failure."""
    numbers = ("--examples", options.examples, "--seed", options.seed, "--minutes", options.minutes)
    command = [sys.executable, "-m", __spec__.name, "--inside", "--only", name, *map(str, numbers)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if done.returncode:  # libraries say much of damaged files; what is of interest is said last
        print(f"{name}: the process ended with {done.returncode}\n{done.stderr[-LONGEST:]}")
    return done.returncode == 0


def ask(name: str, examples: int, number: int, minutes: float) -> int:
    """All examples of one property, in bounded memory."""
    answers, start = Counter[str](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-", dir=MEMORY if MEMORY.is_dir() else None) as place:
        logging.disable(logging.CRITICAL)
        cv2.setLogLevel(0)
        limit = used_megabytes() + MEGABYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit << 20, limit << 20))
        try:
            for begin in range(0, examples, ROUND):
                one_round = (name, min(ROUND, examples - begin), f"{number} {begin}")
                hold(*one_round, answers, folder=Path(place), until=start + 60 * minutes)
        except BaseException:
            tell(name, answers, start)
            raise
    tell(name, answers, start)
    return OUT_OF_TIME if "not asked: out of time" in answers else 0


def hold(name: str, examples: int, number: str, answers: Counter[str], *, folder: Path, until: float) -> None:
    """Ask so many examples, and count the answers; raises for one that does not hold."""
    chosen = PROPERTIES[name]

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        print_blob=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(chosen.examples)
    def holds(example: object) -> None:
        if time.monotonic() > until:
            answers["not asked: out of time"] += 1
        else:
            answers[chosen.answer(example, folder)] += 1

    holds()


def used_megabytes() -> int:
    """Address space of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize() >> 20


def tell(name: str, answers: Counter[str], start: float) -> None:
    """Examples of a property and how they were answered."""
    told = ", ".join(f"{count} {answer}" for answer, count in answers.most_common())
    print(f"{name}: {sum(answers.values())} examples in {time.monotonic() - start:.0f} s: {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
