"""What the keywords of a fit (section 3.1.2) may be, so that a wrong one is known before anything is trained."""

from collections.abc import Callable
from typing import Any

from ..errors import ConfigError, is_number, is_whole
from .objectives import OBJECTIVES

Rule = tuple[Callable[[Any], bool], str]  # whether a value fits, and what it must be


def _whole(least: int) -> Rule:
    def fits(value: Any) -> bool:
        return is_whole(value) and value >= least

    return fits, f"a whole number of at least {least}"


def _number(fits: Callable[[float], bool], allowed: str) -> Rule:
    return lambda x: is_number(x) and fits(x), f"a number {allowed}"


_ALLOWED: dict[str, Rule] = {
    "epochs": _whole(1),
    "batch": _whole(2),
    "patience": (lambda x: x is None or _whole(1)[0](x), "a whole number of at least 1, or null"),
    "learning_rate": _number(lambda x: x > 0, "above 0"),
    "margin": _number(lambda x: x > 0, "above 0"),
    "weight_decay": _number(lambda x: x >= 0, "of at least 0"),
    "valid_ratio": _number(lambda x: 0 <= x < 1, "in [0, 1)"),
    "binary_ratio": _number(lambda x: 0 < x < 1, "in (0, 1)"),
    "bounded": (lambda x: isinstance(x, bool), "true or false"),
    "objective": (lambda x: x in OBJECTIVES, f"one of {', '.join(OBJECTIVES)}"),
}


def require_fit_options(**options: Any) -> None:
    """ConfigError for a value that a keyword of `fit` may not have; those that are not given are not looked at."""
    for name, value in options.items():
        fits, allowed = _ALLOWED[name]
        if not fits(value):
            raise ConfigError(f"path filter: {name} is {value!r}; it must be {allowed}")
