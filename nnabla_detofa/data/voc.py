"""PASCAL VOC: any VOCdevkit folder, its years and splits chosen by the configuration, or images with xml (4.1)."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from ..errors import DataError
from ..options import Listed
from . import digits
from .box_form import require_usual_form
from .dataset import DetectionDataset
from .dataset_loader import DatasetLoader
from .dataset_options import NAME, DatasetOptions
from .flaws import Findings, Flaw, what_was_lost
from .images import SUFFIXES, image_size
from .listing import composed, leads_out, split_suffix
from .loader import DetectionLoader, LoaderOptions
from .objects import Object, Wanted, sound_image
from .voc_layout import Part, home_of, parts_of
from .voc_xml import Annotation, VocObject, read_annotation

ORIGIN = 1.0  # VOC counts pixels from 1
SPLITS = Listed(Listed(NAME, n=2), least=1)  # of a year and a name


class _Record(NamedTuple):
    """A listed image with its annotation as it stands; `place` is the file to name where an object is flawed."""

    file: Path
    id: str
    place: Path
    size: tuple[int, int]
    objects: list[VocObject]


def read_voc(
    root: str | Path,
    splits: Sequence[Sequence[Any]],
    *,
    classes: Sequence[Any] | None = None,
    listed_by: str | None = None,
    strict: bool = True,
) -> DetectionDataset:
    """The images of `splits`, a list of (year, split), in the devkit at `root`; see `voc_layout` for other folders.

    `classes` gives the labels their order, and objects of other classes are left out; without, they are the names found
    in these splits, sorted. `listed_by` is as in `Wanted`. Boxes keep VOC's own coordinates: pixels counted from 1, the
    last one included. Difficult objects are kept and flagged. Raises DataError for whatever is missing or cannot be
    read; where not `strict`, what is wrong with one image or object only goes into the findings.
    """
    root, findings = Path(root).expanduser().absolute(), Findings(strict=strict)
    homes = list(dict.fromkeys((home_of(root, str(year).removeprefix("VOC")), str(split)) for year, split in splits))
    name = " + ".join(f"{home.name} {split}" for home, split in homes)
    records: dict[Path, _Record] = {}
    for home, split in homes:
        try:
            parts = parts_of(home, split, findings)
        except DataError as error:  # what was found in other splits is not lost
            findings.add(Flaw.SPLIT_UNREADABLE, home, str(error))
            continue
        for part in parts:
            _add_records(records, part, findings)
    if not records and not findings.unusable:
        findings.add(Flaw.SPLIT_UNREADABLE, root, f"{name} in {root} lists no image")
    found = {one.name for record in records.values() for one in record.objects}
    if classes is None and not found and not findings.unusable:
        reason = f"{name} in {root} has no object, so no class can be discovered"
        findings.add(Flaw.NOTHING_TO_TRAIN, root, reason + what_was_lost(findings))
    wanted = Wanted(sorted(found) if classes is None else classes, listed_by)
    wanted.require_some(found, root, name, findings)
    return _dataset(name, records.values(), wanted, root, findings)


def _dataset(
    name: str, records: Collection[_Record], wanted: Wanted, root: Path, findings: Findings
) -> DetectionDataset:
    of_boxes = Findings(strict=findings.strict)
    objects = [_objects(record, wanted, of_boxes) for record in records]
    images = tuple(
        sound_image(one.file, one.id, one.size, own, origin=ORIGIN, place=one.place, findings=of_boxes)
        for one, own in zip(records, objects, strict=True)
    )
    require_usual_form(objects, [one.size for one in images], root, of_boxes, sides=False)
    return DetectionDataset(name, wanted.names, images, ORIGIN, findings=(*findings, *of_boxes))


def _add_records(records: dict[Path, _Record], part: Part, findings: Findings) -> None:
    """Put what a split lists into `records`, by image file; what is there already counts once."""
    for name in part.names:
        found = _find(part, name, findings)
        if found is None:
            continue
        file = part.images.folder / found
        if file in records:
            findings.add(Flaw.LISTED_TWICE, part.source, object=name)
        elif record := _record(part, found, findings):
            records[file] = record


def _find(part: Part, line: str, findings: Findings) -> str | None:
    """The image of a line of a list, below the folder of images: what stands before its last column, or its first
    column, is the name, where it has several."""
    name, found = line, part.images.find(line)
    if found is None and len(columns := line.split()) > 1:
        before_last = line.rsplit(maxsplit=1)[0]
        name = before_last if (found := part.images.find(before_last)) else columns[0]
        if found := found or part.images.find(name):
            findings.add(Flaw.LIST_COLUMNS, part.source, object=line)
    if found is None and leads_out(name):
        reason = f"{part.source}: the name {name!r} leads out of {part.images.folder}"
        findings.add(Flaw.NAME_LEADS_OUT, part.source, reason, object=name)
    elif found is None:
        kinds = f"{name}{SUFFIXES[0]} or the like ({', '.join(SUFFIXES[1:])})"
        reason = f"{part.source} lists {name}, but {part.images.folder} has no {kinds}"
        findings.add(Flaw.IMAGE_MISSING, part.source, reason, object=name)
    elif composed(name) not in (same := composed(found), split_suffix(same)[0]):
        findings.add(Flaw.NAME_MENDED, part.source, f"read as {found}", object=name)
    return found


def _record(part: Part, found: str, findings: Findings) -> _Record | None:
    image, name = part.images.folder / found, split_suffix(found)[0]
    below = part.annotations.find(f"{name}.xml") or part.annotations.find(f"{name.rpartition('/')[2]}.xml")
    if below is None:
        findings.add(Flaw.ANNOTATION_MISSING, part.annotations.folder / f"{name}.xml")
        annotation: Annotation | None = Annotation(None, [])
    else:
        annotation = read_annotation(part.annotations.folder / below, findings)
    if annotation is None:
        return None
    place, size = part.annotations.folder / (below or f"{name}.xml"), annotation.size
    if size is None:
        if annotation.objects:
            findings.add(Flaw.SIZE_MISSING, place)
        size = image_size(image, findings)
    return _Record(image, name, place, size, annotation.objects) if size else None


def _objects(record: _Record, wanted: Wanted, findings: Findings) -> list[Object]:
    """The objects of the wanted classes."""
    objects = []
    for one in record.objects:
        label = wanted.label(one.name, record.place, one.key, findings)
        if label is not None:
            objects.append(Object(one.key, label, one.box, difficult=one.difficult, ignored=one.ignored))
    return objects


class VocOptions(LoaderOptions, DatasetOptions):
    """`root` holds VOCdevkit (or is it, or holds images with their xml), `train` and `test` list (year, split).

    `generate` has the digits set made below `root` first.
    """

    where = "dataloader.voc"
    train: Annotated[Sequence[Sequence[Any]], SPLITS] = ((2007, "trainval"),)
    test: Annotated[Sequence[Sequence[Any]], SPLITS] = ((2007, "test"),)
    generate: digits.DigitsOptions | None = None

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> DetectionDataset:
        """As `read_voc`."""
        root = self.root if self.generate is None else digits.generate(self.root, self.generate)
        splits = self.train if split == "train" else self.test
        return read_voc(root, splits, classes=classes, listed_by=self.listed_by(split), strict=strict)


class DataLoader(DatasetLoader, DetectionLoader):
    """Batches of a VOCdevkit; the keywords are those of `VocOptions`."""

    declared = VocOptions
