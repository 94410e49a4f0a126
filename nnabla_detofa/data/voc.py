"""PASCAL VOC: any VOCdevkit folder, its years and splits chosen by the configuration, or images with xml (4.1)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from ..options import Listed
from . import digits
from .dataset import DetectionDataset
from .dataset_loader import DatasetLoader
from .dataset_options import NAME, RootOptions
from .flaws import Findings, Flaw, what_was_lost
from .images import image_size
from .letters import LettersOptions
from .letters import generate as generate_letters
from .listing import split_suffix
from .loader import DetectionLoader, LoaderOptions
from .objects import Sample, Wanted, dataset_of, note_shared
from .voc_layout import Part, homes_of, parts_of, parts_of_all
from .voc_xml import Annotation, read_annotation

ORIGIN = 1.0  # VOC counts pixels from 1
SPLITS = Listed(Listed(NAME, n=2), least=1)  # of a year and a name


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
    name, homes = homes_of(root, splits)
    samples: dict[Path, Sample] = {}
    for part in parts_of_all(homes, findings, parts=parts_of):
        _add_samples(samples, part, findings)
    if not samples and not findings.unusable:
        findings.add(Flaw.SPLIT_UNREADABLE, root, f"{name} in {root} lists no image")
    found = {one.name for sample in samples.values() for one in sample.objects}
    if classes is None and not found and not findings.unusable:
        reason = f"{name} in {root} has no object, so no class can be discovered"
        findings.add(Flaw.NOTHING_TO_TRAIN, root, reason + what_was_lost(findings))
    note_shared(samples.values(), findings)
    wanted = Wanted(sorted(found) if classes is None else classes, listed_by)
    return dataset_of(name, [*samples.values()], wanted, origin=ORIGIN, form="corners", place=root, findings=findings)


def _add_samples(samples: dict[Path, Sample], part: Part, findings: Findings) -> None:
    """Put what a split lists into `samples`, by image file; what is there already counts once."""
    for line in part.names:
        if part.images.is_comment(line) or (found := _find(part, line, findings)) is None:
            continue
        file = part.images.folder / found
        if file in samples:
            findings.add(Flaw.LISTED_TWICE, part.source, object=line)
        elif sample := _sample(part, found, findings):
            samples[file] = sample


def _find(part: Part, line: str, findings: Findings) -> str | None:
    """The image of a line of a list, below the folder of images: what stands before its last column, or its first
    column, is the name, where it has several."""
    name = line
    if part.images.find(line) is None and len(columns := line.split()) > 1:
        before_last = line.rsplit(maxsplit=1)[0]
        name = before_last if part.images.find(before_last) else columns[0]
        if part.images.find(name):
            findings.add(Flaw.LIST_COLUMNS, part.source, object=line)
    return part.images.meant(name, part.source, findings, stems=True)


def _sample(part: Part, found: str, findings: Findings) -> Sample | None:
    image, name = part.images.folder / found, split_suffix(found)[0]
    below = part.annotations.find(f"{name}.xml") or part.annotations.find(f"{name.rpartition('/')[2]}.xml")
    place = part.annotations.folder / (below or f"{name}.xml")
    annotation = read_annotation(place, findings) if below else Annotation(None, [])
    if not below:
        findings.add(Flaw.ANNOTATION_MISSING, place)
    if annotation is None:
        return None
    size, objects = annotation
    if size is None:
        if objects:
            findings.add(Flaw.SIZE_MISSING, place)
        size = image_size(image, findings)
    return Sample(image, name, size, objects, place) if size else None


class VocOptions(LoaderOptions, RootOptions):
    """`root` holds VOCdevkit (or is it, or holds images with their xml), `train` and `test` list (year, split).

    `generate` has a set of digits made below `root` first, `letters` one of letters in its place.
    """

    where = "dataloader.voc"
    train: Annotated[Sequence[Sequence[Any]], SPLITS] = ((2007, "trainval"),)
    test: Annotated[Sequence[Sequence[Any]], SPLITS] = ((2007, "test"),)
    generate: digits.DigitsOptions | None = None
    letters: LettersOptions | None = None

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> DetectionDataset:
        """As `read_voc`."""
        root = self.root if self.generate is None else digits.generate(self.root, self.generate)
        root = root if self.letters is None else generate_letters(self.root, self.letters)
        splits = self.train if split == "train" else self.test
        return read_voc(root, splits, classes=classes, listed_by=self.listed_by(split), strict=strict)


class DataLoader(DatasetLoader, DetectionLoader):
    """Batches of a VOCdevkit; the keywords are those of `VocOptions`."""

    declared = VocOptions
