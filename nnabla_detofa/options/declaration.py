"""Declarations of options: each says once what its value may be, and everything else is derived from that.

An option is a field of an `Options` class, or a keyword-only parameter of a function. Its annotation is a kind of value
(`Whole(least=1)`, `Number(above=0)`, …); checks, messages and the reference in `docs/configuration.md` follow from it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from inspect import Parameter, signature
from typing import Any, ParamSpec, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from ..errors import ConfigError, unknown

P = ParamSpec("P")
T = TypeVar("T")
O = TypeVar("O", bound="Options")  # noqa: E741


class Options(BaseModel):
    """The options below one key of a configuration; frozen."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @classmethod
    def of(cls: type[O], where: str, given: object) -> O:
        """The options that a mapping gives for the key `where`; ConfigError for what they may not be."""
        if not isinstance(given, Mapping):
            raise ConfigError(key=where, given=given, allowed="keys and their values")
        try:
            return cls(**{str(key): value for key, value in given.items()})
        except ValidationError as error:
            raise _first(where, error, cls) from None


def declared(call: Callable, *supplied: str) -> type[Options]:
    """The keyword-only parameters of `call` as options, without those that the code supplies itself."""
    return _declared(call, frozenset(supplied))


@cache
def _declared(call: Callable, supplied: frozenset[str]) -> type[Options]:
    hints = get_type_hints(vars(call)["__init__"] if isinstance(call, type) else call, include_extras=True)
    fields: dict[str, Any] = {
        p.name: (hints.get(p.name, Any), ... if p.default is p.empty else p.default)
        for p in signature(call).parameters.values()
        if p.kind is Parameter.KEYWORD_ONLY and p.name not in supplied
    }
    return create_model(getattr(call, "__name__", "Declared"), __base__=Options, __doc__=call.__doc__, **fields)


def checked(where: str, *unchecked: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function take only what its keyword-only parameters declare, beside the `unchecked` ones.

    Calls raise ConfigError that names the key `where.PARAMETER`.
    """

    def decorate(call: Callable[P, T]) -> Callable[P, T]:
        @wraps(call)
        def checking(*args: P.args, **kwargs: P.kwargs) -> T:
            model = declared(call, *unchecked)
            own = {key: value for key, value in kwargs.items() if key in model.model_fields}
            return call(*args, **{**kwargs, **vars(model.of(where, own))} if own else kwargs)

        return checking

    return decorate


def _first(where: str, error: ValidationError, model: type[Options]) -> ConfigError:
    """The first thing that is wrong, as ours."""
    problem = error.errors(include_url=False)[0]
    *above, last = (str(part) for part in (where, *problem["loc"]) if part != "")
    group, place = ".".join(above) or "the configuration", ".".join([*above, last])
    if problem["type"] == "extra_forbidden":
        return unknown(f"key in {group}:", last, _owner(model, problem["loc"][:-1]).model_fields, key=place)
    if problem["type"] == "missing":
        return ConfigError(f"{group} lacks {last}", key=place)
    said = problem.get("ctx", {}).get("error")
    if isinstance(said, ConfigError):
        said.key = said.key or place
        return said
    allowed = "keys and their values" if problem["type"].startswith("model") else str(said or problem["msg"])
    return ConfigError(key=place, given=problem["input"], allowed=allowed)


def _owner(model: type[Options], place: Sequence[Any]) -> type[Options]:
    """The class of the options at a place below those of `model`."""
    for name in place:
        hint = model.model_fields[name].annotation if name in model.model_fields else None
        inner = [one for one in (hint, *getattr(hint, "__args__", ())) if isinstance(one, type)]
        model = next((one for one in inner if issubclass(one, Options)), model)
    return model
