"""Options of a run: what a configuration may say, declared once (an addition; not in the paper)."""

from .declaration import Options, checked, declared
from .kinds import Flag, Kind, Listed, Number, OneOf, Text, Whole, ratio, share

__all__ = [
    "Flag",
    "Kind",
    "Listed",
    "Number",
    "OneOf",
    "Options",
    "Text",
    "Whole",
    "checked",
    "declared",
    "ratio",
    "share",
]
