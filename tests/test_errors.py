"""Errors say what is wrong and what to do, in a line; NumPy's numbers are as good as Python's."""

import errno
from fractions import Fraction

import numpy as np
import pytest

from nnabla_detofa.errors import (
    LONGEST,
    ConfigError,
    DetOFAError,
    RunFolderError,
    is_number,
    is_whole,
    one_line,
    refusals_of_the_disk,
    unknown,
)
from nnabla_detofa.options import Whole, ratio


def test_the_sentence_of_an_option():
    error = ConfigError(key="a.b", given="3", allowed="a number")
    assert str(error) == "a.b is '3'; it must be a number"
    assert (error.key, error.given, error.allowed) == ("a.b", "3", "a number")
    assert isinstance(error, DetOFAError) and isinstance(error, ValueError)
    assert str(ConfigError("no data: give some", key="a")) == "no data: give some"


def test_the_sentence_of_a_name():
    error = unknown("colour", "rde", ["red", "green"], key="a.colour")
    assert str(error) == "unknown colour 'rde'; known: green, red (did you mean 'red'?)"
    assert (error.key, error.given, error.allowed) == ("a.colour", "rde", "green, red")
    assert "did you mean" not in str(unknown("colour", "zzz", ["red"]))
    assert str(unknown("colour", "zzz", [])).endswith("known: none")


def test_a_message_is_a_line_that_can_be_printed():
    assert one_line("a\nb\r\nc\x1b[2J\u2028") == "a b c\\x1b[2J"
    assert len(str(ConfigError("x" * 10**6))) < LONGEST + 10


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EISDIR])
def test_what_a_disk_refuses(number):
    with pytest.raises(RunFolderError, match="^cannot write /x/y: No; results go to log/NAME"), refusals_of_the_disk():
        raise OSError(number, "No", "/x/y")


def test_other_errors_of_the_system_pass():
    with pytest.raises(ConnectionError), refusals_of_the_disk():
        raise ConnectionError(errno.ECONNREFUSED, "No")


@pytest.mark.parametrize("value", [3, np.int64(3), np.int8(3), np.uint32(3)], ids=repr)
def test_whole_numbers_are_those_of_python_and_of_numpy(value):
    assert is_whole(value) and is_number(value)
    whole = Whole(least=3, most=3).required("n", value)
    assert (whole, type(whole)) == (3, int)


@pytest.mark.parametrize("value", [True, np.bool_(True), 3.0, np.float64(3), "3", None, np.array(3), [3], 0], ids=repr)
def test_what_is_no_whole_number(value):
    with pytest.raises(ConfigError) as caught:
        Whole().required("n", value)
    assert (caught.value.key, caught.value.allowed) == ("n", "a whole number of at least 1")
    assert is_whole(value) is (type(value) is int)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5), np.float16(0.5), Fraction(1, 2)], ids=repr)
def test_numbers_are_those_of_python_and_of_numpy(value):
    assert is_number(value)
    assert ratio().required("share", value) == 0.5


@pytest.mark.parametrize("value", [True, np.bool_(True), np.nan, np.float32(np.inf), 10**400, "1", None], ids=repr)
def test_what_is_no_finite_number(value):
    assert not is_number(value)
    with pytest.raises(ConfigError):
        ratio().required("share", value)
