"""A segmenter from its folder or one of its files: the class of each pixel of a picture (the second dense task)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..data.augment import centred_warp, warp
from ..errors import WeightsError
from ..segmentation import class_map, to_cells
from .exported import Answer, Exported, rgb_of


class Segmenter(Exported):
    """A segmenter of one run, ready for pictures; its attributes are those of `Exported`, and `stride`, the pixels of
    its images to a cell of its maps."""

    task: ClassVar[str] = "segmentation"
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    answered: ClassVar[tuple[str, ...]] = ("logits", "classes")

    def __init__(self, file: Path, described: dict[str, Any], answer: Answer) -> None:
        super().__init__(file, described, answer)
        self.stride: int = described["stride"]

    @classmethod
    def of_maps(cls, maps: Sequence[np.ndarray], stride: int, *, logits: bool) -> np.ndarray:  # noqa: ARG003
        """Logits (n, classes, h, w), as they are."""
        return maps[0]

    @classmethod
    def of_answered(cls, answered: Sequence[np.ndarray]) -> np.ndarray:
        """Its logits too: those of a picture's own pixels lie between them."""
        return answered[0]

    def answer(self, images: np.ndarray) -> np.ndarray:
        """Logits (n, classes, h, w) of the cells of images (n, height, width, 3) of the network's own size, RGB bytes;
        WeightsError for other classes than the description's."""
        logits = self._answer(images)
        if logits.shape[1] != len(self.classes):
            raise WeightsError(
                f"{self.file} knows {logits.shape[1]} classes, and its description has {len(self.classes)}: it is of"
                " another segmenter; export it again"
            )
        return logits

    def segment(self, image: str | Path | np.ndarray) -> np.ndarray:
        """The class of each pixel of a picture, (h, w) uint8: a file, or its pixels (h, w, 3) as RGB bytes.

        DataError for a picture that cannot be read.
        """
        pixels = rgb_of(image)
        size = pixels.shape[1], pixels.shape[0]
        matrix = centred_warp(size, self.image_size)
        logits = self.answer(warp(pixels, matrix, self.image_size)[None])
        return class_map(logits[0], to_cells(matrix, self.stride), size)
