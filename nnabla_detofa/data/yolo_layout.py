"""Where a YOLO data.yaml says that images lie, where their labels are, and what the classes are called (4.1).

A split is a folder, which is read with all that are in it, or a list of images (.txt), or several of these. Its place
is looked for below `path`, then beside the file, then as the longest end of it that is there: Roboflow writes
`../train/images` for a folder beside the file. The labels of `images/a.jpg` are `labels/a.txt`, or beside the image.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from ..errors import DataError
from .flaws import Findings, Flaw
from .images import SUFFIXES, read_bytes, read_list
from .listing import Listing, composed, split_suffix
from .objects import note_repeated
from .voc_layout import VALIDATION

LARGEST = 2**22  # bytes of a data.yaml
NUMBER = re.compile(r"[0-9]{1,9}")
NOTHING = ("", "~", "null", "Null", "NULL")  # as YAML writes it
SEPARATOR, UPWARDS = re.compile(r"[/\\]"), re.compile(r"^(\.\./)+")
NO_LABELS = ("classes.txt",)  # which tools leave among labels


@dataclass(frozen=True)
class DataFile:
    """A data.yaml: `places` are those of train, val and test as they are written, below `root`; `names` by class id;
    `points` is how many numbers of a pose stand behind each box."""

    file: Path
    root: Path
    places: dict[str, tuple[str, ...]]
    names: dict[int, str]
    points: int

    @property
    def classes(self) -> tuple[str, ...]:
        """The names by ascending id, each once."""
        return tuple(dict.fromkeys(self.names.values()))

    @property
    def base(self) -> Path:
        """The folder that names of images are below: `root`, or the file's own where that is of another machine."""
        return self.root if os.path.isdir(self.root) else self.file.parent  # noqa: PTH112 - any name

    def has(self, split: str) -> bool:
        """Whether a place of the split is there."""
        return any(self._find(place) for place in self.places[split])

    def images(self, split: str, findings: Findings) -> dict[Path, bool]:
        """The image files of a split, in order, and whether each was found in a folder, not in a list; DataError where
        one of its places is not there."""
        if not self.places[split]:
            given = ", ".join(name for name, places in self.places.items() if places) or "no split"
            raise DataError(f"{self.file} does not say where the images of {split} are; it has {given}")
        images: dict[Path, bool] = {}
        for place in self.places[split]:
            if (found := self._find(place)) is None:
                raise DataError(f"{self.file} has {place!r} for {split}, which is neither in {self.root} nor beside it")
            if found not in self._usual(place):
                findings.add(Flaw.NAME_MENDED, self.file, f"{place!r} is read as {found}", object=split)
            listed = not os.path.isdir(found)  # noqa: PTH112 - any name
            if listed and found.suffix.lower() != ".txt":
                raise DataError(
                    f"{self.file} has {place!r} for {split}; it must be a folder or a list of images (.txt)"
                )
            for image in self._listed(found, findings) if listed else _images_below(found):
                if image in images:
                    findings.add(Flaw.LISTED_TWICE, self.file, object=str(image))
                images.setdefault(image, not listed)
        return images

    def _usual(self, place: str) -> Iterator[Path]:
        """A place by the rules: below `root`, beside the file, or there without the .. that Roboflow writes."""
        for folder in (self.root, self.file.parent):
            yield _joined(folder, place)
        yield _joined(self.file.parent, UPWARDS.sub("", place))

    def _find(self, place: str) -> Path | None:
        """The folder or file that a place must mean; None where nothing of it is there."""
        parts = [part for part in SEPARATOR.split(place) if part not in ("", ".", "..")]
        ends = ("/".join(parts[start:]) for start in range(max(1, len(parts) - 1)))
        others = (_joined(folder, end) for end in ends if end for folder in (self.root, self.file.parent))
        return next(filter(os.path.exists, chain(self._usual(place), others)), None)

    def _listed(self, file: Path, findings: Findings) -> Iterator[Path]:
        """The images of a list: names are relative to its folder, or to `root`."""
        own, base = Listing(file.parent, SUFFIXES), Listing(self.base, SUFFIXES)
        for line in read_list(file, "list of images"):
            if own.is_comment(line) and base.is_comment(line):
                continue
            full = str(_joined(file.parent, line))
            meanings = [
                (one, name.removeprefix(f"{one.folder}/")) for one, name in ((own, full), (base, line), (base, full))
            ]
            listing, name = next(((one, name) for one, name in meanings if one.find(name)), (own, line))
            if found := listing.meant(name, file, findings, key=line):
                yield listing.folder / found


def _joined(folder: Path, place: str) -> Path:
    """`place` below `folder`, or where it leads; without .. in it, and no link resolved."""
    return Path(os.path.normpath(folder / os.path.expanduser(place)))  # noqa: PTH111 - any name


def _images_below(folder: Path) -> Iterator[Path]:
    """All images in a folder and in those below it, hidden ones aside, in order; no folder twice."""
    seen: set[str] = set()
    for top, below, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(top)
        below[:] = [] if real in seen else sorted(one for one in below if not one.startswith("."))
        if real not in seen:
            yield from (Path(top, one) for one in sorted(names) if _is_image(one))
        seen.add(real)


def _is_image(name: str) -> bool:
    return split_suffix(name)[1] in SUFFIXES and not name.startswith(".")


def read_data_file(place: str | Path, findings: Findings) -> DataFile:
    """The file, or data.yaml in a folder, or its only other .yaml; DataError for what is none. Repeated names are among
    the findings."""
    file = _described_by(Path(place).expanduser().absolute())
    data = read_bytes(file, "description of a YOLO data set", Flaw.SPLIT_UNREADABLE, Findings(), limit=LARGEST)
    try:
        content = yaml.load(data or b"", Loader=yaml.BaseLoader)  # makes texts alone: `no` stays a name
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {file}: {error or type(error).__name__}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file} must hold train, val and names")
    places = {split: _places(content, split, file) for split in ("train", "test")}
    places["val"] = next(filter(None, (_places(content, name, file) for name in VALIDATION)), ())
    (path,) = _places(content, "path", file)[:1] or (".",)
    names = _names(content.get("names"), file, findings)
    return DataFile(file, _joined(file.parent, path), places, names, _points(content.get("kpt_shape", ""), file))


def _described_by(place: Path) -> Path:
    """The file itself, or that of a folder."""
    if not os.path.isdir(place):  # noqa: PTH112 - any name
        return place
    usual, others = place / "data.yaml", [*place.glob("*.yaml"), *place.glob("*.yml")]
    return others[0] if len(others) == 1 and not usual.exists() else usual


def _points(given: Any, file: Path) -> int:
    """The numbers of a pose, by the shape that says how many points there are and how many numbers each has."""
    if isinstance(given, str) and given in NOTHING:
        return 0
    shape = given if isinstance(given, list) else []
    if len(shape) != 2 or not all(isinstance(one, str) and NUMBER.fullmatch(one) for one in shape):
        raise DataError(f"kpt_shape in {file} must be [points, numbers of each], as [17, 3]")
    return int(shape[0]) * int(shape[1])


def _places(content: dict, key: str, file: Path) -> tuple[str, ...]:
    given = content.get(key, "")
    places = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) for one in places):
        raise DataError(f"{key} in {file} must be a folder, a list of images (.txt), or several of them")
    return tuple(one for one in places if one not in NOTHING)


def _names(given: Any, file: Path, findings: Findings) -> dict[int, str]:
    rows = dict(enumerate(given)) if isinstance(given, list) else given if isinstance(given, dict) else {}
    names: dict[int, str] = {}
    for key, name in rows.items():
        if not NUMBER.fullmatch(str(key)) or not isinstance(name, str) or not name.strip():
            raise DataError(f"names in {file} must be a name for each class id, as a list or by number")
        names[int(key)] = composed(name.strip())
    if not names:
        raise DataError(f"{file} must define names, those of the classes in the order of their ids")
    names = dict(sorted(names.items()))
    note_repeated(names, file, findings)
    return names


class LabelFiles:
    """The label files of images; each folder is listed once."""

    def __init__(self) -> None:
        self._folders: dict[Path, Listing | None] = {}
        self._taken: dict[Path, set[str]] = {}  # by folder

    def of(self, image: Path) -> tuple[Path, bool]:
        """The label file of an image, and whether it is there."""
        folders = [image.parent]
        if "images" in (parts := image.parent.parts):
            last = len(parts) - 1 - parts[::-1].index("images")
            folders.insert(0, Path(*parts[:last], "labels", *parts[last + 1 :]))
        name = f"{split_suffix(image.name)[0]}.txt"
        for folder in folders:
            if (listing := self._listed(folder)) and (found := listing.find(name)):
                self._taken.setdefault(folder, set()).add(found)
                return folder / found, True
        return folders[0] / name, False

    def _listed(self, folder: Path) -> Listing | None:
        if folder not in self._folders:
            try:
                self._folders[folder] = Listing(folder, (".txt",), "label")
            except DataError:
                self._folders[folder] = None
        return self._folders[folder]

    def alone(self) -> Iterator[Path]:
        """Files in the folders of label files that belong to no image that was asked for."""
        for folder, taken in self._taken.items():
            listing = self._folders[folder]
            names = listing.names() if listing else []
            yield from (folder / one for one in names if one not in taken and one not in NO_LABELS)
