"""Options of a run: what a configuration may say, declared once (an addition; not in the paper)."""

from .declaration import Options, checked, declared
from .kinds import Flag, Keys, Kind, Listed, Number, OneOf, Span, Text, Value, Whole, ratio, share

__all__ = [
    "Flag",
    "Keys",
    "Kind",
    "Listed",
    "Number",
    "OneOf",
    "Options",
    "Span",
    "Text",
    "Value",
    "Whole",
    "checked",
    "declared",
    "ratio",
    "share",
]
