"""Families of elastic kernels, whose channels are not searched (an addition; not in the paper)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import ConfigError
from ..options import Options
from .channels import make_divisible
from .family import Family


@dataclass(frozen=True)
class KernelFamily(Family):
    """A family whose genes are depths, kernels and expands."""

    options_type: ClassVar[type[Options]]
    options: Any  # of that type

    def __post_init__(self) -> None:
        if even := [side for side in self.options.kernels if side % 2 == 0]:
            raise ConfigError(key="space.kernels", given=even[0], allowed="an odd number: a window has a middle")
        self.require_tables()

    def rounded(self, width: float) -> int:
        """The channels that a block of this width has."""
        return make_divisible(width, self.options.channel_divisor)

    def scaled(self, widths: Sequence[int]) -> tuple[int, ...]:
        """The channels of these widths where `width_scale` narrows the supernet or widens it."""
        return tuple(self.rounded(width * self.options.width_scale) for width in widths)

    @property
    def choices(self) -> dict[str, tuple]:
        """See `Family`."""
        return {name: getattr(self.options, name) for name in ("depths", "kernels", "expands")}

    def to_dict(self) -> dict[str, object]:
        """See `Family`."""
        return {"family": self.name, **self.options.model_dump(mode="json")}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "KernelFamily":
        """See `Family`."""
        return cls(cls.options_type.of("space", given))
