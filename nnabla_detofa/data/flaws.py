"""What can be wrong with a data set, and what is done about it: the one home of both (an addition; not in the paper).

The readers record what they find as `Finding`s, in training and in `nnabla_detofa check` alike, so the two cannot
disagree; `nnabla_detofa check --policy` prints the table below. Decided besides: a name in an annotation may not lead
out of the data folder, but a symbolic link in it is its owner's and is followed. Damage inside a JPEG that its decoder
bridges is not seen.
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
    """How bad a flaw is; the worst one found is the exit code of the check."""

    NOTED = 0  # no flaw, but worth knowing
    MENDED = 1  # training goes on, as the policy says
    UNUSABLE = 2  # training stops and names it


COCO_AP = " (COCO's AP keeps it)"  # which takes the file as it stands, so that its figures are everybody's


class Flaw(Enum):
    """A kind of flaw: its name, how bad it is, and the policy, that is what training does about it."""

    SPLIT_UNREADABLE = "split that cannot be read", Severity.UNUSABLE, "stops"
    IMAGE_MISSING = "image missing", Severity.UNUSABLE, "stops"
    IMAGE_UNREADABLE = "image unreadable or cut off", Severity.UNUSABLE, "stops"
    IMAGE_TOO_LARGE = "image of more than 2^27 pixels", Severity.UNUSABLE, "stops; it is not decoded"
    SIZE_DISAGREES = "size field that disagrees with the image", Severity.UNUSABLE, "stops: boxes would lie wrong"
    ANNOTATION_MISSING = "annotation file missing", Severity.UNUSABLE, "stops"
    ANNOTATION_BROKEN = "annotation that cannot be understood", Severity.UNUSABLE, "stops"
    NAME_LEADS_OUT = "name that leads out of the data folder", Severity.UNUSABLE, "stops; nothing there is opened"
    CLASS_UNKNOWN = "class that is not among the classes", Severity.UNUSABLE, "stops"
    CATEGORY_UNKNOWN = "annotation of a category that is not defined", Severity.UNUSABLE, "stops"
    IMAGE_UNKNOWN = "annotation of an image that is not listed", Severity.UNUSABLE, "stops"
    CLASS_EMPTY = "class folder without images", Severity.UNUSABLE, "stops"
    ID_REPEATED = "id or category name that is not unique", Severity.UNUSABLE, "stops"
    NOTHING_TO_FIND = "test split without an object to find", Severity.UNUSABLE, "stops: AP would not be defined"
    HELD_OUT_ALL = "held_out that leaves nothing to train on", Severity.UNUSABLE, "stops"

    SIZE_MISSING = "size field missing", Severity.MENDED, "read from the image"
    IMAGE_GREY = "grey image", Severity.MENDED, "three equal channels"
    IMAGE_DEEP = "image of 16 bits a channel", Severity.MENDED, "the upper 8 bits are used"
    IMAGE_CMYK = "CMYK image", Severity.MENDED, "converted to RGB, colour profiles ignored"
    IMAGE_ALPHA = "image with transparency", Severity.MENDED, "transparency is ignored"
    IMAGE_TURNED = (
        "image with an orientation tag",
        Severity.MENDED,
        "turned as it says, unless the size field is that of the stored pixels alone (TIFF: always turned)",
    )
    BOX_ZERO = "box of zero size", Severity.MENDED, f"left out{COCO_AP}"
    BOX_INVERTED = "inverted box", Severity.MENDED, f"left out{COCO_AP}"
    BOX_OUTSIDE = "box outside the image", Severity.MENDED, f"left out{COCO_AP}"
    BOX_REPEATED = "box annotated twice with one class", Severity.MENDED, f"the second is left out{COCO_AP}"
    BOX_STICKS_OUT = (
        "box that sticks out of the image by more than a pixel",
        Severity.MENDED,
        "trained on the part inside; AP compares the whole",
    )
    FILE_IGNORED = "file beside class folders, or in one and no image", Severity.MENDED, "left out"
    TOO_MANY_OBJECTS = "image with more than max_objects objects", Severity.MENDED, "trained on the largest of them"
    LISTED_TWICE = "image listed twice in a split", Severity.MENDED, "counted once, in the class that it has last"
    SAME_IMAGE_IN_SPLIT = (
        "same picture as another image of its split",
        Severity.MENDED,
        "kept; it may be trained on and held out",
    )
    SAME_IMAGE_IN_TEST = (
        "same picture in training and test",
        Severity.MENDED,
        "kept; AP is too good, take it out of one of them",
    )

    IMAGE_FRAMES = "image of several frames", Severity.NOTED, "the first is used"
    SAME_NAME_IN_TEST = "same file name, another picture in test", Severity.NOTED, "kept"
    BOX_NEARLY_REPEATED = "box on another of its class (IoU of 0.9 or more)", Severity.NOTED, "kept"
    NO_BOXES = "image without boxes", Severity.NOTED, "kept: all of it is background"
    CROWD = "crowd box", Severity.NOTED, "trained on as an object; in AP neither right nor wrong"
    DIFFICULT = "difficult object", Severity.NOTED, "trained on; in AP neither right nor wrong"

    def __init__(self, title: str, severity: Severity, policy: str) -> None:
        self.title, self.severity, self.policy = title, severity, policy


class Finding(NamedTuple):
    """A flaw at a place: `object` is its number in a VOC file, from 0, or its annotation id in COCO."""

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


@cache
def tell(line: str) -> None:
    """Say a line once a process, however many loaders read the same files."""
    logging.getLogger(__name__).warning(line)


def policy_table() -> list[str]:
    """Every flaw with the exit code that it means and what training does."""
    width = max(len(flaw.title) for flaw in Flaw)
    rows = [("exit code", "flaw", "what training does"), *((flaw.severity, flaw.title, flaw.policy) for flaw in Flaw)]
    return [f"{code:>9}  {title:<{width}}  {policy}" for code, title, policy in rows]
