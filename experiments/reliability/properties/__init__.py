"""Properties of everything that comes in from outside; `fuzz.py` asks long, the tests ask a few examples each."""

import nnabla_detofa.host  # noqa: F401 - repairs the host before anything imports it

from . import annotations, configurations, images, stored, yolo
from .answers import RESULT, Property

PROPERTIES: dict[str, Property] = {
    **annotations.PROPERTIES,
    **images.PROPERTIES,
    **yolo.PROPERTIES,
    **stored.PROPERTIES,
    **configurations.PROPERTIES,
}

__all__ = ["PROPERTIES", "RESULT", "Property"]
