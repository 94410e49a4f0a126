"""YOLO: a folder of images and label files that a data.yaml describes (4.1)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from ..errors import DataError
from .dataset import DetectionDataset
from .dataset_loader import DatasetLoader
from .dataset_options import PLACE, DatasetOptions
from .flaws import Findings, Flaw
from .images import image_size
from .loader import DetectionLoader, LoaderOptions
from .objects import Sample, Wanted, dataset_of, note_shared
from .yolo_labels import read_labels
from .yolo_layout import DataFile, LabelFiles, read_data_file

ORIGIN = 0.5  # boxes are made lengths from the image's corner: the first pixel's centre is at one half


def read_yolo(
    file: str | Path,
    split: str,
    *,
    classes: Sequence[Any] | None = None,
    listed_by: str | None = None,
    strict: bool = True,
) -> DetectionDataset:
    """The images of a `split`, "train", "val" or "test", of the data.yaml `file`, or of that in this folder.

    Without a `test`, `val` is the test split; with both, the training split brings `val` for validation. `classes`
    gives the labels their order, and objects of other classes are left out; without, they are the file's names by
    ascending id. `listed_by` is as in `Wanted`. Boxes are in pixels from the image's corner. Raises DataError for
    whatever is missing or cannot be read; where not `strict`, what is wrong with one image or row only goes into the
    findings.
    """
    findings = Findings(strict=strict)
    source = read_data_file(file, findings)
    tested, val = source.has("test"), source.places["val"]
    if split == "test" and val and not tested:
        given = ", ".join(source.places["test"]) or "nothing"
        findings.add(Flaw.SPLIT_STANDS_IN, source.file, f"for test, where the file has {given}", object="val")
        split = "val"
    dataset = _read(source, split, Wanted(source.classes if classes is None else classes, listed_by), findings)
    if split != "train" or not tested or not val:
        return dataset
    return replace(dataset, validation=_read(source, "val", Wanted(dataset.classes), Findings(strict=strict)))


def _read(source: DataFile, split: str, wanted: Wanted, findings: Findings) -> DetectionDataset:
    name, images, labels, listed = f"{source.base.name} {split}", {}, LabelFiles(), LabelFiles()
    try:
        images = source.images(split, findings)
    except DataError as error:
        findings.add(Flaw.SPLIT_UNREADABLE, source.file, str(error))
    if not images and not findings.unusable:
        reason = f"{name} lists no image: {source.file} has {', '.join(source.places[split])}"
        findings.add(Flaw.SPLIT_UNREADABLE, source.file, reason)
    samples = []
    for image, whole in images.items():
        label, there = (labels if whole else listed).of(image)
        if not there:
            findings.add(Flaw.ANNOTATION_MISSING, label)
        if size := image_size(image, findings):
            objects = read_labels(label, size, source.names, findings, points=source.points) if there else []
            samples.append(Sample(image, os.path.relpath(image, source.base), size, objects, label))
    note_shared(samples, findings)
    for label in labels.alone():
        findings.add(Flaw.ANNOTATION_ALONE, label)
    return dataset_of(name, samples, wanted, origin=ORIGIN, form="shares", place=source.file, findings=findings)


class YoloOptions(LoaderOptions, DatasetOptions):
    """`data` is a data.yaml, or a folder with one, as Ultralytics and Roboflow have them.

    Where it has a `test`, all of its `val` is held out for measuring paths; else `val` is the test split, and
    `held_out` is taken from the training images.
    """

    where = "dataloader.yolo"
    data: Annotated[str | Path, PLACE]

    def trained_classes(self) -> Sequence[Any]:
        """The names of data.yaml, each once."""
        return read_data_file(self.data, Findings()).classes

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> DetectionDataset:
        """As `read_yolo`."""
        return read_yolo(self.data, split, classes=classes, listed_by=self.listed_by(split), strict=strict)


class DataLoader(DatasetLoader, DetectionLoader):
    """Batches of a YOLO folder; the keywords are those of `YoloOptions`."""

    declared = YoloOptions
