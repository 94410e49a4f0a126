"""Boxes in another form than their kind of file has: shares of the image, sizes for corners, corners for sizes (4.1).

Such numbers are well-formed, and training on them would be training on boxes that lie wrong. A few are mistakes of
their own, which leave as flawed boxes; a whole split of them is a converter's mistake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .flaws import Findings, Flaw
from .objects import Object

FEWEST = 8  # boxes to judge by
SUSPICIOUS = 1 / 3  # of the boxes do not fit as they are
FEW_PIXELS = 1.0  # beyond the image's edge


def require_usual_form(
    objects: Sequence[list[Object]], sizes: Sequence[tuple[int, int]], place: Path, findings: Findings, *, sides: bool
) -> None:
    """The flaw of a split, at `place`, whose boxes are of another form; `findings` are those of its boxes.

    `objects` and `sizes` (width, height) are those of each image. With `sides` the file's boxes are x, y, width,
    height, else corners. Boxes are in shares of the image where more than half of them lie within 0 to 1. They are of
    the other one of these two forms where many do not fit into their image, and all would in the other form.
    """
    n = sum(map(len, objects))
    found = Counter(one.flaw for one in findings)
    if 2 * found[Flaw.BOX_IN_SHARES] > n:
        reason = f"{found[Flaw.BOX_IN_SHARES]} of {n} boxes lie within 0 to 1, as shares of the image do"
        findings.add(Flaw.BOXES_IN_ANOTHER_FORM, place, f"{place}: {reason}; boxes must be in pixels")
        return
    unfit = found[Flaw.BOX_STICKS_OUT] + found[Flaw.BOX_OUTSIDE] if sides else found[Flaw.BOX_INVERTED]
    if n < FEWEST or unfit < SUSPICIOUS * n:
        return
    boxes = np.array([one.box for group in objects for one in group], np.float64)
    ends = np.repeat(np.array(sizes, np.float64), list(map(len, objects)), axis=0) + FEW_PIXELS
    low, high = boxes[:, :2], boxes[:, 2:]
    other = high - low if sides else low + high  # the corner that the last two numbers would be, or would lead to
    if (other <= ends).all() and (other > low).all():
        has, wants = ("corners x1, y1, x2, y2", "x, y, width, height") if sides else ("x, y, width, height", "corners")
        reason = f"{unfit} of {n} boxes do not fit into their image, and all would if they were {has}"
        findings.add(Flaw.BOXES_IN_ANOTHER_FORM, place, f"{place}: {reason}; boxes must be {wants}")
