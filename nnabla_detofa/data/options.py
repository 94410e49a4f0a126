"""What a loader may be told (4.1), checked before anything is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from ..errors import ConfigError, unknown
from .augment import Augmentation

T = TypeVar("T")
NETWORK_STRIDE = 32  # of the backbone's last stage


def from_mapping(kind: type[T], given: Mapping[str, Any], where: str) -> T:
    """The dataclass `kind` with the values `given`; ConfigError, with the known keys, for one it does not have."""
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise unknown(f"key of {where}", key, known)
    return kind(**given)


def require_int(name: str, value: object, *, low: int) -> int:
    """`value` as an int not below `low`; ConfigError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number not below {low}")
    return value


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """Options that all data sets share.

    `image_size` is the network input's side in pixels, `output_stride` how many of them make a cell of the output map.
    `held_out` is the share, or the number, of training images kept for validation. `workers` threads make `prefetch`
    batches ahead; 0 workers load when asked. `cache_megabytes` bounds the memory for decoded images that are kept.
    """

    image_size: int = 512
    output_stride: int = 4
    max_objects: int = 128
    held_out: float | int = 0.1
    augment: Augmentation = field(default_factory=Augmentation)
    workers: int = 2
    prefetch: int = 4
    seed: int = 0
    cache_megabytes: int = 0

    def __post_init__(self) -> None:
        lows = {"image_size": 1, "output_stride": 1, "max_objects": 1, "workers": 0, "prefetch": 1, "seed": 0}
        for name, low in (lows | {"cache_megabytes": 0}).items():
            require_int(name, getattr(self, name), low=low)
        if self.image_size % NETWORK_STRIDE:
            near = self.image_size - self.image_size % NETWORK_STRIDE
            choices = f"{near} or {near + NETWORK_STRIDE}" if near else str(NETWORK_STRIDE)
            raise ConfigError(f"image_size is {self.image_size}; it must be divisible by 32, for instance {choices}")
        if NETWORK_STRIDE % self.output_stride:
            raise ConfigError(f"output_stride is {self.output_stride}; it must be 1, 2, 4, 8, 16 or 32")
        if not isinstance(self.augment, Augmentation):
            object.__setattr__(self, "augment", from_mapping(Augmentation, self.augment or {}, "augment"))
