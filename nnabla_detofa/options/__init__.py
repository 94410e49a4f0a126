"""Options of a run: what a configuration may say, declared once (an addition; not in the paper)."""

from .declaration import Options, checked, declared
from .kinds import Ascending, Flag, Keys, Kind, Listed, Number, OneOf, Span, Text, Value, Whole, ratio, share
from .sides import IMAGE_SIZE, Sides

__all__ = [
    "IMAGE_SIZE",
    "Ascending",
    "Flag",
    "Keys",
    "Kind",
    "Listed",
    "Number",
    "OneOf",
    "Options",
    "Sides",
    "Span",
    "Text",
    "Value",
    "Whole",
    "checked",
    "declared",
    "ratio",
    "share",
]
