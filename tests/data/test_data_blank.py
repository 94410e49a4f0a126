"""Blank loaders: the parts and batches of the loader that they stand in for, of images that are not there."""

import numpy as np
import pytest

from nnabla_detofa.data import image_folder, voc, voc_masks
from nnabla_detofa.data.blank_data import stand_in
from nnabla_detofa.data.generated import NotGeneratedError, nothing_generated
from nnabla_detofa.errors import DataError

EXPECTED = {"images_expected": {"train": 60, "test": 12}}
PARTS = {(True, True): 44, (True, False): 16, (False, True): 60, (False, False): 12}
DETECTION = {"root": "nowhere", "image_size": 64, "held_out": 16, "max_objects": 10, "workers": 0}
NOT_THERE = DataError("no VOC2007 in nowhere")
FOLDERS = {"root": "nowhere", "image_size": 64, "train_sizes": [32], "held_out": 16, "workers": 0}


def blank(module, *part, n_classes=3, error=NOT_THERE, **options):
    build = stand_in(module.DataLoader, options, error, n_classes)
    return build and build(*part, 4, **options)


@pytest.mark.parametrize("part", PARTS)
def test_parts_have_the_sizes_that_are_expected(part):
    loader = blank(voc, *part, **EXPECTED, **DETECTION)
    assert (len(loader.dataset), loader.n_classes, loader.dataset.name) == (
        PARTS[part],
        3,
        "what dataloader.voc expects",
    )


def test_batches_have_the_shapes_of_the_tasks():
    detector = blank(voc, True, True, **EXPECTED, **DETECTION)
    batch = detector.next()
    assert [image.shape for image in batch["inputs"]] == [(4, 3, 64, 64)]
    assert [target.shape for target in batch["targets"]] == [(4, 3, 16, 16), (4, 10, 2), (4, 10, 2), (4, 10), (4, 10)]
    detector = blank(voc, True, True, **EXPECTED, **{**DETECTION, "image_size": [32, 64]})
    assert detector.next()["inputs"][0].shape == (4, 3, 32, 64)
    assert detector.next()["targets"][0].shape == (4, 3, 8, 16)
    classifier = blank(image_folder, True, True, n_classes=7, **EXPECTED, **FOLDERS)
    assert classifier.next()["inputs"][0].shape == (4, 3, 32, 32)
    (still,) = classifier.batches(np.arange(3))
    assert (still.images.shape, still.targets[0].shape, still.n_valid) == ((4, 3, 64, 64), (4, 1), 3)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(
    ("module", "own"),
    [
        (voc, {"generate": {"classes": [7, 1], "n_train": 60, "n_test": 12}}),
        (voc, {"letters": {"classes": ["Q", "A"], "n_train": 60, "n_test": 12}}),
        (voc_masks, {"generate": {"classes": [7, 1], "n_train": 60, "n_test": 12}, "train": [[2007, "trainval"]]}),
        (image_folder, {"generate": {"classes": [7, 1], "n_train": 60, "n_test": 12}, "val": "val"}),
    ],
    ids=["digits", "letters", "masks", "folders"],
)
def test_pictures_to_be_generated_are_as_many_as_they_will_be(tmp_path, module, own, part):
    """Of the same classes too; nothing is written for them, and what is there already is taken."""
    options = {"root": tmp_path / "new", "image_size": 64, "held_out": 16, "workers": 0, **own}
    options |= {"test": [[2007, "test"]]} if module is voc_masks else {}
    with nothing_generated():
        with pytest.raises(NotGeneratedError, match="not generated yet") as missing:
            module.DataLoader(*part, 4, **options)
        assert not (tmp_path / "new").exists()
        ours = blank(module, *part, n_classes=None, error=missing.value, **options)
        chosen = blank(module, *part, n_classes=None, error=missing.value, **options, classes=["1"])
    theirs = module.DataLoader(*part, 4, **options)
    assert (len(ours.dataset), ours.classes) == (len(theirs.dataset), theirs.classes)
    assert ours.dataset.name.endswith(" to be generated") and chosen.classes[-1:] == ("1",)
    batch, other = ours.next(), theirs.next()
    for key in ("inputs", "targets"):
        assert [one.shape for one in batch[key]] == [one.shape for one in other[key]]
    with nothing_generated():
        assert module.DataLoader(*part, 4, **options).split_digest == theirs.split_digest


def test_only_loaders_of_files_whose_numbers_are_known_have_one():
    assert stand_in(object, EXPECTED, NOT_THERE, 3) is None
    assert blank(voc, True, True, **DETECTION) is None
    assert blank(voc, True, True, n_classes=None, **EXPECTED, **DETECTION) is None
    assert blank(voc, True, True, n_classes=None, classes_expected=5, **EXPECTED, **DETECTION).n_classes == 5
