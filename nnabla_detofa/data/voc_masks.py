"""PASCAL VOC's segmentation: SegmentationClass of any VOCdevkit, its years and splits as configured (an addition)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from ..segmentation import IGNORED
from . import digits
from .class_masks import MaskedDataset, MaskedImage, ObjectClasses, Packed, SegmentationLoader, note_empty
from .dataset_loader import DatasetLoader
from .dataset_options import RootOptions
from .flaws import Findings, Flaw, what_was_lost
from .images import image_size
from .listing import split_suffix
from .loader import WarpOptions
from .mask_files import MaskForm
from .voc import SPLITS
from .voc_layout import Part, homes_of, masked_parts_of, parts_of_all


def read_voc_masks(
    root: str | Path,
    splits: Sequence[Sequence[Any]],
    *,
    classes: Sequence[Any] | None = None,
    listed_by: str | None = None,
    strict: bool = True,
) -> MaskedDataset:
    """The images of `splits`, a list of (year, split) of ImageSets/Segmentation, in the devkit at `root`.

    `classes` selects objects' classes and gives them an order, pixels of others are background; without, they are those
    that these splits show. Raises DataError for whatever is missing or cannot be read; where not `strict`, what is
    wrong with one image only goes into the findings.
    """
    root, findings = Path(root).expanduser().absolute(), Findings(strict=strict)
    name, homes = homes_of(root, splits)
    found: dict[Path, tuple[MaskedImage, Path, tuple[str, ...]]] = {}
    for form, part in parts_of_all(homes, findings, parts=_masked_parts):
        _add(found, part, form, findings)
    if not found and not findings.unusable:
        findings.add(Flaw.SPLIT_UNREADABLE, root, f"{name} in {root} lists no image")
    shown = {names[number] for image, _, names in found.values() for number in image.shown}
    order = dict.fromkeys(one for _, _, names in found.values() for one in names if one in shown)
    labels = ObjectClasses(classes, order, listed_by)
    if len(labels.names) == 1 and not findings.unusable:
        reason = f"{name} in {root} shows no object, so no class can be discovered"
        findings.add(Flaw.NOTHING_TO_TRAIN, root, reason + what_was_lost(findings))
    labels.require_some(shown, root, name, findings)
    images = tuple(_labelled(*one, labels, findings) for one in found.values())
    note_empty(images, findings)
    ids = (None, *range(1, len(labels.names)))
    return MaskedDataset(name, labels.names, images, tuple(findings), category_ids=ids)


def _masked_parts(home: Path, split: str, findings: Findings) -> list[tuple[MaskForm, Part]]:
    form = MaskForm.beside(home)
    return [(form, part) for part in masked_parts_of(home, split, findings)]


def _add(found: dict, part: Part, form: MaskForm, findings: Findings) -> None:
    """Put what a split lists into `found`, by image file: the image with numbers of the form, its mask and the names
    of the numbers."""
    for line in part.names:
        if part.images.is_comment(line) or (name := part.images.meant(line, part.source, findings, stems=True)) is None:
            continue
        image, stem = part.images.folder / name, split_suffix(name)[0]
        mask = part.annotations.folder / (part.annotations.find(f"{stem}.png") or f"{stem}.png")
        if image in found:
            findings.add(Flaw.LISTED_TWICE, part.source, object=line)
        elif (size := image_size(image, findings)) and (numbers := form.read(mask, size, findings)) is not None:
            shown = (*(int(one) for one in np.unique(numbers) if one != IGNORED),)
            found[image] = MaskedImage(image, stem, size, Packed.of(numbers), shown, b""), mask, form.names


def _labelled(
    image: MaskedImage, mask: Path, names: Sequence[str], labels: ObjectClasses, findings: Findings
) -> MaskedImage:
    """The image with the set's labels in the place of the form's numbers."""
    table = np.full(256, IGNORED, np.uint8)
    for number in image.shown:
        table[number] = labels.label(names[number], mask, None, findings)
    classes = Packed.of(table[image.classes()])
    shown = (*sorted({int(table[number]) for number in image.shown}),)
    return image._replace(classes=classes, shown=shown, digest=classes.digest)


class VocMaskOptions(WarpOptions, RootOptions):
    """`root` holds VOCdevkit, or is it; `train` and `test` list (year, split).

    `generate` has a set of digits with masks made below `root` first.
    """

    where = "dataloader.voc_masks"
    train: Annotated[Sequence[Sequence[Any]], SPLITS] = ((2012, "train"),)
    test: Annotated[Sequence[Sequence[Any]], SPLITS] = ((2012, "val"),)
    generate: digits.DigitsOptions | None = None

    def read(self, split: str, classes: Sequence[Any] | None, *, strict: bool = True) -> MaskedDataset:
        """As `read_voc_masks`."""
        root = self.root if self.generate is None else digits.generate(self.root, self.generate, masks=True)
        splits = self.train if split == "train" else self.test
        return read_voc_masks(root, splits, classes=classes, listed_by=self.listed_by(split), strict=strict)


class DataLoader(DatasetLoader, SegmentationLoader):
    """Batches of a VOCdevkit with masks; the keywords are those of `VocMaskOptions`."""

    declared = VocMaskOptions
