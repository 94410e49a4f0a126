"""Kinds of values that an option can have: each checks one, and says in words what it allows.

To be written into an annotation: `generations: Annotated[int, Whole(least=0)] = 500`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import core_schema

from ..errors import ConfigError, is_number, is_whole, unknown


@dataclass(frozen=True)
class Kind:
    """A kind of value; `null`: whether None is allowed as well."""

    null: bool = field(default=False, kw_only=True)

    @property
    def words(self) -> str:
        """The allowed values in words, to follow "it must be"."""
        raise NotImplementedError(f"{type(self).__name__} has to say what it allows")

    def accept(self, value: Any) -> Any:
        """The value in its own type; ValueError or TypeError where it is none of this kind."""
        raise NotImplementedError(f"{type(self).__name__} has to say what it accepts")

    def plain(self, value: Any) -> Any:
        """An accepted value as files hold it."""
        return value

    @property
    def allowed(self) -> str:
        """As `words`, of None too."""
        return f"{self.words}, or null" if self.null else self.words

    def __call__(self, value: Any) -> Any:
        """`accept`, and None where that is allowed; ValueError says what is allowed."""
        if value is None and self.null:
            return None
        try:
            return self.accept(value)
        except (ValueError, TypeError, OverflowError) as error:
            own = isinstance(error, ValueError) and type(error) is not ValueError  # a ConfigError says more
            raise (error if own else ValueError(self.allowed)) from None

    def required(self, key: str, value: Any) -> Any:
        """As a call; ConfigError, of that `key`, for what is none."""
        try:
            return self(value)
        except ValueError:
            raise ConfigError(key=key, given=value, allowed=self.allowed) from None

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        """This check in the place of pydantic's own, which would take "3" for a number."""
        return core_schema.no_info_plain_validator_function(self)


@dataclass(frozen=True)
class _Plain(Kind):
    """A kind in two functions: its words, and `accept`."""

    say: Callable[[], str]
    take: Callable[[Any], Any]

    @property
    def words(self) -> str:
        return self.say()

    def accept(self, value: Any) -> Any:
        return self.take(value)


def Value(  # noqa: N802
    words: str, fits: Callable[[Any], bool], make: Callable[[Any], Any] = lambda value: value, *, null: bool = False
) -> Kind:
    """A value that `fits`; `words` say which, `make` gives it its own type."""

    def take(value: Any) -> Any:
        if not fits(value):
            raise ValueError
        return make(value)

    return _Plain(lambda: words, take, null=null)


def Whole(least: int = 1, most: int | None = None, *, null: bool = False) -> Kind:  # noqa: N802
    """A whole number by its type, of Python or of NumPy, from `least` to `most`."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def fits(value: Any) -> bool:
        return is_whole(value) and value >= least and (most is None or value <= most)

    return Value(f"a whole number {bounds}", fits, int, null=null)


def Number(  # noqa: N802
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    *,
    null: bool = False,
) -> Kind:
    """A finite number: of at `least`, or `above` a bound; of at `most`, or `below` another."""
    bounds = {"of at least": least, "above": above, "of at most": most, "below": below}
    said = " and ".join(f"{name} {bound:g}" for name, bound in bounds.items() if bound is not None)

    def fits(value: Any) -> bool:
        return (
            is_number(value)
            and (least is None or value >= least)
            and (above is None or value > above)
            and (most is None or value <= most)
            and (below is None or value < below)
        )

    return Value(f"a finite number {said}".rstrip(), fits, float, null=null)


def ratio(*, null: bool = False) -> Kind:
    """A share of something that may not be all of it: [0, 1)."""
    return Number(least=0, below=1, null=null)


def share(*, null: bool = False) -> Kind:
    """A share of something: [0, 1]."""
    return Number(least=0, most=1, null=null)


def Flag(*, null: bool = False) -> Kind:  # noqa: N802
    """true or false."""
    return Value("true or false", lambda value: isinstance(value, bool), null=null)


def Text(of: str = "a text", *, null: bool = False) -> Kind:  # noqa: N802
    """A text; `of`: what it is, in words."""
    return Value(of, lambda value: isinstance(value, str), str, null=null)


def Keys() -> Kind:  # noqa: N802
    """Keys and their values, of whatever kind."""
    return _Plain(lambda: "keys and their values", lambda value: {**value})


def OneOf(what: str, names: Callable[[], Iterable[str]], *, null: bool = False) -> Kind:  # noqa: N802
    """A name among those that `names()` knows; `what` it is the name of. ConfigError names the closest."""

    def take(value: Any) -> Any:
        if not isinstance(value, str) or value not in set(names()):
            raise unknown(what, value, names(), key="")  # whoever asks knows the key
        return value

    return _Plain(lambda: f"one of {', '.join(sorted(names()))}", take, null=null)


def Listed(  # noqa: N802
    of: Kind, n: int | None = None, *, least: int = 0, different: bool = False, null: bool = False
) -> Kind:
    """A list of values of one kind: `n` of them where that is given, at `least` so many otherwise; all `different`."""
    many = f"{n}" if n else f"at least {least}" if least else "values"

    def take(value: Any) -> Any:
        if not isinstance(value, (list, tuple)) or n not in (None, len(value)) or len(value) < least:
            raise ValueError
        values = tuple(map(of, value))
        if different and len({str(one) for one in values}) < len(values):
            raise ValueError
        return values

    once = ", and none of them twice" if different else ""
    return _Plain(lambda: f"a list of {many}, each {of.allowed}{once}", take, null=null)


def Ascending(of: Kind, *, null: bool = False) -> Kind:  # noqa: N802
    """A list of values of one kind, each larger than the one before."""

    def take(value: Any) -> Any:
        given = Listed(of)(value)
        if not 0 < len(given) <= 100 or list(given) != sorted(set(given)):
            raise ValueError
        return given

    return _Plain(lambda: f"a list of 1 to 100 ascending values, each {of.words}", take, null=null)


def Span(of: Kind, *, null: bool = False) -> Kind:  # noqa: N802
    """The least and the greatest of some values, both of one kind."""

    def take(value: Any) -> Any:
        least, most = Listed(of, 2)(value)
        if least > most:
            raise ValueError
        return least, most

    return _Plain(lambda: f"[least, most], each {of.allowed}", take, null=null)
