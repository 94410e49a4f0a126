"""The reference of all keys is what their declarations print."""

from pathlib import Path
from typing import Annotated

from nnabla_detofa.launch.reference import reference, section
from nnabla_detofa.options import Options, Whole

FILE = Path(__file__).parents[2] / "docs" / "configuration.md"


class Inner(Options):
    """What is inside.

    first, second: of two. More is not told.
    third: the last,
        in two lines.
    """

    first: int = 1
    second: int = 2
    third: int = 3


class Outer(Options):
    """A group."""

    count: Annotated[int, Whole(null=True), "how | many"]
    inner: Inner = Inner()
    named: dict[str, Inner] | None = None


def test_the_file_is_what_the_declarations_print():
    assert FILE.read_text() == reference(), "make reference writes it"


def test_a_section():
    lines = section("outer", Outer).splitlines()
    assert lines[:3] == ["## `outer`", "", "A group."]
    assert [line.split(" | ")[0].strip("| ") for line in lines[6:]] == [
        "`outer.count`",
        *(f"`outer.{key}.{name}`" for key in ("inner", "named.NAME") for name in ("first", "second", "third")),
    ]
    assert lines[6] == "| `outer.count` | a whole number of at least 1, or null |  | how \\| many |"
    assert lines[7] == "| `outer.inner.first` |  | `1` | of two |"
    assert lines[9].endswith("| the last, in two lines |")
