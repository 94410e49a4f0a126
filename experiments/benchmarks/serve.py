"""One side of a comparison, in a process of its own: it builds a task once and then runs it whenever it is told to.

    python -m experiments.benchmarks.serve MODULE TASK '{"option": …}'

MODULE.TASK(**options) returns a callable without arguments. Each line on standard input has it called once and is
answered with a line {"seconds": …, "work": …}; work is what the call returns, 1 where it returns None. Needs nothing
but the standard library, so it runs in the peers' environment too.
"""

import importlib
import json
import os
import sys
import time


def main(module: str, task: str, options: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    run = getattr(importlib.import_module(module), task)(**json.loads(options))
    _answer(answers, {"ready": True})
    for _ in sys.stdin:
        start = time.perf_counter()
        work = run()
        seconds = time.perf_counter() - start
        _answer(answers, {"seconds": seconds, "work": 1 if work is None else work})


def _answer(stream, message: dict) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
