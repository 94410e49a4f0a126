"""One side of a comparison, in a process of its own: it builds a task once and then runs it whenever it is told to.

    python -m experiments.benchmarks.serve MODULE TASK '{"option": …}'

MODULE.TASK(**options) returns a callable without arguments. Each line on standard input has it called once and is
answered with a line {"seconds": …, "cpu": …, "peak": …, "resident": …, "work": …}. The CPU seconds are those of all its
threads, and of processes that it waited for; peak and resident are megabytes more than the imports took; work is what
the call returns, 1 where it returns None. Needs nothing but the standard library, so it runs in the peers' environment
too.
"""

import contextlib
import importlib
import json
import os
import resource
import sys
import time


def main(module: str, task: str, options: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    build = getattr(importlib.import_module(module), task)
    imported = megabytes()["resident"]
    run = build(**json.loads(options))
    _answer(answers, {"ready": True})
    for _ in sys.stdin:
        _forget_peak()
        start, cpu = time.perf_counter(), cpu_seconds()
        work = run()
        times = {"seconds": time.perf_counter() - start, "cpu": cpu_seconds() - cpu}
        memory = {name: value - imported for name, value in megabytes().items()}
        _answer(answers, {**times, **memory, "work": 1 if work is None else work})


def cpu_seconds() -> float:
    """Of all threads so far, and of the processes that were waited for."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def megabytes() -> dict[str, float]:
    """The process's memory now, and at most since the peak was forgotten."""
    with open("/proc/self/status") as lines:  # noqa: PTH123 - the peers may be of any version
        found = dict(line.split(":", 1) for line in lines)
    return {name: int(found[key].split()[0]) / 1024 for name, key in (("peak", "VmHWM"), ("resident", "VmRSS"))}


def _forget_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as out:  # noqa: PTH123
        out.write("5")  # else the peak is that of all runs, as where a sandbox forbids it


def _answer(stream, message: dict) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
