"""What is asked of everything that comes in from outside; `fuzz.py` asks long, the tests ask a few examples each."""

from . import annotations
from .answers import RESULT, Property

PROPERTIES: dict[str, Property] = {**annotations.PROPERTIES}

__all__ = ["PROPERTIES", "RESULT", "Property"]
