"""A result or one of our errors, whatever comes in: a few examples of each property that `fuzz.py` asks long."""

import pytest
from hypothesis import HealthCheck, given, settings

from experiments.reliability.properties import PROPERTIES
from experiments.reliability.properties.answers import RESULT, answer, check_message
from nnabla_detofa.errors import DataError, one_line

SETTINGS = settings(
    max_examples=25, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("name", PROPERTIES)
def test_whatever_comes_in(name, tmp_path):
    asked = []

    @SETTINGS
    @given(PROPERTIES[name].examples)
    def holds(example):
        asked.append(PROPERTIES[name].answer(example, tmp_path))

    holds()
    assert asked


def test_an_answer_lets_foreign_errors_through():
    def fail(error):
        raise error

    assert answer(lambda: None) == RESULT
    assert answer(lambda: fail(DataError("no"))) == "DataError"
    with pytest.raises(KeyError):
        answer(lambda: fail(KeyError("x")))


@pytest.mark.parametrize("message", ["", "a\nb", "\x1b[2J", "x" * 3000, "\ud800", "\0"])
def test_a_message_must_be_one_line_to_read_and_every_error_is(message):
    with pytest.raises((AssertionError, UnicodeEncodeError)):
        check_message(message)
    check_message(str(DataError(message or "empty")))
    assert one_line("a b  c") == "a b  c"
