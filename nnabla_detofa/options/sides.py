"""The kind of an image's size: [height, width] in pixels, or one number for a square."""

from dataclasses import dataclass
from typing import Any

from pydantic_core import core_schema

from ..errors import is_whole
from .kinds import Kind, Value

STEP = 32  # of a network's input; its backbone halves a map five times


@dataclass(frozen=True)
class Sides(Kind):
    """Height and width, each a value `of` one kind: (height, width) in the code, see `plain` for files."""

    of: Kind

    @property
    def words(self) -> str:
        """See `Kind`."""
        return f"{self.of.words}, or [height, width], each so"

    def accept(self, value: Any) -> tuple[int, int]:
        """See `Kind`."""
        height, width = value if isinstance(value, (list, tuple)) else (value, value)
        return self.of(height), self.of(width)

    def plain(self, value: tuple[int, int]) -> int | list[int]:
        """See `Kind`: one number for a square, else [height, width]."""
        height, width = value
        return height if height == width else [height, width]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        """As every kind's, and `plain` in what is dumped."""
        plain = core_schema.plain_serializer_function_ser_schema(self.plain)
        return core_schema.no_info_plain_validator_function(self, serialization=plain)


IMAGE_SIZE = Sides(
    Value(f"divisible by {STEP} and above 0", lambda value: is_whole(value) and value > 0 and value % STEP == 0, int)
)
