"""Keep what nnabla says of itself while it is imported off the terminal (an addition; not in the paper)."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO


@contextmanager
def quiet() -> Iterator[None]:
    """Silence nnabla's logger and plain prints: "Initializing CPU extension", a missing libmpi, a missing DALI.

    Exceptions pass through, and what matters of such lines is told by whoever needs the missing part.
    """
    logger = logging.getLogger("nnabla")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()):
            yield
    finally:
        logger.setLevel(level)
