"""Files of a run: whole or not there; tables, and stages (an addition; not in the paper)."""

from .manifest import MANIFEST, restamp
from .stages import Kept, Rehearsal, Stages, Work
from .tables import MeasuredPaths, NumberTable, PathTable

__all__ = [
    "MANIFEST",
    "Kept",
    "MeasuredPaths",
    "NumberTable",
    "PathTable",
    "Rehearsal",
    "Stages",
    "Work",
    "restamp",
]
