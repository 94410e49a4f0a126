"""Images in one folder a class, as ImageNet comes (Section 4.1, pre-training)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import numpy as np

from ..options import Value
from . import digits
from .classification import ClassificationLoader, ClassificationOptions
from .dataset import digest_of
from .dataset_loader import DatasetLoader
from .dataset_options import PLACE, RootOptions
from .flaws import Finding, Findings, Flaw
from .images import SUFFIXES, read_list
from .listing import Listing, composed
from .objects import Wanted

FOLDER = Value("the name of a folder in root", lambda value: isinstance(value, str) and value != "")
LIST = replace(PLACE, null=True)


@dataclass(frozen=True)
class ImageFolder:
    """Labelled images: `files` (n,) are names below `root` as bytes, which 1.28 million of fit into memory as, and
    `labels` (n,) the places of their classes in `classes`."""

    name: str
    root: Path
    classes: tuple[str, ...]
    files: np.ndarray
    labels: np.ndarray
    findings: tuple[Finding, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def file(self, index: int) -> Path:
        """The image's file."""
        return self.root / os.fsdecode(self.files[index])

    def picture(self, index: int) -> tuple[Path, None]:
        """The image's file; nothing says its size."""
        return self.file(index), None

    @property
    def class_counts(self) -> np.ndarray:
        """Images of each class."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @cached_property
    def digest(self) -> str:
        """Of classes, files' names and labels, in their order."""
        return digest_of(self.classes, (array.tobytes() for array in (self.files, self.labels)))

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageFolder:
        """The images at `indices`, in that order."""
        return replace(self, files=self.files[indices], labels=self.labels[indices])


def read_image_folder(
    root: str | Path,
    part: str,
    *,
    listed: str | Path | None = None,
    classes: Sequence[Any] | None = None,
    listed_by: str | None = None,
    strict: bool = True,
) -> ImageFolder:
    """The images below `root`/`part`, in one folder for each class, or those of the list, in its order.

    A line of the list is a file's name below `root`/`part` and, behind a space, its class; without it, the class is the
    folder's name. `classes` gives the labels their order, and images of other classes are left out; without, they are
    numbered in the order of their names, or of their numbers where all are numbers. `listed_by` is as in `Wanted`.

    Raises DataError for a folder or list that is missing, a class without images, a listed file that is not there, and
    a name that leads out of the folder; where not `strict`, what is wrong with one class or file only goes into the
    findings.
    """
    folder = Path(root).expanduser().absolute() / part
    findings = Findings(strict=strict)
    pairs = _from_list(folder, Path(listed).expanduser(), findings) if listed else _from_folders(folder, findings)
    found = {name for _, name in pairs}
    wanted = Wanted(_in_order(found) if classes is None else classes, listed_by)
    wanted.require_some(found, folder, f"{folder.parent.name}/{part}", findings)
    number = {name: wanted.label(name, folder / name, None, findings) for name in sorted(found)}
    kept = [(file, label) for file, name in pairs if (label := number[name]) is not None]
    files = np.array([os.fsencode(file) for file, _ in kept], np.bytes_)
    labels = np.array([label for _, label in kept], np.int64)
    return ImageFolder(f"{folder.parent.name}/{part}", folder, wanted.names, files, labels, tuple(findings))


def _from_folders(folder: Path, findings: Findings) -> list[tuple[str, str]]:
    """(file, class) of every image in the folders."""
    pairs: list[tuple[str, str]] = []
    for name in _names(folder, findings):
        if not (folder / name).is_dir():
            findings.add(Flaw.FILE_IGNORED, folder / name)
            continue
        names = _names(folder / name, findings)
        images = [one for one in names if one.lower().endswith(SUFFIXES)]
        for one in sorted({*names}.difference(images)):
            findings.add(Flaw.FILE_IGNORED, folder / name / one)
        if not images:
            reason = f"the class folder {folder / name} holds no image ({', '.join(SUFFIXES)}); fill it or remove it"
            findings.add(Flaw.CLASS_EMPTY, folder / name, reason)
        pairs += [(f"{name}/{one}", composed(name)) for one in images]
    if not pairs and not findings.unusable:
        reason = f"{folder} holds no folder; it must hold one folder of images for each class"
        findings.add(Flaw.SPLIT_UNREADABLE, folder, reason)
    return pairs


def _names(folder: Path, findings: Findings) -> list[str]:
    """Names of all that lies in `folder`, hidden files aside, in order."""
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))  # noqa: PTH208 - names alone
    except (OSError, ValueError) as error:  # a name may be none that the file system could have
        reason = f"cannot list the folder {folder}: {getattr(error, 'strerror', error)}; it must hold images"
        findings.add(Flaw.SPLIT_UNREADABLE, folder, reason)
        return []


def _from_list(folder: Path, file: Path, findings: Findings) -> list[tuple[str, str]]:
    """(file, class) of every line of the list, each file once."""
    pairs: dict[str, str] = {}
    listing = Listing(folder, SUFFIXES)
    for line in read_list(file, "list of images"):
        name, _, label = line.partition(" ")
        if not (found := listing.meant(name, file, findings)):
            continue
        if not (label := composed(label.strip() or PurePosixPath(name).parent.name)):
            reason = "without a class; a line is a file and its class, or a file in its class's folder"
            findings.add(Flaw.ANNOTATION_BROKEN, file, f"{file} lists {name} {reason}", object=name)
            continue
        if found in pairs:
            findings.add(Flaw.LISTED_TWICE, file, object=name)
        pairs[found] = label
    if not pairs and not findings.unusable:
        findings.add(Flaw.SPLIT_UNREADABLE, file, f"the list {file} names no image")
    return list(pairs.items())


def _in_order(classes: Iterable[str]) -> tuple[str, ...]:
    """By number where all are numbers, else by name."""
    names = sorted(classes)
    return tuple(sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else names)


class FolderOptions(ClassificationOptions, RootOptions):
    """`root` holds the folders `train` and `val`; `train_list` and `val_list` are files that name the images to use.

    `generate` has a set of digits made below `root` first.
    """

    where = "dataloader.image_folder"
    train: Annotated[str, FOLDER] = "train"
    val: Annotated[str, FOLDER] = "val"
    train_list: Annotated[str | Path | None, LIST] = None
    val_list: Annotated[str | Path | None, LIST] = None
    generate: digits.SingleDigitsOptions | None = None

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> ImageFolder:
        """As `read_image_folder`."""
        root = self.root if self.generate is None else digits.generate(self.root, self.generate)
        part, listed = (self.train, self.train_list) if split == "train" else (self.val, self.val_list)
        add = self.listed_by(split)
        return read_image_folder(root, part, listed=listed, classes=classes, listed_by=add, strict=strict)


class DataLoader(DatasetLoader, ClassificationLoader):
    """Batches of an image folder; the keywords are those of `FolderOptions`."""

    declared = FolderOptions
