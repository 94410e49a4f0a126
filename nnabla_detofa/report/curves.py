"""Training curves, read back from the run's TensorBoard files (an addition; not in the paper)."""

import logging
from pathlib import Path

FOLDER = "tensorboard"


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each curve by its tag; empty where no file is readable.

    A session that goes on from a step, or trains anew, takes the place of what earlier ones wrote from there on.
    """
    files = sorted((folder / FOLDER).glob("events.*"))
    found = sorted(point for file in files for point in _points(file))
    curves: dict[str, list[tuple[int, float]]] = {}
    for _, tag, step, point in found:
        before = [one for one in curves.get(tag, []) if one[0] < step]
        curves[tag] = [*before, (step, point)]
    return curves


def _points(file: Path) -> list[tuple[float, str, int, float]]:
    """When each point was written, its tag, step and value."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # a second to import

    found = []
    try:
        for event in EventFileLoader(str(file)).Load():
            at, values = (event.wall_time, event.step), event.summary.value
            found += [(at[0], one.tag, at[1], one.tensor.float_val[0]) for one in values if one.tensor.float_val]
    except Exception:  # whatever is wrong with a curve is no reason to fail at a run's end
        logging.getLogger(__name__).warning("%s cannot be read to its end; its curves are left out from there", file)
    return found
