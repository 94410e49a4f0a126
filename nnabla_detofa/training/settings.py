"""What a configuration may say below `hparams`, asked before anything is trained."""

from collections.abc import Callable, Collection, Mapping
from inspect import Parameter, signature

from ..errors import ConfigError, is_number, require_whole, unknown


def keywords(call: Callable, *supplied: str) -> set[str]:
    """The keyword-only parameters of `call` without those that the code supplies itself."""
    parameters = signature(call).parameters.values()
    return {p.name for p in parameters if p.kind is Parameter.KEYWORD_ONLY} - set(supplied)


def require_keys(where: str, given: Mapping, known: Collection[str], *, needed: Collection[str] = ()) -> None:
    """ConfigError for a key of `given` that is not known, or a needed one that is missing."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} is {given!r}; it must hold keys and their values")
    for key in given:
        if key not in known:
            raise unknown(f"key in {where}:", key, known)
    missing = [key for key in needed if key not in given]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")


def require_name(where: str, given: object, known: Collection[str]) -> None:
    """ConfigError for a name that is not known."""
    if not isinstance(given, str) or given not in known:
        raise unknown(where, given, known)


def require_count(where: str, value: object, *, least: int = 1) -> int:
    """`value` as a whole number of at least `least`; ConfigError otherwise."""
    return require_whole(where, value, least=least)


def require_numbers(where: str, value: object, *, n: int | None = None) -> list[float]:
    """`value` as a list of finite numbers, `n` of them; ConfigError otherwise."""
    if not isinstance(value, (list, tuple)) or not all(map(is_number, value)) or n not in (None, len(value)):
        raise ConfigError(f"{where} is {value!r}; it must be a list of {f'{n} ' if n else ''}finite numbers")
    return [float(one) for one in value]


def require_number(where: str, value: object, *, least: float) -> float:
    """`value` as a finite number of at least `least`; ConfigError otherwise."""
    if not is_number(value) or value < least:
        raise ConfigError(f"{where} is {value!r}; it must be a finite number of at least {least:g}")
    return float(value)


def require_positive(where: str, value: object) -> float:
    """`value` as a finite number above 0; ConfigError otherwise."""
    if not is_number(value) or value <= 0:
        raise ConfigError(f"{where} is {value!r}; it must be a finite number above 0")
    return float(value)
