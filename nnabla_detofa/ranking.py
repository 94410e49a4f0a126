"""The distinct detectors of a run by cost, and the folders that they are exported to (Section 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

from .search_stages import BEFORE, Detector

FOLDER = "detectors"  # of a run's


@dataclass(frozen=True)
class Ranked:
    """One of the distinct detectors: its place by cost, from 1 on, its folder's name, and the budgets that it meets."""

    rank: int
    folder: str
    budgets: tuple[float, ...]
    detector: Detector


def ranked(detectors: Sequence[Detector]) -> list[Ranked]:
    """The distinct detectors by cost; what millions they cost is part of their folders' names."""
    distinct = {one.path: one for one in reversed(detectors)}  # the first row of each, the largest path's last
    order = sorted(distinct.values(), key=lambda one: (one.own_cost, one.path))
    found = []
    for rank, one in enumerate(order, start=1):
        budgets = tuple(row.budget for row in detectors if row.path == one.path and row.budget is not None)
        name = f"{rank:0{len(str(len(order)))}d}-{one.own_cost / 1e6:.4g}M"
        found.append(Ranked(rank, name, budgets, one))
    return found


def folders(detectors: Sequence[Detector]) -> list[str | None]:
    """The folder of each row, below the run's own; None of what was fine-tuned, whose files are where it came from."""
    names = {one.detector.path: f"{FOLDER}/{one.folder}" for one in ranked(detectors)}
    return [None if one.name == BEFORE else names[one.path] for one in detectors]
