"""Images in one folder a class, as ImageNet comes (Section 4.1, pre-training)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from . import digits
from .classification import ClassificationLoader, ClassificationOptions
from .flaws import tell
from .images import inside
from .options import from_mapping, require_root

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


@dataclass(frozen=True)
class ImageFolder:
    """Labelled images: `files` (n,) are names below `root` as bytes, which 1.28 million of fit into memory as, and
    `labels` (n,) the places of their classes in `classes`."""

    name: str
    root: Path
    classes: tuple[str, ...]
    files: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def file(self, index: int) -> Path:
        """The image's file."""
        return self.root / os.fsdecode(self.files[index])

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageFolder:
        """The images at `indices`, in that order."""
        return replace(self, files=self.files[indices], labels=self.labels[indices])


def read_image_folder(
    root: str | Path, part: str, *, listed: str | Path | None = None, classes: Sequence[str] | None = None
) -> ImageFolder:
    """The images below `root`/`part`, in one folder for each class, or those of the list, in its order.

    A line of the list is a file's name below `root`/`part` and, behind a space, its class; without it, the class is the
    folder's name. Classes are numbered in the order of their names, or of their numbers where all are numbers.

    Raises DataError for a folder or list that is missing, a class without images, a listed file that is not there, a
    name that leads out of the folder, and classes other than `classes`, if these are given.
    """
    folder = Path(root).expanduser().absolute() / part
    pairs = _from_list(folder, Path(listed).expanduser()) if listed else _from_folders(folder)
    found = _in_order({name for _, name in pairs})
    if classes is not None and found != tuple(classes):
        raise DataError(_other_classes(folder, found, classes))
    number = {name: label for label, name in enumerate(found)}
    files = np.array([os.fsencode(file) for file, _ in pairs], np.bytes_)
    labels = np.array([number[name] for _, name in pairs], np.int64)
    return ImageFolder(f"{folder.parent.name}/{part}", folder, found, files, labels)


def _folders(folder: Path) -> list[str]:
    """The folders in `folder`, hidden ones aside."""
    try:
        with os.scandir(folder) as entries:
            return sorted(one.name for one in entries if one.is_dir() and not one.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"cannot list the folder {folder} ({error.strerror}); it must hold one folder of images for each class"
        ) from error


def _from_folders(folder: Path) -> list[tuple[str, str]]:
    """(file, class) of every image in the folders."""
    pairs: list[tuple[str, str]] = []
    others: list[str] = []
    for name in _folders(folder):
        inside_it = sorted(_files(folder / name))
        images = [one for one in inside_it if one.lower().endswith(SUFFIXES)]
        others += [f"{name}/{one}" for one in inside_it if not one.lower().endswith(SUFFIXES)]
        if not images:
            raise DataError(
                f"the class folder {folder / name} holds no image ({', '.join(SUFFIXES)}); fill it or remove it"
            )
        pairs += [(f"{name}/{one}", name) for one in images]
    if not pairs:
        raise DataError(f"{folder} holds no folder; it must hold one folder of images for each class")
    if others:
        shown = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        tell(f"{folder}: {len(others)} files are left out, their names are no image's ({shown})")
    return pairs


def _files(folder: Path) -> list[str]:
    """Names of all that lies in `folder`, hidden files aside."""
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]  # noqa: PTH208 - names alone
    except OSError as error:
        raise DataError(f"cannot list the image folder {folder}: {error.strerror}") from error


def _from_list(folder: Path, file: Path) -> list[tuple[str, str]]:
    """(file, class) of every line of the list, each file once."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the list of images {file}: {error}") from error
    pairs = dict(_pair(folder, line, file) for line in lines if line)
    if not pairs:
        raise DataError(f"the list {file} names no image")
    content = cache(lambda below: frozenset(_files(folder / below)))
    for name in pairs:
        below, _, own = name.rpartition("/")
        if own not in content(below):
            raise DataError(f"{file} lists {name}, and {folder} has no such file")
    if (again := len([line for line in lines if line]) - len(pairs)) > 0:
        tell(f"{file}: {again} lines name an image that another line names; each counts once, with its last class")
    return list(pairs.items())


def _pair(folder: Path, line: str, file: Path) -> tuple[str, str]:
    name, _, label = line.partition(" ")
    if ".." in name or name[0] in "/\\" or ":" in name:  # rare, so that a million names need no parsing
        inside(folder, name, str(file))
    label = label.strip() or PurePosixPath(name).parent.name
    if not label:
        raise DataError(
            f"{file} lists {name} without a class; a line is a file and its class, or a file in its class's folder"
        )
    return name, label


def _in_order(classes: Iterable[str]) -> tuple[str, ...]:
    """By number where all are numbers, else by name."""
    names = sorted(classes)
    return tuple(sorted(names, key=int) if all(name.isascii() and name.isdigit() for name in names) else names)


def _other_classes(folder: Path, found: Sequence[str], wanted: Sequence[str]) -> str:
    more, fewer = ([name for name in a if name not in b] for a, b in ((found, wanted), (wanted, found)))
    told = [f"{verb} {', '.join(names[:3])}{', …' if len(names) > 3 else ''}" for verb, names in
            (("has also", more), ("lacks", fewer)) if names]  # fmt: skip
    return f"{folder} has other classes than the training images: it {' and '.join(told)}"


@dataclass(frozen=True, kw_only=True)
class FolderOptions(ClassificationOptions):
    """`root` holds the folders `train` and `val`; `train_list` and `val_list` are files that name the images to use.

    `generate` has a set of digits made below `root` first; in a configuration it is a mapping of `DigitsOptions`' keys.
    """

    root: str | Path = ""
    train: str = "train"
    val: str = "val"
    train_list: str | Path | None = None
    val_list: str | Path | None = None
    generate: digits.DigitsOptions | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_root("dataloader.image_folder", self.root)
        for name in ("train", "val"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must be the name of a folder in root")
        if self.generate is not None:
            given = {"objects": (1, 1), **self.generate} if isinstance(self.generate, Mapping) else self.generate
            wanted = from_mapping(digits.DigitsOptions, given, "dataloader.image_folder.generate")
            digits.require_one_object(wanted)
            object.__setattr__(self, "generate", wanted)


class DataLoader(ClassificationLoader):
    """Batches of an image folder; the keywords are those of `FolderOptions`."""

    def __init__(
        self, searching: bool, training: bool, batch_size: int, *, communicator: Any = None, **options: Any
    ) -> None:
        chosen = from_mapping(FolderOptions, options, "dataloader.image_folder")
        root = (
            chosen.root if chosen.generate is None else digits.generate(chosen.root, chosen.generate, classified=True)
        )
        dataset = read_image_folder(root, chosen.train, listed=chosen.train_list)
        if not searching and not training:
            dataset = read_image_folder(root, chosen.val, listed=chosen.val_list, classes=dataset.classes)
        super().__init__(
            dataset,
            searching=searching,
            training=training,
            batch_size=batch_size,
            options=chosen,
            communicator=communicator,
        )
