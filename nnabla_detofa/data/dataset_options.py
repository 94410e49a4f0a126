"""Options of data sets and their loaders (4.1): kinds of values, and what loaders of all tasks share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from ..errors import is_number, is_whole
from ..options import IMAGE_SIZE, Flag, Listed, Options, Value, Whole
from .sharing import read_split

NETWORK_STRIDE = 32  # of the backbone's last stage


def _own_type(value: Any) -> Any:
    return int(value) if is_whole(value) else value


def _divides(value: Any) -> bool:
    return is_whole(value) and value > 0 and NETWORK_STRIDE % value == 0


def _held_out(value: Any) -> bool:
    return (is_whole(value) and value >= 0) or (is_number(value) and 0 <= value < 1)


OUTPUT_STRIDE = Value("1, 2, 4, 8, 16 or 32", _divides, int)
HELD_OUT = Value("a share in [0, 1) or a whole number of images", _held_out, _own_type)
PLACE = Value("the name of a folder or file", lambda value: isinstance(value, (str, Path)) and str(value) != "")
NAME = Value("a name or a number", lambda value: isinstance(value, str) or is_whole(value), _own_type)
CLASSES = Listed(NAME, least=1, different=True, null=True)


class Expected(Options):
    """Images of each split, for a plan where the data set is not there."""

    train: Annotated[int, Whole()]
    test: Annotated[int, Whole()]


class StreamOptions(Options):
    """Options that the loaders of all tasks share.

    `image_size` is what the network sees, [height, width] in pixels or the side of a square. `held_out` is the share,
    or the number, of training images kept for validation. `workers` threads make `prefetch` batches ahead; 0 workers
    load when asked. `cache_megabytes` bounds the memory for decoded images that are kept. `examine` has a run open
    every image of both splits before it trains. `images_expected` and `classes_expected` are what a plan counts with
    while the data set is not there.
    """

    image_size: Annotated[tuple[int, int], IMAGE_SIZE]
    held_out: Annotated[float | int, HELD_OUT] = 0.1
    workers: Annotated[int, Whole(least=0)] = 2
    prefetch: Annotated[int, Whole()] = 4
    seed: Annotated[int, Whole(least=0)] = 0
    cache_megabytes: Annotated[int, Whole(least=0)] = 0
    examine: Annotated[bool, Flag()] = False
    images_expected: Expected | None = None
    classes_expected: Annotated[int | None, Whole(null=True)] = None


class DatasetOptions(Options):
    """Options of a data set on disk, beside those of its task.

    `classes` selects, and gives the labels their order: objects of other classes are left out; null means those that
    the training split has.
    """

    where: ClassVar[str]  # the key of a configuration that holds these options
    classes: Annotated[Sequence[Any] | None, CLASSES] = None

    def listed_by(self, split: str) -> str | None:
        """The option that adds a class to those of the training split, for whoever reads another `split` by them."""
        return f"{self.where}.classes" if split != "train" and self.classes is None else None

    def trained_classes(self) -> Sequence[Any]:
        """The classes where `classes` gives none."""
        return read_split(self, "train", None).classes

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> Any:
        """The data set of the `split`, "train" or "test"; one that is not `strict` holds what could be read of it."""
        raise NotImplementedError(f"{type(self).__name__} has to read its splits")


class RootOptions(DatasetOptions):
    """Those of a data set in one folder.

    `root` is the folder that holds the data set.
    """

    root: Annotated[str | Path, PLACE]
