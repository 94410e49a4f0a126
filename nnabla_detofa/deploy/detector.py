"""A detector from its folder or one of its files: boxes of objects in a picture (Section 2.1)."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..data.augment import centred_warp, warp
from ..detection import Detections, Peaks, decode, to_detections
from ..errors import WeightsError
from .exported import Exported, rgb_of
from .maps import BOXES, OUTPUTS, TOP


class Detector(Exported):
    """A detector of one run, ready for pictures; its attributes are those of `Exported`."""

    task: ClassVar[str] = "detection"
    outputs: ClassVar[tuple[str, ...]] = OUTPUTS
    answered: ClassVar[tuple[str, ...]] = BOXES

    @classmethod
    def of_maps(cls, maps: Sequence[np.ndarray], stride: int, *, logits: bool) -> Peaks:
        """Boxes of a network's heat map, sizes and offsets."""
        peaks = decode(*maps, top=TOP, logits=logits)
        return peaks._replace(boxes=peaks.boxes * stride)

    @classmethod
    def of_answered(cls, answered: Sequence[np.ndarray]) -> Peaks:
        """Boxes, as they are."""
        boxes, scores, labels = answered
        return Peaks(boxes, labels, scores)

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
