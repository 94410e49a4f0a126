"""COCO's regions as class maps: against pycocotools' own masks, and what is wrong with a file."""

import copy
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO

from nnabla_detofa.data import coco_masks
from nnabla_detofa.data.coco_masks import CocoMaskOptions
from nnabla_detofa.data.examination import examine, severity
from nnabla_detofa.data.flaws import Flaw, Severity
from nnabla_detofa.errors import DataError
from nnabla_detofa.segmentation import IGNORED

SPLITS = {"train": ["images", "train.json"], "test": ["images", "test.json"]}
WIDTH, HEIGHT = 40, 32


def square(x, y, side):
    return [x, y, x + side, y, x + side, y + side, x, y + side]


def crowd(x, y, side):
    inside = np.zeros((HEIGHT, WIDTH), np.uint8)
    inside[y : y + side, x : x + side] = 1
    region = mask.encode(np.asfortranarray(inside))
    return {**region, "counts": region["counts"].decode()}


def annotations(image):
    """A cat over a dog at one corner, a dog of two polygons, and a crowd of cats under a cat."""
    each = [
        (3, [square(2, 3, 10)], 0),
        (7, [square(8, 9, 10), square(30, 20, 7)], 0),
        (3, crowd(20, 0, 12), 1),
        (3, [square(24, 2, 5)], 0),
    ]
    return [
        {"id": 10 * image + i, "image_id": image, "category_id": category, "segmentation": given, "iscrowd": flag}
        | {"bbox": [1, 1, 5, 5], "area": 25}
        for i, (category, given, flag) in enumerate(each)
    ]


@pytest.fixture
def content():
    """Two images with the same objects; categories 3 and 7."""
    sizes = {"width": WIDTH, "height": HEIGHT}
    return {
        "images": [{"id": i, "file_name": f"{i}.png", **sizes} for i in (1, 2)],
        "annotations": [*annotations(1), *annotations(2)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }


@pytest.fixture
def root(tmp_path, content):
    """The file as training and, with other images, as test split."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(1, 5):
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
    test = copy.deepcopy(content)
    for image, name in zip(test["images"], ("3.png", "4.png"), strict=True):
        image["file_name"] = name
    (tmp_path / "train.json").write_text(json.dumps(content))
    (tmp_path / "test.json").write_text(json.dumps(test))
    return tmp_path


def options(root, **more):
    given = {"root": root, "image_size": 32, "held_out": 0, **SPLITS, **more}
    return CocoMaskOptions.of("dataloader.coco_masks", given)


def expected(file, image, labels):
    """By pycocotools: the label of pixels of one class alone; crowds, and pixels of several, are IGNORED."""
    api = COCO(str(file))
    inside = np.zeros((4, HEIGHT, WIDTH), bool)  # background, two classes, crowds
    for row in api.imgToAnns[image]:
        inside[3 if row["iscrowd"] else labels.get(row["category_id"], 0)] |= api.annToMask(row).astype(bool)
    n = inside[1] + inside[2].astype(int)
    found = np.where(n == 0, np.where(inside[3], IGNORED, 0), np.where(inside[1], 1, 2))
    return np.where(n == 2, IGNORED, found)


def test_maps_are_those_of_pycocotools(root):
    data = options(root).read("train", None)
    assert data.classes == ("background", "cat", "dog") and data.category_ids == (None, 3, 7)
    for image in data.images:
        found = image.classes()
        np.testing.assert_array_equal(found, expected(root / "train.json", image.id, {3: 1, 7: 2}))
        assert set(np.unique(found)) == {0, 1, 2, IGNORED} and image.shown == (0, 1, 2)
    assert data.class_counts.tolist() == [2, 2, 2]
    assert {one.flaw for one in data.findings} == {Flaw.CROWD_REGION}


def test_classes_select_and_order(root):
    data = options(root, classes=["dog"]).read("train", ["dog"])
    assert data.classes == ("background", "dog") and data.category_ids == (None, 7)
    found = data.images[0].classes()
    assert set(np.unique(found)) == {0, 1}  # no cat is there to overlap, nor its crowd
    assert Flaw.CLASS_LEFT_OUT in {one.flaw for one in data.findings}
    both = options(root).read("train", ["background", "dog", "cat"])
    np.testing.assert_array_equal(both.images[0].classes(), expected(root / "train.json", 1, {7: 1, 3: 2}))
    assert len({one.digest for one in (data, both, options(root).read("train", None))}) == 3


def test_another_outline_is_another_data_set(root, content):
    before = options(root).read("train", None).digest
    content["annotations"][0]["segmentation"] = [square(2, 3, 11)]
    (root / "train.json").write_text(json.dumps(content))
    assert options(root).read("train", None).digest != before


def without_outline(row):
    del row["segmentation"]


def without_anything(row):
    del row["segmentation"], row["bbox"]


def with_a_line(row):
    row["segmentation"] = [[1, 2, 3, 4]]


def of_another_size(row):
    row["segmentation"] = {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]}


def of_another_category(row):
    row["category_id"] = 5


@pytest.mark.parametrize(
    ("spoil", "flaw", "worst"),
    [
        (without_outline, Flaw.OUTLINE_MISSING, Severity.MENDED),
        (without_anything, Flaw.BOX_MISSING, Severity.MENDED),
        (with_a_line, Flaw.ANNOTATION_BROKEN, Severity.UNUSABLE),
        (of_another_size, Flaw.ANNOTATION_BROKEN, Severity.UNUSABLE),
        (of_another_category, Flaw.CATEGORY_UNKNOWN, Severity.UNUSABLE),
    ],
)
def test_the_check_finds_what_training_says(root, content, spoil, flaw, worst):
    spoil(content["annotations"][0])
    (root / "train.json").write_text(json.dumps(content))
    parts = examine(options(root), show=False, threads=1)
    assert flaw in {one.flaw for one in parts[0].findings} and severity(parts) == worst
    if worst == Severity.UNUSABLE:
        with pytest.raises(DataError):
            options(root).read("train", None)
        return
    found = options(root).read("train", None).images[0].classes()
    box = found[1:6, 1:6]
    assert ((box == IGNORED) == (spoil is without_outline)).all() and found[4, 4] != 1


def test_a_clean_set_is_clean_and_its_batches_are_of_cells(root):
    assert severity(examine(options(root), show=False, threads=1)) == Severity.NOTED
    keys = {**options(root).model_dump(), "workers": 0, "output_stride": 8, "image_size": [256, 320]}
    data = coco_masks.DataLoader(False, False, 2, **keys)
    (batch,) = data.batches()
    np.testing.assert_array_equal(batch.targets[0][0, 0], data.dataset.images[0].classes())


def test_a_file_that_is_not_there_is_said(root):
    (root / "train.json").unlink()
    with pytest.raises(DataError, match=r"train\.json"):
        options(root).read("train", None)
    with pytest.raises(DataError, match=r"none\.json"):
        coco_masks.read_coco_masks(root, root / "none.json")
