"""Overrides as people write them: what they leave out of Hydra's grammar is added, or said (an addition)."""

import shlex
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeGuard, TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from hydra.main import get_args_parser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from ..errors import ConfigError
from ..signals import held_back

T = TypeVar("T")
NO_OPTION = "Config group override must be"  # what Hydra says bare
AN_OPTION = "a group takes the name of one of its files, as in pruning=flops"


def options_first(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Hydra's options, and the overrides from before, between and behind them: Hydra reads them in this order alone."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:  # in the place of a usage of many lines
        raise ConfigError(f"{message}; -h lists the options")

    parser.error = refuse  # type: ignore[method-assign]
    overrides = parser.parse_intermixed_args(arguments).overrides
    return [one for one in arguments if one not in overrides], overrides


def with_known_keys(use: Callable[[list[str]], T], overrides: list[str]) -> T:
    """use(overrides), with ++ where it says that a key is missing which our code reads.

    ConfigError for a key that nobody reads; names those that there are.
    """
    while True:
        try:
            return use(overrides)
        except HydraException as error:  # noqa: PERF203 - at most as often as there are overrides
            added = list(_added(overrides, error))
            if added == overrides:
                raise
            overrides = added
        except ValueError as error:
            if not str(error).startswith(NO_OPTION):
                raise
            raise ConfigError(f"the configuration cannot be composed: {_of_no_option(overrides)}") from error


def _of_no_option(overrides: list[str]) -> str:
    """The fault of the override that `NO_OPTION` is about, which Hydra does not name."""
    for one in OverridesParser.create().parse_overrides(overrides):
        if "." not in one.key_or_group and not isinstance(value := one.value(), (str, list)):
            return f"'{one.input_line}' gives the group '{one.key_or_group}' an {type(value).__name__}; {AN_OPTION}"
    return AN_OPTION


def _added(overrides: list[str], error: HydraException) -> Iterator[str]:
    missing = error.__cause__
    for override in overrides:
        key, equals, _ = override.partition("=")
        if equals and is_missing_key(missing) and f"{key}.".startswith(f"{missing.full_key}."):
            if (wrong := _keys().unknown_key(_root(missing), key)) is not None:
                raise wrong from error
            yield f"++{override}"
        else:
            yield override


def is_missing_key(error: BaseException | None) -> TypeGuard[ConfigAttributeError | ConfigKeyError]:
    """Whether `error` is OmegaConf's about a key that its mapping does not have."""
    return isinstance(error, (ConfigAttributeError, ConfigKeyError)) and isinstance(error.parent_node, DictConfig)


def _keys() -> Any:
    """Our keys; they come with nnabla, of which a process that has half crashes at its end."""
    with held_back():
        from . import keys

    return keys


def _root(error: Any) -> Any:
    return OmegaConf.to_container(error.parent_node._get_root(), resolve=False)


def unreadable(error: OverrideParseException) -> str:
    """The message for an override that is not in Hydra's grammar."""
    said = str(error.message).splitlines()[0]
    if said.startswith("LexerNoViableAlt"):
        said = "it has a character that must be in quotes"
    return f"cannot read the override '{error.override}': {said}{as_it_stands(str(error.override))}"


def ambiguous(override: str) -> str:
    """The message for an override of several values where one is needed."""
    return (
        f"the override '{override}' has several values; in brackets they are a list, KEY=[A,B], and -m runs one after"
        f" the other{as_it_stands(override)}"
    )


def as_it_stands(override: str) -> str:
    """The spelling of an override whose value holds what has a meaning in Hydra's grammar."""
    quoted = _quoted(override)
    return "" if quoted is None else f"; quote the value if it is meant as it stands: {shlex.quote(quoted)}"


def _quoted(override: str) -> str | None:
    """The override with its value in quotes; None where that is no override either."""
    key, equals, value = override.partition("=")
    quoted = f"{key}={QuotedString(value, Quote.double).with_quotes()}"
    try:
        OverridesParser.create().parse_overrides([quoted])
    except HydraException:
        return None
    return quoted if equals else None
