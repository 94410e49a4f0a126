"""What a loader may be told (4.1), checked before anything is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ConfigError, unknown
from .augment import Augmentation

T = TypeVar("T")
NETWORK_STRIDE = 32  # of the backbone's last stage


def from_mapping(kind: type[T], given: Mapping[str, Any] | T, where: str) -> T:
    """The dataclass `kind` with the values `given`; ConfigError, with the known keys, for one it does not have."""
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} is {given!r}; it must be a mapping of keys to values")
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


def require_held_out(value: object) -> float | int:
    """`value` if it is a share in [0, 1) or a number of images; ConfigError otherwise."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or value < 0 or (isinstance(value, float) and value >= 1):  # type: ignore[operator]
        raise ConfigError(f"held_out is {value!r}; it must be a share in [0, 1) or a whole number of images")
    return value  # type: ignore[return-value]


def require_root(where: str, value: object) -> None:
    """ConfigError unless `value` can be a folder's name."""
    if not isinstance(value, (str, Path)) or not str(value):
        raise ConfigError(f"{where}.root is {value!r}; it must name the folder that holds the data set")


def require_classes(value: Any) -> None:
    """ConfigError unless `value` is None or a list of different names."""
    if value is None:
        return
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ConfigError(f"classes is {value!r}; it must be a list of names, or null for those that are annotated")
    names = [str(one) for one in value]
    if len(set(names)) < len(names):
        raise ConfigError(f"classes has {max(names, key=names.count)} more than once; each name may be there once")


def require_images_expected(value: Any) -> None:
    """ConfigError unless `value` is None or the number of images of each split."""
    counts = list(value.values()) if isinstance(value, Mapping) and set(value) == {"train", "test"} else [0]
    if value is not None and any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in counts):
        raise ConfigError(f"images_expected is {value!r}; it must be {{train: images, test: images}}, or null")


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Options that the loaders of all tasks share.

    `image_size` is the network input's side in pixels. `held_out` is the share, or the number, of training images kept
    for validation. `workers` threads make `prefetch` batches ahead; 0 workers load when asked. `cache_megabytes` bounds
    the memory for decoded images that are kept. `examine` has a run open every image of both splits before it trains.
    `images_expected`, {"train": n, "test": n}, and `classes_expected` are what a plan counts with while the data set is
    not there.
    """

    image_size: int
    held_out: float | int = 0.1
    workers: int = 2
    prefetch: int = 4
    seed: int = 0
    cache_megabytes: int = 0
    examine: bool = True
    images_expected: Mapping[str, int] | None = None
    classes_expected: int | None = None

    def __post_init__(self) -> None:
        lows = {"image_size": 1, "workers": 0, "prefetch": 1, "seed": 0, "cache_megabytes": 0}
        for name, low in lows.items():
            require_int(name, getattr(self, name), low=low)
        require_held_out(self.held_out)
        if not isinstance(self.examine, bool):
            raise ConfigError(f"examine is {self.examine!r}; it must be true or false")
        require_images_expected(self.images_expected)
        if self.classes_expected is not None:
            require_int("classes_expected", self.classes_expected, low=1)
        if self.image_size % NETWORK_STRIDE:
            near = self.image_size - self.image_size % NETWORK_STRIDE
            choices = f"{near} or {near + NETWORK_STRIDE}" if near else str(NETWORK_STRIDE)
            raise ConfigError(f"image_size is {self.image_size}; it must be divisible by 32, for instance {choices}")


@dataclass(frozen=True, kw_only=True)
class LoaderOptions(StreamOptions):
    """Options that all detection data sets share.

    `output_stride` is how many pixels make a cell of the output map; the targets hold `max_objects` of an image.
    """

    image_size: int = 512
    output_stride: int = 4
    max_objects: int = 128
    augment: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for name in ("output_stride", "max_objects"):
            require_int(name, getattr(self, name), low=1)
        super().__post_init__()
        if NETWORK_STRIDE % self.output_stride:
            raise ConfigError(f"output_stride is {self.output_stride}; it must be 1, 2, 4, 8, 16 or 32")
        object.__setattr__(self, "augment", from_mapping(Augmentation, self.augment, "augment"))
