"""Flaws of data sets, and what is done about each: the one home of both (an addition; not in the paper).

The readers record what they find as `Finding`s, in training and in `nnabla_detofa check` alike, so the two cannot
disagree; `nnabla_detofa check --policy` prints the table below. Decided besides: a name in an annotation may not lead
out of the data folder, but a symbolic link in it is its owner's and is followed. Damage inside a JPEG that its decoder
bridges is not seen. What is harmless is mended and counted; what would be trained on wrongly, stops.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from enum import Enum, IntEnum
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, one_line


class Severity(IntEnum):
    """Severity of a flaw; the worst one found is the exit code of the check."""

    NOTED = 0  # no flaw, but worth knowing
    MENDED = 1  # training goes on, as the policy says
    UNUSABLE = 2  # training stops and names it


NOTED = Severity.NOTED
COCO_AP = " (COCO's AP keeps it)"  # which takes the file as it stands, so that its figures are everybody's
NEITHER = "in AP neither right nor wrong"
ADDED = "left out: classes come from the training split; dataloader.voc.classes=[...] (coco, image_folder) adds it"


class Flaw(Enum):
    """A kind of flaw: its name, the policy, that is what training does about it, and how bad it is: unusable where the
    policy is to stop."""

    SPLIT_UNREADABLE = "split that cannot be read", "stops"
    IMAGE_MISSING = "image missing", "stops"
    IMAGE_UNREADABLE = "image unreadable or cut off", "stops"
    IMAGE_TOO_LARGE = "image of more than 2^27 pixels", "stops; it is not decoded"
    SIZE_DISAGREES = "size field that disagrees with the image", "stops: boxes would lie wrong"
    ANNOTATION_UNREADABLE = "annotation file that cannot be read", "stops"
    MASK_MISSING = "image without its mask", "stops: all of it would be background"
    ANNOTATION_BROKEN = "annotation that cannot be understood", "stops"
    NAME_LEADS_OUT = "name that leads out of the data folder", "stops; nothing there is opened"
    NAME_AMBIGUOUS = "two images that are one file", "stops: each would lack the other's objects"
    BOXES_IN_ANOTHER_FORM = "split with boxes in another form than its kind has", "stops: boxes would lie wrong"
    CATEGORY_UNKNOWN = "annotation of a category that is not defined", "stops"
    CLASS_EMPTY = "class folder without images", "stops"
    ID_REPEATED = "id of several images or categories", "stops"
    CLASSES_ABSENT = "split that has objects, and none of the classes", "stops"
    NOTHING_TO_TRAIN = "split without an object of the classes", "stops: nothing to learn or to find"
    NOTHING_TO_FIND = "test split without an object to find", "stops: AP would not be defined"
    HELD_OUT_ALL = "held_out that leaves nothing to train on", "stops"

    HELD_OUT_MORE = "held_out of more than half the training images", "half of them are held out"
    SPLIT_STANDS_IN = "list or folder that stands in for a split", "train (and val) for trainval; val for test"
    SPLIT_MADE = "folder without lists of its splits", "every fifth image, by a digest of its name, is the test split"
    LIST_COLUMNS = "line of a list with more than a name", "the first column is the image"
    NAME_MENDED = "file name of another place, system or spelling", "the file in the folder that it must mean is taken"
    ANNOTATION_MISSING = "image whose annotation file is missing or empty", "all of it is background"
    ANNOTATION_ALONE = "annotation file without an image", "left out"
    ANNOTATION_SHARED = "annotation file of several images", "used for each; keep the one that it belongs to"
    IMAGE_UNKNOWN = "annotation of an image that is not listed", "left out"
    ANNOTATION_ID = "annotation id that is missing or of several", "kept: nothing goes by it"
    CATEGORY_REPEATED = "category name of several ids", "taken for one class"
    CLASS_LEFT_OUT = "object of a class that is not listed", "left out"
    CLASS_ONLY_IN_TEST = "object of a class that the training split does not have", ADDED
    CLASS_UNTRAINED = "class that the training split does not have", "kept; it is not learnt"
    FLAG_UNKNOWN = "difficult, ignore or iscrowd that is neither yes nor no", "taken for no"
    AREA_UNKNOWN = "area that is no number", "width x height is used"
    OBJECT_ELSEWHERE = "object under another tag, or deeper than others", "read as an object"
    BOX_SEVERAL = "object with several boxes", "each is an object"
    BOX_MISSING = "object without a box", "left out"
    OUTLINE_MISSING = "object with a box and no outline", "its box is neither trained on nor judged"
    BOX_FROM_OUTLINE = "object with an outline and no box", "the box around it is used"
    BOX_IN_SHARES = "box that lies within 0 to 1, no pixel large", f"left out{COCO_AP}"
    SIZE_MISSING = "size field missing", "read from the image"
    IMAGE_GREY = "grey image", "three equal channels"
    IMAGE_DEEP = "image of 16 bits a channel", "the upper 8 bits are used"
    IMAGE_CMYK = "CMYK image", "converted to RGB, colour profiles ignored"
    IMAGE_ALPHA = "image with transparency", "transparency is ignored"
    IMAGE_TURNED = "image with an orientation tag", "turned as it says, unless the size field says otherwise"
    BOX_ZERO = "box of zero size", f"left out{COCO_AP}"
    BOX_INVERTED = "inverted box", f"left out{COCO_AP}"
    BOX_OUTSIDE = "box outside the image", f"left out{COCO_AP}"
    BOX_REPEATED = "box annotated twice with one class", f"the second is left out{COCO_AP}"
    BOX_STICKS_OUT = "box that sticks out by more than a pixel", "trained on the part inside; AP compares the whole"
    FILE_IGNORED = "file beside class folders, or in one and no image", "left out"
    TOO_MANY_OBJECTS = "image with more than max_objects objects", "trained on the largest of them"
    LISTED_TWICE = "image listed twice in a split", "counted once, in the class that it has last"
    SAME_IMAGE_IN_SPLIT = "same picture as another image of its split", "kept; it may be trained on and held out"
    SAME_IMAGE_IN_TEST = "same picture in training and test", "kept; AP is too good, take it out of one of them"

    IMAGE_FRAMES = "image of several frames", "the first is used", NOTED
    NO_BOXES = "image without boxes", "kept: all of it is background", NOTED
    CROWD_REGION = "region of a crowd", "neither trained on nor judged", NOTED
    CROWD = "crowd box", f"trained on as an object; {NEITHER}", NOTED
    BOX_WITH_POINTS = "object with a box and keypoints", "its box alone is used", NOTED
    DIFFICULT = "difficult object", f"trained on; {NEITHER}", NOTED
    IGNORED = "object marked to be ignored", f"not trained on; {NEITHER}", NOTED
    CLASS_UNTESTED = "class that the test split does not have", "the mean AP is that of the others", NOTED

    def __init__(self, title: str, policy: str, severity: Severity = Severity.MENDED) -> None:
        self.title, self.policy = title, policy
        self.severity = Severity.UNUSABLE if policy.startswith("stops") else severity


class Finding(NamedTuple):
    """A flaw at a place: `object` is its number in a VOC file, from 0, its annotation id in COCO, or its row in a YOLO
    file, from 1."""

    flaw: Flaw
    file: Path
    object: int | str | None = None
    detail: str = ""

    @property
    def place(self) -> str:
        """The file's name and the object."""
        return one_line(self.file.name if self.object is None else f"{self.file.name} object {self.object}")


class Findings(list[Finding]):
    """Takes findings down; a `strict` one, as in training, raises DataError for the first unusable one."""

    def __init__(self, *, strict: bool = True) -> None:
        super().__init__()
        self.strict = strict

    def add(self, flaw: Flaw, file: Path, detail: str = "", *, object: int | str | None = None) -> None:
        """Record a finding; the `detail` of an unusable one is the whole message, file and all."""
        if self.strict and flaw.severity is Severity.UNUSABLE:
            raise DataError(detail)
        self.append(Finding(flaw, file, object, one_line(detail)))

    @property
    def unusable(self) -> list[Finding]:
        """Those that stop training."""
        return [finding for finding in self if finding.flaw.severity is Severity.UNUSABLE]


def by_flaw(findings: Iterable[Finding]) -> list[tuple[Flaw, list[Finding]]]:
    """The findings of each flaw, worst flaw first."""
    order = {flaw: number for number, flaw in enumerate(Flaw)}
    ordered = sorted(findings, key=lambda finding: order[finding.flaw])
    return [(flaw, list(group)) for flaw, group in groupby(ordered, key=lambda finding: finding.flaw)]


def count_lines(name: str, findings: Iterable[Finding], examples: int = 3) -> list[str]:
    """A line a flaw: how many the data set `name` has, what is done about it, and where the first ones are."""
    lines = []
    for flaw, group in by_flaw(findings):
        places = ", ".join(finding.place for finding in group[:examples]) + (", …" if len(group) > examples else "")
        lines.append(f"{name}: {len(group)} x {flaw.title}: {flaw.policy} ({places})")
    return lines


def what_was_lost(findings: Iterable[Finding]) -> str:
    """In brackets, how many objects a set has lost to each flaw; empty where to none."""
    lost = [
        f"{len(group)} x {flaw.title}"
        for flaw, group in by_flaw(findings)
        if flaw is Flaw.ANNOTATION_MISSING or flaw.policy.startswith("left out")
    ]
    return f" ({', '.join(lost)})" if lost else ""


@cache
def tell(line: str) -> None:
    """Say a line once a process, however many loaders read the same files."""
    logging.getLogger(__name__).warning(line)
