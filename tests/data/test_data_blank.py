"""Blank loaders: the parts and batches of the loader that they stand in for, of images that are not there."""

import numpy as np
import pytest

from nnabla_detofa.data import image_folder, voc
from nnabla_detofa.data.blank_data import blank_loader

EXPECTED = {"train": 60, "test": 12}
PARTS = {(True, True): 44, (True, False): 16, (False, True): 60, (False, False): 12}
DETECTION = {"root": "nowhere", "image_size": 64, "held_out": 16, "max_objects": 10, "workers": 0}
FOLDERS = {"root": "nowhere", "image_size": 64, "train_sizes": [32], "held_out": 16, "workers": 0}


@pytest.mark.parametrize("part", PARTS)
def test_parts_have_the_sizes_that_are_expected(part):
    blank = blank_loader(voc.DataLoader)
    loader = blank(*part, batch_size=4, n_classes=3, images_expected=EXPECTED, **DETECTION)
    assert (len(loader.dataset), loader.n_classes, loader.dataset.name) == (
        PARTS[part],
        3,
        "what dataloader.voc expects",
    )


def test_batches_have_the_shapes_of_the_tasks():
    detector = blank_loader(voc.DataLoader)(True, True, 4, n_classes=3, images_expected=EXPECTED, **DETECTION)
    batch = detector.next()
    assert [image.shape for image in batch["inputs"]] == [(4, 3, 64, 64)]
    assert [target.shape for target in batch["targets"]] == [(4, 3, 16, 16), (4, 10, 2), (4, 10, 2), (4, 10), (4, 10)]
    oblong = {**DETECTION, "image_size": [32, 64]}
    detector = blank_loader(voc.DataLoader)(True, True, 4, n_classes=3, images_expected=EXPECTED, **oblong)
    assert detector.next()["inputs"][0].shape == (4, 3, 32, 64)
    assert detector.next()["targets"][0].shape == (4, 3, 8, 16)
    classifier = blank_loader(image_folder.DataLoader)(True, True, 4, n_classes=7, images_expected=EXPECTED, **FOLDERS)
    assert classifier.next()["inputs"][0].shape == (4, 3, 32, 32)
    (still,) = classifier.batches(np.arange(3))
    assert (still.images.shape, still.targets[0].shape, still.n_valid) == ((4, 3, 64, 64), (4, 1), 3)


def test_only_loaders_of_files_have_one():
    assert blank_loader(object) is None
