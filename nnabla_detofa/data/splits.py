"""Flaws of a whole split in the part that it plays, whatever the task (4.1)."""

from pathlib import Path
from typing import Any

import numpy as np

from .flaws import Finding, Findings, Flaw, what_was_lost


def to_train_on(dataset: Any, findings: Findings) -> None:
    """The flaws of a set that has nothing to learn, of a class or at all; it has `name`, `classes`, `class_counts`."""
    place, counts = Path(dataset.name), dataset.class_counts
    if not counts.any():
        classes = ", ".join(dataset.classes)
        reason = f"{dataset.name} has no object of the classes {classes}, so nothing can be learnt"
        findings.add(Flaw.NOTHING_TO_TRAIN, place, reason + what_was_lost(dataset.findings))
        return
    for label in np.flatnonzero(counts == 0):
        findings.add(Flaw.CLASS_UNTRAINED, place, object=dataset.classes[label])


def to_test_on(dataset: Any, findings: Findings) -> None:
    """The flaws of a set that has nothing to find, of a class or at all; one of boxes has `ground_truth()` as well."""
    place, counts = Path(dataset.name), dataset.class_counts
    if hasattr(dataset, "ground_truth"):
        truth = dataset.ground_truth()
        counts = np.bincount(truth.label[~truth.difficult], minlength=len(dataset.classes))
    if not counts.any():
        reason = "has no object to find, so average precision is not defined; difficult ones and crowds do not count"
        findings.add(Flaw.NOTHING_TO_FIND, place, f"{dataset.name} {reason}")
        return
    for label in np.flatnonzero(counts == 0):
        findings.add(Flaw.CLASS_UNTESTED, place, object=dataset.classes[label])


def too_many_held_out(dataset: Any, held_out: float | int) -> list[Finding]:
    """The flaw of a number of images to hold out that `hold_out` does not reach."""
    if held_out < 1 or held_out <= len(dataset) // 2:
        return []
    return [Finding(Flaw.HELD_OUT_MORE, Path(dataset.name), None, f"held_out is {held_out} of {len(dataset)} images")]
