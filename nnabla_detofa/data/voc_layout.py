"""Where the images of a VOC split and their annotations lie, in the devkit's folders and in other people's (4.1).

Read are, in this order: the lists of `ImageSets/Main` (or `ImageSets`, or beside it); a folder for each split, with
images and xml side by side, as Roboflow exports them; and images and xml that nothing divides into splits, of which
every fifth image is the test split. Where only `train` and `val` are there, `val` is the test split; where there is a
`test` as well, `trainval` is both of them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import DataError
from .flaws import Findings, Flaw
from .images import SUFFIXES, read_list
from .listing import Listing, leads_out, split_suffix

T = TypeVar("T")
LAYOUT = "Annotations, ImageSets/Main and JPEGImages"
IMAGES, ANNOTATIONS = ("JPEGImages", "images", "Images", "imgs"), ("Annotations", "annotations", "xmls", "xml")
LISTS = ("ImageSets/Main", "ImageSets", ".")
MASK_LISTS, MASKS = "ImageSets/Segmentation", "SegmentationClass"
VALIDATION = ("val", "valid", "validation")
TEST_SHARE = 5  # every fifth image, where nothing says which


class Part(NamedTuple):
    """Names of images with the folders that hold them and their annotations; `source` is what lists them."""

    images: Listing
    annotations: Listing
    names: list[str]
    source: Path


def homes_of(root: Path, splits: Iterable[Sequence[Any]]) -> tuple[str, list[tuple[Path, str]]]:
    """The name of (year, split) pairs together, and each pair once, with the folder of its year."""
    homes = list(dict.fromkeys((home_of(root, str(year).removeprefix("VOC")), str(split)) for year, split in splits))
    return " + ".join(f"{home.name} {split}" for home, split in homes), homes


def parts_of_all(
    homes: Iterable[tuple[Path, str]], findings: Findings, *, parts: Callable[..., Iterable[T]]
) -> Iterator[T]:
    """The `parts(home, split, findings)` of each split; of one that cannot be read a finding, and those of the others
    are not lost."""
    for home, split in homes:
        try:
            found = parts(home, split, findings)
        except DataError as error:
            findings.add(Flaw.SPLIT_UNREADABLE, home, str(error))
            continue
        yield from found


def home_of(root: Path, year: str) -> Path:
    """The folder of a year: `VOC<year>` in `root` or in its VOCdevkit, else `root` itself where it has no years."""
    devkit = root / "VOCdevkit" if (root / "VOCdevkit").is_dir() else root
    home = _inside(devkit, f"VOC{year}")
    if os.path.isdir(home):  # noqa: PTH112 - any name
        return home
    years = sorted(one.name for one in devkit.glob("VOC[0-9]*") if one.is_dir())
    if re.fullmatch(r"VOC\d{4}", devkit.name):  # the root is a year's folder itself
        years = [devkit.name]
    if devkit.name != home.name and (years or not devkit.is_dir()):
        needed = f"put VOCdevkit/VOC{year} with {LAYOUT} into {root}, or choose other years"
        raise DataError(f"no VOC{year} in {devkit}; there: {', '.join(years) or 'none'}: {needed}")
    return devkit


def _inside(folder: Path, name: str) -> Path:
    if leads_out(name):
        raise DataError(f"the split's name {name!r} leads out of {folder}; names must stay inside")
    return folder / name


def parts_of(home: Path, split: str, findings: Findings) -> list[Part]:
    """The folders and names of a split; DataError where it is not there."""
    for find in (_listed, _in_folders):
        if parts := find(home, split, findings):
            return parts
    if (there := _splits(home)) or split not in ("trainval", "train", "test"):
        lists = next((home / one for one in LISTS[:2] if (home / one).is_dir()), home)
        raise DataError(f"no split '{split}' in {lists}; there: {', '.join(there) or 'none'}")
    return [_divided(home, split, findings)]


def masked_parts_of(home: Path, split: str, findings: Findings) -> list[Part]:
    """The images of a split of ImageSets/Segmentation with the folder of their masks; DataError where it is not
    there."""
    folder = home / MASK_LISTS
    _inside(folder, f"{split}.txt")
    files = [folder / f"{one}.txt" for one in _meant(split, [folder], ".txt", findings)]
    if not files:
        there = ", ".join(sorted(one.stem for one in folder.glob("*.txt")))
        raise DataError(f"no split '{split}' in {folder}; there: {there or 'none'}")
    images, masks = Listing(_folders(home)[0], SUFFIXES), Listing(home / MASKS, (".png",), "mask")
    return [Part(images, masks, read_list(one, "split"), one) for one in files]


def _listed(home: Path, split: str, findings: Findings) -> list[Part]:
    for folder in (home / one for one in LISTS):
        _inside(folder, f"{split}.txt")
        if names := _meant(split, [folder], ".txt", findings):
            files = [folder / f"{one}.txt" for one in names]
            return [Part(*_open(*_folders(home)), read_list(one, "split"), one) for one in files]
    return []


def _in_folders(home: Path, split: str, findings: Findings) -> list[Part]:
    """Folders of the splits, each with its images and annotations; or those below the folders of both."""
    both = _folders(home)
    if names := _meant(split, [home], "/", findings):
        return [_whole(*_folders(home / one), findings) for one in names]
    return [_whole(both[0] / one, both[1] / one, findings) for one in _meant(split, both, "/", findings)]


def _meant(split: str, places: Sequence[Path], end: str, findings: Findings) -> Sequence[str]:
    """The names of lists or folders that are a split, with this `end` in all `places`; empty where none is."""

    def there(name: str) -> bool:
        return all(os.path.exists(f"{place}/{name}{end}") for place in places)  # noqa: PTH110 - any name

    if there(split):
        return (split,)
    val = next(filter(there, VALIDATION), None)
    names: Sequence[str] = ()
    if split == "trainval" and there("train"):
        names = ("train", val) if val and there("test") else ("train",)
    elif val and split in ("test", *VALIDATION) and there("train"):
        names = (val,)
    for name in names:
        findings.add(Flaw.SPLIT_STANDS_IN, places[0] / f"{name}{end}", f"for {split}")
    return names


def _splits(home: Path) -> list[str]:
    """Names of the lists, and of folders that are called as splits are."""
    lists = {one.stem for folder in LISTS[:2] for one in (home / folder).glob("*.txt")}
    return sorted(lists | {one for one in ("train", "trainval", "test", *VALIDATION) if (home / one).is_dir()})


def _open(images: Path, annotations: Path) -> tuple[Listing, Listing]:
    return Listing(images, SUFFIXES), Listing(annotations, (".xml",), "annotation")


def _folders(folder: Path) -> tuple[Path, Path]:
    """The folders of images and annotations in this one; side by side where there are none of their own."""
    images, annotations = (
        next((folder / one for one in names if (folder / one).is_dir()), None) for names in (IMAGES, ANNOTATIONS)
    )
    if images is None and annotations is None:
        return folder, folder
    if images is None:
        return (folder if _holds(folder, SUFFIXES) else folder / IMAGES[0]), annotations or folder
    if annotations is None:
        beside = next((one for one in (images, folder) if _holds(one, (".xml",))), folder / ANNOTATIONS[0])
        return images, beside
    return images, annotations


def _holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return any(split_suffix(one)[1] in suffixes for one in os.listdir(folder))  # noqa: PTH208 - names alone


def _whole(images: Path, annotations: Path, findings: Findings) -> Part:
    """All images of a folder, those without an annotation too."""
    part = Part(*_open(images, annotations), [], images)
    part.names.extend(part.images.names())
    stems = {split_suffix(one)[0] for one in part.names}
    for one in part.annotations.names():
        if split_suffix(one)[0] not in stems:
            findings.add(Flaw.ANNOTATION_ALONE, annotations / one)
    return part


def _divided(home: Path, split: str, findings: Findings) -> Part:
    """The test or the training images of a folder that nothing divides: images that are added later move no other
    from one to the other, but for the last few."""
    part = _whole(*_folders(home), findings if split != "test" else Findings(strict=False))
    if not part.names:
        raise DataError(f"{home} has no image ({', '.join(SUFFIXES)}); put {LAYOUT} into it, or images with their xml")
    findings.add(Flaw.SPLIT_MADE, home)
    order = sorted(part.names, key=lambda name: hashlib.blake2b(os.fsencode(name), digest_size=8).digest())
    edge = -(-len(order) // TEST_SHARE)
    return part._replace(names=sorted(order[:edge] if split == "test" else order[edge:]))
