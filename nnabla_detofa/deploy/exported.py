"""The exported networks of a run, from its folder or one of its files, whatever its task (Section 4.2).

ONNX files need onnxruntime alone, NNP files NNabla; neither is imported before it is needed.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..data.images import read_image
from ..errors import DataError, HostError, WeightsError
from ..options import IMAGE_SIZE
from ..storage.files import SUMS, damage
from .maps import DESCRIPTION, extra, normalised

ONNX, NNP = "detector.onnx", "detector.nnp"
RUNTIMES = {".onnx": "onnxruntime", ".nnp": "nnabla"}
# what it needs of a description
KINDS: dict[str, Any] = {"classes": list, "category_ids": list, "image_size": (int, list), "stride": int}
TASK = "detection"  # of files that do not say theirs

Answer = Callable[[np.ndarray], Any]  # of bytes (n, h, w, 3) RGB
T = TypeVar("T", bound="Exported")


class Exported:
    """A network of one run, ready for pictures; subclasses are those of a task.

    Attributes:
        classes: names, by label.
        category_ids: COCO's, where the data set has them, else from 1 on; None for a class that its annotations lack.
        image_size: height and width of what the network sees.
        file: that it was read from.
    """

    task: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]  # the names of its maps
    answered: ClassVar[tuple[str, ...]]  # the names of an ONNX file's outputs

    def __init__(self, file: Path, described: dict[str, Any], answer: Answer) -> None:
        self.file, self._answer = file, answer
        self.classes: tuple[str, ...] = tuple(described["classes"])
        self.category_ids: tuple[Any, ...] = tuple(described["category_ids"])
        self.image_size: tuple[int, int] = described["image_size"]

    @classmethod
    @abstractmethod
    def of_maps(cls, maps: Sequence[np.ndarray], stride: int, *, logits: bool) -> Any:
        """The answer to images, of the network's maps; `logits`: as they are before probabilities."""

    @classmethod
    @abstractmethod
    def of_answered(cls, answered: Sequence[np.ndarray]) -> Any:
        """The answer to images, of an ONNX file's outputs."""

    @classmethod
    def load(cls: type[T], place: str | Path) -> T:
        """The network in a folder, or in a file of it: ONNX where both are there and onnxruntime is, else NNP.

        WeightsError for what is none, or of another task; HostError for an ONNX file without onnxruntime.
        """
        place = Path(place).expanduser()
        if not place.exists():
            raise WeightsError(f"there is no detector at {place}: give a folder detectors/RANK-COST of a run")
        if place.suffix in RUNTIMES:
            _require_undamaged(place)
            kind, described, answer = (_onnx if place.suffix == ".onnx" else _nnp)(place)
            if not issubclass(kind, cls):
                raise WeightsError(f"{place} is for {kind.task}: take {kind.__name__}.load")
            return kind(place, described, answer)
        folder = place if place.is_dir() else place.parent
        if not (folder / DESCRIPTION).is_file():
            raise WeightsError(f"{place} is no detector: it has no {DESCRIPTION}; give a folder detectors/RANK-COST")
        there = [folder / name for name in (ONNX, NNP) if (folder / name).is_file()]
        if not there:
            raise WeightsError(f"{folder} has neither {ONNX} nor {NNP}: nnabla_detofa export RUN writes them")
        if len(there) == 2 and not _has_onnxruntime():
            there = there[1:]
        return cls.load(there[0])

    def answer(self, images: np.ndarray) -> Any:
        """The answer to images (n, h, w, 3) of the network's own size, RGB bytes."""
        return self._answer(images)

    @property
    def runtime(self) -> str:
        """The library that computes its answers, and its version."""
        name = RUNTIMES[self.file.suffix]
        return f"{name} {version(name)}"


def rgb_of(image: str | Path | np.ndarray) -> np.ndarray:
    """The pixels (h, w, 3) of a picture as RGB bytes, turned as its file says."""
    if isinstance(image, (str, Path)):
        return np.ascontiguousarray(read_image(Path(image).expanduser())[..., ::-1])
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise DataError(f"an image is (h, w, 3) uint8, RGB; this one is {pixels.shape} {pixels.dtype}")
    return pixels


def _kind(described: dict[str, Any]) -> type[Exported]:
    """The class of a description's task; ValueError where there is none."""
    kinds = {kind.task: kind for kind in Exported.__subclasses__()}
    if (task := described.get("task", TASK)) not in kinds:
        raise ValueError(f"it is for the task {task!r}, and known are {', '.join(kinds)}")
    return kinds[task]


def _require_undamaged(file: Path) -> None:
    """WeightsError for an exported file that is not as its checksum beside it says: its answers would be any."""
    if file.name not in (ONNX, NNP) or not (file.parent / SUMS).is_file():
        return
    if (damaged := damage(file.parent, (file.name,))) is not None:
        raise WeightsError(
            f"{file} is damaged ({damaged}): nnabla_detofa export RUN writes it again; where it was changed on purpose,"
            f" delete {SUMS} beside it"
        )


def _onnx(file: Path) -> tuple[type[Exported], dict[str, Any], Answer]:
    with extra():
        from .runtime import session_of
    with _read_as_detector(file):
        session = session_of(file.read_bytes())
        said = session.get_modelmeta().custom_metadata_map
        described = _sound({key: json.loads(said[key]) for key in KINDS} | {"task": said.get("task", TASK)})
        kind = _kind(described)
        (given,), outputs = session.get_inputs(), (*(one.name for one in session.get_outputs()),)
        name, stride = given.name, described["stride"]
        if outputs not in (kind.outputs, kind.answered):
            raise ValueError(f"its outputs are {', '.join(outputs)}")
        if (sides := given.shape[1:3]) != [*described["image_size"]]:
            raise ValueError(f"its input is {sides} pixels, and its image_size {[*described['image_size']]}")

    def answer(images: np.ndarray) -> Any:
        found = session.run(None, {name: images})
        return kind.of_answered(found) if outputs == kind.answered else kind.of_maps(found, stride, logits=False)

    return kind, described, answer


def _nnp(file: Path) -> tuple[type[Exported], dict[str, Any], Answer]:
    from .nnp import NnpMaps

    beside = file.with_name(DESCRIPTION)
    if not beside.is_file():
        raise WeightsError(f"{file} has no {DESCRIPTION} beside it, which says its classes: keep them together")
    with _read_as_detector(beside):
        described = _sound(json.loads(beside.read_text()))
        kind = _kind(described)
    with _read_as_detector(file):
        maps = NnpMaps(file, kind.outputs)
    return kind, described, lambda images: kind.of_maps(maps(normalised(images)), described["stride"], logits=True)


def _sound(described: Any) -> dict[str, Any]:
    """A description whose parts are of their types; ValueError otherwise."""
    if not isinstance(described, dict) or any(not isinstance(described.get(key), kind) for key, kind in KINDS.items()):
        raise ValueError(f"it does not say {', '.join(KINDS)}")
    return {**described, "image_size": IMAGE_SIZE.required("image_size", described["image_size"])}


@contextmanager
def _read_as_detector(file: Path) -> Iterator[None]:
    """WeightsError, in one line, for whatever its reader finds wrong with the file."""
    try:
        yield
    except Exception as error:  # onnxruntime and NNabla raise whatever their parsing meets
        raise WeightsError(f"{file} is no detector, or damaged: {error or type(error).__name__}") from error


def _has_onnxruntime() -> bool:
    try:
        with extra():
            import onnxruntime  # noqa: F401
    except HostError:
        return False
    return True
