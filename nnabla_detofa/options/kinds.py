"""Kinds of values that an option can have: each checks one, and says in words what it allows.

To be written into an annotation: `generations: Annotated[int, Whole(least=0)] = 500`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import core_schema

from ..errors import is_number, is_whole, unknown


@dataclass(frozen=True)
class Kind:
    """What a value may be; `null`: whether it may be None as well."""

    null: bool = field(default=False, kw_only=True)

    @property
    def allowed(self) -> str:
        """In words, to follow "it must be"."""
        return f"{self.words}, or null" if self.null else self.words

    @property
    def words(self) -> str:
        """As `allowed`, of values alone."""
        raise NotImplementedError(f"{type(self).__name__} has to say what it allows")

    def accept(self, value: Any) -> Any:
        """The value in its own type; ValueError where it is none of this kind."""
        raise NotImplementedError(f"{type(self).__name__} has to say what it accepts")

    def __call__(self, value: Any) -> Any:
        """`accept`, and None where that is allowed; ValueError says what is allowed."""
        if value is None and self.null:
            return None
        try:
            return self.accept(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise (
                error if type(error) is not ValueError and isinstance(error, ValueError) else ValueError(self.allowed)
            ) from None

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        """This check in the place of pydantic's own, which would take "3" for a number."""
        return core_schema.no_info_plain_validator_function(self)


def _require(good: bool) -> None:
    if not good:
        raise ValueError


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number by its type, of Python or of NumPy, from `least` to `most`."""

    least: int = 1
    most: int | None = None

    @property
    def words(self) -> str:
        """See `Kind`."""
        bounds = f"of at least {self.least}" if self.most is None else f"from {self.least} to {self.most}"
        return f"a whole number {bounds}"

    def accept(self, value: Any) -> int:
        """See `Kind`."""
        _require(is_whole(value) and value >= self.least and (self.most is None or value <= self.most))
        return int(value)


@dataclass(frozen=True)
class Number(Kind):
    """A finite number: of at `least`, or `above` a bound; of at `most`, or `below` another."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    @property
    def words(self) -> str:
        """See `Kind`."""
        bounds = {"of at least": self.least, "above": self.above, "of at most": self.most, "below": self.below}
        said = " and ".join(f"{name} {bound:g}" for name, bound in bounds.items() if bound is not None)
        return f"a finite number {said}".rstrip()

    def accept(self, value: Any) -> float:
        """See `Kind`."""
        _require(is_number(value))
        _require((self.least is None or value >= self.least) and (self.above is None or value > self.above))
        _require((self.most is None or value <= self.most) and (self.below is None or value < self.below))
        return float(value)


def ratio(*, null: bool = False) -> Number:
    """A share of something that may not be all of it: [0, 1)."""
    return Number(least=0, below=1, null=null)


def share(*, null: bool = False) -> Number:
    """A share of something: [0, 1]."""
    return Number(least=0, most=1, null=null)


@dataclass(frozen=True)
class Flag(Kind):
    """true or false."""

    @property
    def words(self) -> str:
        """See `Kind`."""
        return "true or false"

    def accept(self, value: Any) -> bool:
        """See `Kind`."""
        _require(isinstance(value, bool))
        return bool(value)


@dataclass(frozen=True)
class Text(Kind):
    """A text; `of`: what it is, in words."""

    of: str = "a text"

    @property
    def words(self) -> str:
        """See `Kind`."""
        return self.of

    def accept(self, value: Any) -> str:
        """See `Kind`."""
        _require(isinstance(value, str))
        return str(value)


@dataclass(frozen=True)
class OneOf(Kind):
    """A name among those that `names()` knows; `what` it is the name of."""

    what: str
    names: Callable[[], Iterable[str]]

    @property
    def words(self) -> str:
        """See `Kind`."""
        return f"one of {', '.join(sorted(self.names()))}"

    def accept(self, value: Any) -> str:
        """See `Kind`; for an unknown name ConfigError names the closest."""
        if not isinstance(value, str) or value not in set(self.names()):
            raise unknown(self.what, value, self.names())
        return value


@dataclass(frozen=True)
class Listed(Kind):
    """A list of values of one kind: `n` of them where that is given, at `least` so many otherwise."""

    of: Kind
    n: int | None = None
    least: int = 0

    @property
    def words(self) -> str:
        """See `Kind`."""
        many = f"{self.n}" if self.n else f"at least {self.least}" if self.least else "values"
        return f"a list of {many}, each {self.of.allowed}"

    def accept(self, value: Any) -> tuple:
        """See `Kind`."""
        _require(isinstance(value, (list, tuple)) and self.n in (None, len(value)) and len(value) >= self.least)
        return tuple(self.of(one) for one in value)
