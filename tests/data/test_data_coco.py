"""Reading a COCO instances file: gaps in ids, crowds, images without boxes, and everything that may be wrong."""

import json
import re

import numpy as np
import pytest

from nnabla_detofa.data import read_coco
from nnabla_detofa.data.coco import DataLoader
from nnabla_detofa.data.flaws import Flaw
from nnabla_detofa.detection import Detections, coco_ap, to_coco
from nnabla_detofa.errors import ConfigError, DataError


def read(coco, **options):
    return read_coco(coco.root / "train2017", coco.write().file(), **options)


def fails(match, coco, error=DataError, **options):
    with pytest.raises(error, match=match) as caught:
        read(coco, **options)
    assert "\n" not in str(caught.value)


def test_reads_ids_with_gaps(coco):
    data = read(coco)
    assert data.classes == ("cat", "dog")
    assert data.category_ids == (3, 7)
    assert data.image_ids == (9, 4)
    truth = data.ground_truth()
    assert truth.image.tolist() == [0, 0]
    assert truth.label.tolist() == [1, 0]
    assert truth.box.tolist() == [[10.5, 5, 30.5, 35.25], [0, 0, 80, 60]]
    assert truth.difficult.tolist() == [False, True]  # the crowd
    assert data.images[0].crowd.tolist() == [False, True]
    assert data.images[1].boxes.shape == (0, 4)


def test_given_classes_order_the_labels(coco):
    data = read(coco, classes=["dog", "cat"])
    assert data.category_ids == (7, 3)
    assert data.ground_truth().label.tolist() == [0, 1]


def test_its_own_truth_as_detections_is_perfect(coco):
    data = read(coco)
    truth = data.ground_truth()
    easy = ~truth.difficult
    found = Detections(truth.image[easy], truth.label[easy], truth.box[easy], np.ones(easy.sum()))
    result = coco_ap(to_coco(found, data.image_ids, data.category_ids), data.annotation_file)
    assert result["AP"] == pytest.approx(1)


def test_flawed_boxes_are_left_out_and_recorded(coco):
    bboxes = [[5, 5, 0, 9], [5, 5, 9, -1], [80, 5, 9, 9], [-9, 5, 9, 9], [79.5, 5, 9, 9], [0, 0, 0.5, 0.5]]
    coco.content["annotations"] = [
        {"id": i, "image_id": 4, "category_id": 3, "bbox": one} for i, one in enumerate(bboxes)
    ]
    data = read(coco)
    assert [(finding.flaw, finding.place) for finding in data.findings if finding.flaw.severity] == [
        (Flaw.BOX_INVERTED, "y.jpg object 1"),
        (Flaw.BOX_ZERO, "y.jpg object 0"),
        (Flaw.BOX_OUTSIDE, "y.jpg object 2"),
        (Flaw.BOX_OUTSIDE, "y.jpg object 3"),
        (Flaw.BOX_STICKS_OUT, "y.jpg object 4"),
    ]
    assert data.ground_truth().box.tolist() == [[79.5, 5, 88.5, 14], [0, 0, 0.5, 0.5]]


def test_missing_file(coco):
    with pytest.raises(DataError, match="cannot read the annotations .*none.json"):
        read_coco(coco.root / "train2017", coco.root / "none.json")


@pytest.mark.parametrize("text", ["{", "", b"\xff\xfe\xff"])
def test_broken_json(coco, text):
    coco.file().write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=r"instances_train2017\.json is not JSON: "):
        read_coco(coco.root / "train2017", coco.file())


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("value", [None, {}, "x"])
def test_not_an_instances_file(coco, key, value):
    coco.content[key] = value
    fails(f"not a COCO instances file: it has no list of {key}", coco)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
@pytest.mark.parametrize("row", [1, {"name": "x"}, {"id": []}, {"id": "x"}, {"id": True}, {"id": 2**63}])
def test_entries_without_id(coco, key, row):
    coco.content[key].append(row)
    given = f"the id {row['id']!r}" if isinstance(row, dict) and "id" in row else "no id"
    number = len(coco.content[key]) - 1
    fails(re.escape(f"entry {number} of {key} has {given}; it must be a whole number"), coco)


def test_json_that_is_a_list(coco):
    coco.content = [1]
    fails("not a COCO instances file", coco)


def test_no_images(coco):
    coco.content |= {"images": [], "annotations": []}
    fails("lists no image", coco)


def test_no_categories(coco):
    coco.content |= {"categories": [], "annotations": []}
    fails("defines no category", coco)


def test_folder_in_place_of_the_file(coco):
    with pytest.raises(DataError, match="cannot read the annotations .*train2017: it is no file"):
        read_coco(coco.root / "train2017", coco.root / "train2017")


@pytest.mark.parametrize("row", [{"id": 1}, {"id": 1, "name": []}])
def test_category_without_name(coco, row):
    coco.content["categories"].append(row)
    fails("a category has no name", coco)


@pytest.mark.parametrize("change", [{"iscrowd": "0"}, {"iscrowd": 2}, {"area": None}, {"area": float("nan")}])
def test_what_evaluation_could_not_use_is_said_before_training(coco, change):
    coco.content["annotations"][0] |= change
    fails("annotation 1 has iscrowd .* and the area .*; they must be 0 or 1, and a finite number", coco)


def test_any_encoding_of_json_is_evaluated_as_it_was_read(coco):
    coco.file().write_text(json.dumps(coco.content), encoding="utf-16")
    data = read_coco(coco.root / "train2017", coco.file())
    truth = data.ground_truth()
    found = Detections(truth.image, truth.label, truth.box, np.ones(len(truth.label)))
    assert coco_ap(to_coco(found, data.image_ids, data.category_ids), data.annotation_file)["AP"] == pytest.approx(1)


@pytest.mark.parametrize("change", [{"width": 0}, {"height": None}, {"file_name": 3}])
def test_image_without_size_or_name(coco, change):
    coco.content["images"][0] |= change
    fails("image 9 lacks its file_name, width or height", coco)


@pytest.mark.parametrize("image", [5, None, []])
def test_annotation_of_an_unknown_image(coco, image):
    coco.content["annotations"][0]["image_id"] = image
    fails("annotation 1 is of image .*, which the file does not list", coco)


@pytest.mark.parametrize("category", [5, None, []])
def test_annotation_of_an_unknown_category(coco, category):
    coco.content["annotations"][0]["category_id"] = category
    fails("annotation 1 is of category .*; known: 3, 7", coco)


def test_class_that_the_configuration_lacks(coco):
    fails("annotation 1 is of an unknown class 'dog'; known: cat", coco, classes=["cat"])


def test_class_that_the_file_lacks(coco):
    fails(r"unknown class for instances_train2017\.json 'cow'; known: cat, dog", coco, classes=["cat", "cow"])


@pytest.mark.parametrize("bbox", [None, [1, 2, 3], [1, 2, 3, "x"], 5])
def test_bbox_of_another_form(coco, bbox):
    coco.content["annotations"][0]["bbox"] = bbox
    fails("annotation 1 has the bbox .*; it must be x, y, width, height", coco)


def test_bbox_that_is_not_finite(coco):
    coco.content["annotations"][0]["bbox"] = [1, 2, float("nan"), 4]
    fails("it must be x, y, width, height, finite and from -1048576 to 1048576", coco)


def test_missing_image(coco):
    (coco.root / "train2017" / "y.jpg").unlink()
    fails(r"lists y\.jpg, but .*train2017 does not have it", coco)


@pytest.mark.parametrize("name", ["../x.jpg", "/etc/passwd", "a/../../x.jpg"])
def test_names_may_not_leave_the_folder(coco, name):
    coco.content["images"][0]["file_name"] = name
    fails("leads out of", coco)


def test_images_may_lie_in_folders_below(coco):
    (coco.root / "train2017" / "below").mkdir()
    (coco.root / "train2017" / "x.jpg").rename(coco.root / "train2017" / "below" / "x.jpg")
    coco.content["images"][0]["file_name"] = "below/x.jpg"
    assert len(read(coco)) == 2


def test_loader_reads_both_parts(coco):
    train = DataLoader(False, True, 2, root=coco.root, image_size=64)
    test = DataLoader(False, False, 2, root=coco.root, image_size=64)
    assert train.classes == test.classes == ("cat", "dog")
    assert train.next()["targets"][0].shape == (2, 2, 16, 16)


def test_loader_without_data_says_what_to_put_where(tmp_path):
    with pytest.raises(DataError, match="no .*train2017: put the images into .* and their annotations into .*json"):
        DataLoader(True, True, 2, root=tmp_path)


def test_loader_needs_a_root():
    with pytest.raises(ConfigError, match=r"dataloader\.coco\.root is ''; it must name the folder that holds the data"):
        DataLoader(True, True, 2)


@pytest.mark.parametrize("pair", ["train2017", ["train2017"]])
def test_loader_needs_pairs(pair):
    with pytest.raises(
        ConfigError, match=r"dataloader\.coco\.train is .*; it must be \[image folder, instances json\]"
    ):
        DataLoader(True, True, 2, root=".", train=pair)


def test_loader_answers_an_unknown_key_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown key of dataloader\.coco 'years'; known: augment, .*root"):
        DataLoader(True, True, 2, root=".", years=[2007])
