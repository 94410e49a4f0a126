"""A detector from its folder or one of its files: boxes of objects in a picture (Section 2.1).

ONNX files need onnxruntime alone, NNP files NNabla; neither is imported before it is needed.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..data.augment import centred_warp, warp
from ..data.images import read_image
from ..detection import Detections, Peaks, decode, to_detections
from ..errors import DataError, HostError, WeightsError
from ..options import IMAGE_SIZE
from .maps import DESCRIPTION, OUTPUTS, TOP, extra, normalised

ONNX, NNP = "detector.onnx", "detector.nnp"
RUNTIMES = {".onnx": "onnxruntime", ".nnp": "nnabla"}
# what it needs of a description
KINDS: dict[str, Any] = {"classes": list, "category_ids": list, "image_size": (int, list), "stride": int}
Answer = Callable[[np.ndarray], Peaks]  # bytes (n, h, w, 3) RGB to boxes in their pixels


class Detector:
    """A detector of one run, ready for pictures.

    Attributes:
        classes: names, by label.
        category_ids: COCO's, where the data set has them, else from 1 on; None for a class that its annotations lack.
        image_size: height and width of what the network sees.
        file: that it was read from.
    """

    def __init__(self, file: Path, described: dict[str, Any], answer: Answer) -> None:
        self.file, self._answer = file, answer
        self.classes: tuple[str, ...] = tuple(described["classes"])
        self.category_ids: tuple[Any, ...] = tuple(described["category_ids"])
        self.image_size: tuple[int, int] = described["image_size"]

    @classmethod
    def load(cls, place: str | Path) -> "Detector":
        """The detector of a folder, or of a file in it: ONNX where both are there and onnxruntime is, else NNP.

        WeightsError for what is no detector, HostError for an ONNX file without onnxruntime.
        """
        place = Path(place).expanduser()
        if not place.exists():
            raise WeightsError(f"there is no detector at {place}: give a folder detectors/RANK-COST of a run")
        if place.suffix == ".onnx":
            return cls(place, *_onnx(place))
        if place.suffix == ".nnp":
            return cls(place, *_nnp(place))
        folder = place if place.is_dir() else place.parent
        if not (folder / DESCRIPTION).is_file():
            raise WeightsError(f"{place} is no detector: it has no {DESCRIPTION}; give a folder detectors/RANK-COST")
        there = [folder / name for name in (ONNX, NNP) if (folder / name).is_file()]
        if not there:
            raise WeightsError(f"{folder} has neither {ONNX} nor {NNP}: nnabla_detofa export RUN writes them")
        if len(there) == 2 and not _has_onnxruntime():
            there = there[1:]
        return cls.load(there[0])

    @property
    def runtime(self) -> str:
        """What computes its answers, and the version of it."""
        name = RUNTIMES[self.file.suffix]
        return f"{name} {version(name)}"

    def answer(self, images: np.ndarray) -> Peaks:
        """The 100 best boxes of images (n, h, w, 3) of the network's own size, RGB bytes, in their pixels; WeightsError
        for a class that the detector's description lacks."""
        peaks = self._answer(images)
        if (most := int(peaks.labels.max(initial=0))) >= len(self.classes):
            raise WeightsError(
                f"{self.file} finds objects of class {most}, and its description has {len(self.classes)} classes: it is"
                " of another detector; export it again"
            )
        return peaks

    def detect(self, image: str | Path | np.ndarray, *, threshold: float = 0.0) -> Detections:
        """The boxes in a picture, best first: a file, or its pixels (h, w, 3) as RGB bytes.

        Of at most 100, those whose score is above the `threshold`; in the picture's own pixels, the centre of the first
        being 0. DataError for a picture that cannot be read.
        """
        pixels = rgb_of(image)
        height, width = pixels.shape[:2]
        matrix = centred_warp((width, height), self.image_size)
        peaks = self.answer(warp(pixels, matrix, self.image_size)[None])
        found = to_detections(peaks, np.zeros(1, np.int64), matrix[None])
        return Detections(*(column[found.score > threshold] for column in found))


def rgb_of(image: str | Path | np.ndarray) -> np.ndarray:
    """The pixels (h, w, 3) of a picture as RGB bytes, turned as its file says."""
    if isinstance(image, (str, Path)):
        return np.ascontiguousarray(read_image(Path(image).expanduser())[..., ::-1])
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise DataError(f"an image is (h, w, 3) uint8, RGB; this one is {pixels.shape} {pixels.dtype}")
    return pixels


def decoded(maps: Callable[[np.ndarray], Any], stride: int, *, logits: bool) -> Answer:
    """Boxes of a network's heat map, sizes and offsets."""

    def answer(images: np.ndarray) -> Peaks:
        peaks = decode(*maps(images), top=TOP, logits=logits)
        return peaks._replace(boxes=peaks.boxes * stride)

    return answer


def _onnx(file: Path) -> tuple[dict[str, Any], Answer]:
    with extra():
        from .runtime import session_of
    with _read_as_detector(file):
        session = session_of(file.read_bytes())
        said = session.get_modelmeta().custom_metadata_map
        described = _sound({key: json.loads(said[key]) for key in KINDS})
        (given,), outputs = session.get_inputs(), [one.name for one in session.get_outputs()]
        name = given.name
        raw = tuple(outputs) == OUTPUTS
        if not raw and outputs != ["boxes", "scores", "labels"]:
            raise ValueError(f"its outputs are {', '.join(outputs)}")
        if (sides := given.shape[1:3]) != [*described["image_size"]]:
            raise ValueError(f"its input is {sides} pixels, and its image_size {[*described['image_size']]}")
    if raw:
        return described, decoded(lambda images: session.run(None, {name: images}), described["stride"], logits=False)

    def answer(images: np.ndarray) -> Peaks:
        boxes, scores, labels = session.run(None, {name: images})
        return Peaks(boxes, labels, scores)

    return described, answer


def _nnp(file: Path) -> tuple[dict[str, Any], Answer]:
    from .nnp import NnpMaps

    beside = file.with_name(DESCRIPTION)
    if not beside.is_file():
        raise WeightsError(f"{file} has no {DESCRIPTION} beside it, which says its classes: keep them together")
    with _read_as_detector(beside):
        described = _sound(json.loads(beside.read_text()))
    with _read_as_detector(file):
        maps = NnpMaps(file)
    return described, decoded(lambda images: maps(normalised(images)), described["stride"], logits=True)


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
