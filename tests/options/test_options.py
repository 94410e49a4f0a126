"""An option is declared once: its check, its message and its type follow."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import ValidationError

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.options import (
    Flag,
    Keys,
    Kind,
    Listed,
    Number,
    OneOf,
    Options,
    Text,
    Value,
    Whole,
    checked,
    declared,
    ratio,
    share,
)

NAN, BIG = float("nan"), 10**400
NAMES = OneOf("colour", lambda: ("red", "green"))
KINDS = {  # kind: what it takes, what it does not, what it says
    Whole(): ([1, np.int8(3), 10**30], [0, 1.0, np.float64(2), "1", True, np.bool_(True), None, [1]], "of at least 1"),
    Whole(least=-1, most=5): ([-1, np.uint8(5)], [-2, 6], "a whole number from -1 to 5"),
    Number(): ([1, 0.5, np.float16(0.5), Fraction(1, 2)], [NAN, np.inf, BIG, "1", True, None], "a finite number"),
    Number(least=0, most=1): ([0, 1], [-1e-9, 1.1], "a finite number of at least 0 and of at most 1"),
    Number(above=0, below=1): ([0.5], [0, 1], "a finite number above 0 and below 1"),
    ratio(): ([0, 0.9], [1, -0.1], "of at least 0 and below 1"),
    share(): ([0, 1], [1.1, -0.1], "of at least 0 and of at most 1"),
    Flag(): ([True, False], [0, 1, "true", None], "true or false"),
    Text("a file"): (["", "x"], [3, None], "a file"),
    Keys(): ([{}, {"a": 1}], [3, None, ["a"]], "keys and their values"),
    Value("even", lambda x: x % 2 == 0): ([2], [3, "a"], "even"),
    Listed(Whole()): ([[], [1, 2], (3,)], [[0], 1, "12", None], "a list of values, each a whole number of at least 1"),
    Listed(Whole(), 2): ([[1, 2]], [[1], [1, 2, 3]], "a list of 2, each"),
    Listed(Whole(), least=1): ([[1]], [[]], "a list of at least 1, each"),
    Listed(Listed(Flag(), 1)): ([[[True]]], [[True]], "a list of values, each a list of 1, each true or false"),
}


def _tuples(value):
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.words)
def test_what_a_kind_takes(kind):
    good, bad, words = KINDS[kind]
    assert words in kind.allowed
    for value in good:
        assert kind(value) == _tuples(value)
    for value in bad:
        with pytest.raises(ValueError, match="^" + kind.allowed.replace("(", r"\(") + "$"):
            kind(value)


@pytest.mark.parametrize(
    ("kind", "value", "own"),
    [
        (Whole(), np.int64(3), 3),
        (Number(), 1, 1.0),
        (Number(), np.float32(0.5), 0.5),
        (Listed(Whole()), [np.int8(1)], (1,)),
        (Listed(Listed(Number())), [[1]], ((1.0,),)),
        (Keys(), {"a": 1}, {"a": 1}),
    ],
)
def test_values_come_in_the_types_of_python(kind, value, own):
    taken = kind(value)
    assert (taken, type(taken)) == (own, type(own))
    assert [type(one) for one in np.ravel(taken)] == [type(one) for one in np.ravel(own)]


@pytest.mark.parametrize("make", [Whole, Number, Flag, Text, ratio, share])
def test_null_is_taken_where_it_is_allowed(make):
    assert make(null=True)(None) is None
    assert make(null=True).allowed.endswith(", or null")
    with pytest.raises(ValueError, match="."):
        make()(None)


def test_a_name_is_one_of_those_that_there_are():
    assert NAMES("red") == "red"
    assert NAMES.allowed == "one of green, red"
    assert OneOf("colour", lambda: ("red",), null=True)(None) is None
    for wrong in ("rde", 3, None, ["red"]):
        with pytest.raises(ConfigError) as caught:
            NAMES(wrong)
        assert (caught.value.given, caught.value.allowed) == (wrong, "green, red")


def test_a_kind_says_and_checks():
    for ask in (lambda: Kind().words, lambda: Kind().accept(3)):
        with pytest.raises(NotImplementedError, match="Kind has to say"):
            ask()


class Inner(Options):
    """Of a group in a group."""

    width: Annotated[int, Whole()] = 3


class Group(Options):
    """A group."""

    rate: Annotated[float, Number(above=0)]
    colour: Annotated[str, NAMES] = "red"
    inner: Inner = Inner()
    maybe: Inner | None = None


def test_options_are_frozen_and_in_their_types():
    group = Group.of("group", {"rate": 1, "inner": {"width": np.int8(4)}})
    assert (group.rate, group.colour, group.inner.width, group.maybe) == (1.0, "red", 4, None)
    assert type(group.inner.width) is int
    with pytest.raises(ValidationError):
        group.rate = 2.0


@pytest.mark.parametrize(
    ("given", "key", "value", "allowed"),
    [
        (3, "group", 3, "keys and their values"),
        (None, "group", None, "keys and their values"),
        ({"rate": 0}, "group.rate", 0, "a finite number above 0"),
        ({"rate": "1"}, "group.rate", "1", "a finite number above 0"),
        ({}, "group.rate", None, ""),
        ({"rate": 1, "rat": 2}, "group.rat", "rat", "colour, inner, maybe, rate"),
        ({"rate": 1, 3: 2}, "group.3", "3", "colour, inner, maybe, rate"),
        ({"rate": 1, "colour": "rd"}, "group.colour", "rd", "green, red"),
        ({"rate": 1, "inner": 3}, "group.inner", 3, "keys and their values"),
        ({"rate": 1, "inner": {"width": 0}}, "group.inner.width", 0, "a whole number of at least 1"),
        ({"rate": 1, "inner": {"with": 0}}, "group.inner.with", "with", "width"),
        ({"rate": 1, "maybe": {"with": 0}}, "group.maybe.with", "with", "width"),
    ],
)
def test_what_is_wrong_is_named(given, key, value, allowed):
    with pytest.raises(ConfigError) as caught:
        Group.of("group", given)
    error = caught.value
    assert (error.key, error.given, error.allowed) == (key, value, allowed)
    assert "\n" not in str(error)


def test_a_group_at_the_top():
    with pytest.raises(ConfigError) as caught:
        Group.of("", {})
    assert (caught.value.key, str(caught.value)) == ("rate", "the configuration lacks rate")


def act(what, *, rng, rate: Annotated[float, Number(above=0)], often: Annotated[int, Whole()] = 3) -> Any:
    """Of what."""
    return what, rng, rate, often


def test_the_keywords_of_a_function_are_options():
    options = declared(act, "rng")
    assert options is declared(act, "rng")
    assert (list(options.model_fields), options.__doc__) == (["rate", "often"], "Of what.")
    assert dict(options.of("act", {"rate": 2})) == {"rate": 2.0, "often": 3}


def test_a_checked_function_takes_what_it_declares():
    call = checked("act", "rng")(act)
    assert call.__name__ == "act"
    assert call("it", rng=None, rate=np.float32(2)) == ("it", None, 2.0, 3)
    for wrong, key in (({"rate": 0}, "act.rate"), ({"rate": 1, "often": 0}, "act.often")):
        with pytest.raises(ConfigError) as caught:
            call("it", rng=None, **wrong)
        assert caught.value.key == key


@checked("nothing")
@dataclass
class Nothing:
    """Without keyword-only parameters."""

    what: int


def test_a_call_without_options_is_as_it_was():
    assert Nothing(3).what == 3
