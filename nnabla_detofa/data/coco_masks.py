"""COCO's polygons and run lengths as the class of each pixel: any instances json with its images (an addition)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..detection import Id, as_flag, bbox_of, has_bbox, is_bbox
from ..segmentation import IGNORED, in_region, region_of
from .class_masks import MaskedDataset, MaskedImage, ObjectClasses, SegmentationLoader, note_empty
from .coco import CocoSplits, Instances
from .dataset_loader import DatasetLoader
from .flaws import Findings, Flaw
from .loader import WarpOptions
from .sharing import read_once

Region = dict[str, Any]  # COCO's compressed run lengths


@dataclass(frozen=True)
class Outlined:
    """The class map of an image of `size` (width, height), drawn from its objects' regions when it is asked for.

    Where objects of two classes overlap, and where a crowd is or an object without an outline, it is IGNORED.
    """

    size: tuple[int, int]
    regions: tuple[tuple[int, Region], ...]  # labels, IGNORED of what is not judged

    def __call__(self) -> np.ndarray:
        found = np.zeros(self.size[::-1], np.uint8)
        unsure, several = np.zeros((2, *found.shape), bool)
        for label, region in self.regions:
            inside = in_region(region)
            if label == IGNORED:
                unsure |= inside
                continue
            several |= inside & (found != label) & (found != 0)
            found[inside] = label
        found[several | (unsure & (found == 0))] = IGNORED
        return found


@read_once
def read_coco_masks(
    folder: str | Path,
    file: str | Path,
    *,
    classes: Sequence[Any] | None = None,
    listed_by: str | None = None,
    strict: bool = True,
) -> MaskedDataset:
    """The images in `folder` with the regions of the instances json `file`.

    `classes` selects objects' classes and gives them an order, others are background; without, they are the file's
    categories by ascending id. Raises DataError for whatever is missing or not of COCO's form; where not `strict`, what
    is wrong with one image or annotation only goes into the findings.
    """
    file, findings = Path(file), Findings(strict=strict)
    content = Instances.read(Path(folder), file, findings)
    labels = ObjectClasses(classes, dict.fromkeys(content.categories.values()), listed_by)
    images = {key: (image, size) for key, image, size in content.images(findings)}
    regions: dict[Id, list[tuple[int, Region]]] = {key: [] for key in images}
    names = set()
    for row, key, name in content.annotations(findings):
        names.add(name)
        label = labels.label(name, file, key, findings)
        if label and (own := images.get(row["image_id"])) and (region := _region(row, key, own[1], file, findings)):
            judged = as_flag(row.get("iscrowd", 0)) is not True and _outline(row) is not None
            regions[row["image_id"]].append((label if judged else IGNORED, region))
    labels.require_some(names, file, file.stem, findings)
    found = tuple(_masked(key, *images[key], tuple(own)) for key, own in regions.items())
    note_empty(found, findings)
    ids = (None, *content.ids_of(labels.names[1:]))
    return MaskedDataset(file.stem, labels.names, found, tuple(findings), category_ids=ids)


def _outline(row: dict) -> Any:
    """An annotation's segmentation; None where it has none."""
    return None if (given := row.get("segmentation")) in (None, [], {}, "") else given


def _region(row: dict, key: Id, size: tuple[int, int], file: Path, findings: Findings) -> Region | None:
    """The region of an annotation, of its box where it has no outline; None, and the flaw in `findings`, without."""
    given: Any = _outline(row)
    if given is None:
        bbox = bbox_of(row)
        if not has_bbox(row) or not is_bbox(bbox):
            findings.add(Flaw.BOX_MISSING, file, object=key)
            return None
        findings.add(Flaw.OUTLINE_MISSING, file, object=key)
        x, y, width, height = bbox
        given = [x, y, x + width, y, x + width, y + height, x, y + height]
    elif as_flag(row.get("iscrowd", 0)):
        findings.add(Flaw.CROWD_REGION, file, object=key)
    try:
        return region_of(given, size)
    except ValueError as error:
        findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file}: the outline of annotation {key}: {error}", object=key)
        return None


def _masked(key: Id, image: Path, size: tuple[int, int], regions: tuple[tuple[int, Region], ...]) -> MaskedImage:
    digest = hashlib.blake2b(digest_size=16)
    for label, region in regions:
        digest.update(repr((label, region["counts"])).encode())
    shown = {label for label, _ in regions if label != IGNORED}
    return MaskedImage(image, key, size, Outlined(size, regions), (0, *sorted(shown)), digest.digest())


class CocoMaskOptions(WarpOptions, CocoSplits):
    """`train` and `test` are pairs of image folder and instances json in `root`."""

    where = "dataloader.coco_masks"

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> MaskedDataset:
        """As `read_coco_masks`."""
        folder, file = self.pair(split)
        return read_coco_masks(folder, file, classes=classes, listed_by=self.listed_by(split), strict=strict)


class DataLoader(DatasetLoader, SegmentationLoader):
    """Batches of a COCO data set with masks; the keywords are those of `CocoMaskOptions`."""

    declared = CocoMaskOptions
