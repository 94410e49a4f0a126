"""Mean intersection over union of class maps, of resampled images too (an addition; not in the paper)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .class_maps import IGNORED


@dataclass(frozen=True)
class Overlap:
    """Pixels by image and class, each (n, classes) int: `both` found and annotated, `found`, `annotated`."""

    both: np.ndarray
    found: np.ndarray
    annotated: np.ndarray

    @property
    def n_images(self) -> int:
        """Their number."""
        return len(self.both)

    def per_class(self, weights: np.ndarray) -> np.ndarray:
        """Intersection over union of each class over all images, of which each counts as often as it weighs, see
        `detection.Judged`; nan where a class is neither found nor annotated."""
        both, either = weights @ self.both, weights @ (self.found + self.annotated - self.both)
        return np.where(either, both / np.maximum(either, 1), np.nan)

    def figure(self, weights: np.ndarray) -> np.ndarray:
        """Its mean over the classes that are found or annotated; nan where nothing is judged."""
        return np.ma.masked_invalid(self.per_class(weights)).mean(axis=1).filled(np.nan)


def overlap_of(found: np.ndarray, annotated: np.ndarray, n_classes: int) -> Overlap:
    """That of one image, n = 1: two maps of one shape; what is annotated as IGNORED does not count."""
    judged = annotated != IGNORED
    found, annotated = found[judged], annotated[judged]

    def counts(classes: np.ndarray) -> np.ndarray:
        return np.bincount(classes, minlength=n_classes)[None]

    return Overlap(counts(annotated[found == annotated]), counts(found), counts(annotated))


def joined(each: Sequence[Overlap]) -> Overlap:
    """That of all images, in their order."""
    return Overlap(*(np.concatenate([getattr(one, name) for one in each]) for name in ("both", "found", "annotated")))
