"""Reading a COCO instances file: gaps in ids, crowds, images without boxes, and everything that may be wrong."""

import json
import re

import numpy as np
import pytest

from nnabla_detofa.data import read_coco
from nnabla_detofa.data.coco import DataLoader
from nnabla_detofa.data.flaws import Flaw
from nnabla_detofa.detection import Detections, coco_ap, to_coco
from nnabla_detofa.errors import DataError


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
    bboxes = [[5, 5, 0, 9], [5, 5, 9, -1], [80, 5, 9, 9], [-9, 5, 9, 9], [79.5, 5, 9, 9], [1, 1, 0.5, 0.5]]
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
    assert data.ground_truth().box.tolist() == [[79.5, 5, 88.5, 14], [1, 1, 1.5, 1.5]]


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


@pytest.mark.parametrize("key", ["images", "categories"])
@pytest.mark.parametrize("row", [1, {"name": "x"}, {"id": []}, {"id": ""}, {"id": True}, {"id": 2**63}, {"id": 1.5}])
def test_entries_without_id(coco, key, row):
    coco.content[key].append(row)
    given = f"the id {row['id']!r}" if isinstance(row, dict) and "id" in row else "no id"
    number = len(coco.content[key]) - 1
    fails(re.escape(f"entry {number} of {key} has {given}; it must be a whole number or a name"), coco)


@pytest.mark.parametrize("row", [1, None, "x"])
def test_annotations_that_are_none(coco, row):
    coco.content["annotations"].append(row)
    fails("entry 2 of annotations has no id; it must be", coco)


def test_json_that_is_a_list(coco):
    coco.content = [1]
    fails("not a COCO instances file", coco)


def test_no_images(coco):
    coco.content |= {"images": [], "annotations": []}
    fails("lists no image", coco)


def test_no_categories(coco):
    coco.content |= {"categories": [], "annotations": []}
    fails("must define categories", coco)


def test_folder_in_place_of_the_file(coco):
    with pytest.raises(DataError, match="cannot read the annotations .*train2017: it is no file"):
        read_coco(coco.root / "train2017", coco.root / "train2017")


@pytest.mark.parametrize("row", [{"id": 1}, {"id": 1, "name": []}])
def test_category_without_name(coco, row):
    coco.content["categories"].append(row)
    fails("must define categories", coco)


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"iscrowd": "1"}, Flaw.CROWD),
        ({"iscrowd": True}, Flaw.CROWD),
        ({"iscrowd": None}, None),
        ({"iscrowd": "false"}, None),
        ({"iscrowd": 2}, Flaw.FLAG_UNKNOWN),
        ({"iscrowd": "maybe"}, Flaw.FLAG_UNKNOWN),
        ({"iscrowd": [1]}, Flaw.FLAG_UNKNOWN),
        ({"ignore": 1}, Flaw.IGNORED),
        ({"ignore": "yes"}, Flaw.IGNORED),
        ({"ignore": 0}, None),
        ({"ignore": "Unspecified"}, Flaw.FLAG_UNKNOWN),
        ({"area": None}, Flaw.AREA_UNKNOWN),
        ({"area": float("nan")}, Flaw.AREA_UNKNOWN),
        ({"area": -4}, Flaw.AREA_UNKNOWN),
        ({"bbox": []}, Flaw.BOX_MISSING),
        ({"bbox": None}, Flaw.BOX_MISSING),
        ({"bbox": None, "segmentation": {"counts": [], "size": [60, 80]}}, Flaw.BOX_MISSING),
        ({"bbox": ["10.5", "5", "20", "30.25"]}, None),
        ({"image_id": 5}, Flaw.IMAGE_UNKNOWN),
        ({"image_id": None}, Flaw.IMAGE_UNKNOWN),
        ({"image_id": []}, Flaw.IMAGE_UNKNOWN),
        ({"id": 2}, Flaw.ANNOTATION_ID),
        ({"id": None}, Flaw.ANNOTATION_ID),
    ],
)
def test_what_an_annotation_may_say_oddly_is_counted_and_evaluated(coco, change, flaw):
    coco.content["annotations"][1]["iscrowd"] = 0
    coco.content["annotations"][0] |= change
    data = read(coco)
    flaws = {finding.flaw for finding in data.findings} - {Flaw.NO_BOXES}
    assert flaws == ({flaw} if flaw else set())
    left_out = {Flaw.BOX_MISSING, Flaw.IMAGE_UNKNOWN}
    truth = data.ground_truth()
    assert len(truth.label) == 2 - (flaw in left_out)
    assert truth.difficult.any() == (flaw in (Flaw.CROWD, Flaw.IGNORED))
    assert data.class_counts.sum() == len(truth.label) - (flaw is Flaw.IGNORED)
    assert perfect(data) == pytest.approx(1)


def perfect(data):
    """COCO's AP of the truth itself, where it is to be found."""
    truth = data.ground_truth()
    easy = ~truth.difficult
    found = Detections(truth.image[easy], truth.label[easy], truth.box[easy], np.ones(easy.sum()))
    results = to_coco(found, data.image_ids, data.category_ids)
    return coco_ap(results, data.annotation_file, image_ids=data.image_ids, category_ids=data.category_ids)["AP"]


def test_an_outline_stands_in_for_a_box(coco):
    coco.content["annotations"][0] |= {"bbox": [], "segmentation": [[10, 5, 30, 8, 20, 40], [12, 3, 15, 9, 11, 9]]}
    data = read(coco)
    assert data.ground_truth().box[0].tolist() == [10, 3, 30, 40]
    assert Flaw.BOX_FROM_OUTLINE in {finding.flaw for finding in data.findings}
    assert perfect(data) == pytest.approx(1)


def test_what_is_ignored_is_no_target(coco):
    def targets():
        return DataLoader(False, True, 2, root=coco.write().root, image_size=64).next()["targets"][4].sum()

    before = targets()
    coco.content["annotations"][0]["ignore"] = 1
    assert targets() == before - 1


def test_ignoring_changes_the_digest(coco):
    before = read(coco).digest
    coco.content["annotations"][0]["ignore"] = 1
    assert read(coco).digest != before


@pytest.mark.parametrize(
    "as_id", [str, float, lambda i: f"id {i}", lambda i: f" {i} "], ids=["str", "float", "name", "space"]
)
@pytest.mark.parametrize("keys", [("image_id",), ("category_id",), ("image_id", "category_id")])
def test_ids_may_be_strings(coco, as_id, keys):
    expected = read(coco).ground_truth()
    for key in keys:
        for row in coco.content["images" if key == "image_id" else "categories"]:
            row["id"] = as_id(row["id"])
        for row in coco.content["annotations"]:
            row[key] = as_id(row[key])
    data = read(coco)
    np.testing.assert_array_equal(data.ground_truth().box, expected.box)
    np.testing.assert_array_equal(data.ground_truth().label, expected.label)
    assert {finding.flaw for finding in data.findings} == {Flaw.CROWD, Flaw.NO_BOXES}
    assert perfect(data) == pytest.approx(1)


def test_digits_in_a_string_are_a_number(coco):
    coco.content["images"][0]["id"] = "000009"
    assert read(coco).image_ids == (9, 4)


def test_categories_of_one_name_are_one_class(coco):
    coco.content["categories"].append({"id": 1, "name": "dog "})
    coco.content["annotations"].append({"id": 3, "image_id": 4, "category_id": 1, "bbox": [30, 20, 9, 9]})
    data = read(coco)
    assert data.classes == ("dog", "cat")
    assert [finding.place for finding in data.findings if finding.flaw is Flaw.CATEGORY_REPEATED] == [
        "instances_train2017.json object 7"
    ]
    assert data.class_counts.tolist() == [2, 1]
    assert perfect(data) == pytest.approx(1)


def test_any_encoding_of_json_is_evaluated_as_it_was_read(coco):
    coco.file().write_text(json.dumps(coco.content), encoding="utf-16")
    data = read_coco(coco.root / "train2017", coco.file())
    truth = data.ground_truth()
    found = Detections(truth.image, truth.label, truth.box, np.ones(len(truth.label)))
    assert coco_ap(to_coco(found, data.image_ids, data.category_ids), data.annotation_file)["AP"] == pytest.approx(1)


@pytest.mark.parametrize("name", [None, ""])
def test_image_without_name(coco, name):
    coco.content["images"][0]["file_name"] = name
    fails("image 9 lacks its file_name", coco)


@pytest.mark.parametrize("change", [{"width": 0}, {"height": None}, {"width": "x"}, {"height": 60.5}, {"width": -80}])
def test_a_size_that_is_missing_is_read_from_the_image(coco, change):
    coco.content["images"][0] |= change
    data = read(coco)
    assert data.images[0].size == (80, 60)
    assert Flaw.SIZE_MISSING in {finding.flaw for finding in data.findings}


def test_a_size_in_a_string_is_a_size(coco):
    coco.content["images"][0] |= {"width": "80", "height": "60.0"}
    data = read(coco)
    assert data.images[0].size == (80, 60)
    assert Flaw.SIZE_MISSING not in {finding.flaw for finding in data.findings}


def test_a_size_that_is_missing_and_an_image_that_is_damaged(coco):
    del coco.content["images"][0]["width"]
    (coco.root / "train2017" / "x.jpg").write_bytes(b"no image")
    fails("cannot decode the image .*x.jpg", coco)


@pytest.mark.parametrize("category", [5, None, []])
def test_annotation_of_an_unknown_category(coco, category):
    coco.content["annotations"][0]["category_id"] = category
    fails("annotation 1 is of category .*; known: 3, 7", coco)


def test_a_list_of_classes_selects(coco):
    coco.content["annotations"][1]["iscrowd"] = 0
    data = read(coco, classes=["cat"])
    assert (data.classes, data.category_ids, data.ground_truth().label.tolist()) == (("cat",), (3,), [0])
    assert [(one.flaw, one.place, one.detail) for one in data.findings if one.flaw is Flaw.CLASS_LEFT_OUT] == [
        (Flaw.CLASS_LEFT_OUT, "x.jpg object 1", "'dog'")
    ]
    assert perfect(data) == pytest.approx(1)  # the dog is no object that was missed


def test_a_class_that_the_file_lacks_has_no_objects(coco):
    data = read(coco, classes=["cow", "dog", "cat"])
    assert data.category_ids == (None, 7, 3)
    assert data.class_counts.tolist() == [0, 1, 1]
    found = Detections(np.zeros(2, int), np.array([0, 1]), np.array([[1, 1, 9, 9], [10.5, 5, 30.5, 35.25]]), np.ones(2))
    assert [row["category_id"] for row in to_coco(found, data.image_ids, data.category_ids)] == [7]


def test_none_of_the_classes(coco):
    fails("instances_train2017 has no object of the classes cow, hen; it has cat, dog", coco, classes=["cow", "hen"])


def test_classes_of_the_training_split_leave_others_of_the_test_split_out(coco):
    coco.content["annotations"][1]["iscrowd"] = 0
    coco.write("train")
    coco.content["categories"] = [{"id": 1, "name": "owl"}, {"id": 9, "name": "dog"}]  # other ids, another order
    for row in coco.content["annotations"]:
        row["category_id"] = {7: 9, 3: 1}[row["category_id"]]
    coco.write("val")
    loader = DataLoader(False, False, 2, root=coco.root, image_size=64)
    assert loader.classes == ("cat", "dog")
    assert loader.dataset.category_ids == (None, 9)
    assert loader.dataset.ground_truth().label.tolist() == [1]
    (said,) = [one for one in loader.dataset.findings if one.flaw is Flaw.CLASS_ONLY_IN_TEST]
    assert said.detail == "'owl'; dataloader.coco.classes=[cat, dog, owl] adds it"


@pytest.mark.parametrize("bbox", [[1, 2, 3], [1, 2, 3, "x"], 5, {"x": 1}])
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


@pytest.mark.parametrize(
    "name",
    [
        "below\\x y.JPG",
        ".\\below\\x y.JPG",
        "/home/me/set/below/x y.JPG",
        "C:\\set\\below\\x y.JPG",
        "https://host/set/below/x%20y.JPG",
        "file:///set/below/x y.JPG",
        "below/x%20y.JPG",
        "below//x y.JPG",
        "below/x y.jpg",
        "below/X Y.jpg",
        "below/x y",
        "below/x y.png",
    ],
)
def test_names_of_other_systems_are_read_as_the_file_that_they_must_mean(coco, name):
    (coco.root / "train2017" / "below").mkdir()
    (coco.root / "train2017" / "x.jpg").rename(coco.root / "train2017" / "below" / "x y.JPG")
    coco.content["images"][0]["file_name"] = name
    data = read(coco)
    assert data.images[0].file == coco.root / "train2017" / "below" / "x y.JPG"
    assert Flaw.NAME_MENDED in {finding.flaw for finding in data.findings}


def test_two_names_that_lead_to_one_file(coco):
    for row, name in zip(coco.content["images"], ("/a/x.jpg", "/b/x.jpg"), strict=True):
        row["file_name"] = name
    fails("images 9 and 4, named '/a/x.jpg' and '/b/x.jpg', lead to the same file, .*x.jpg; an image needs", coco)


def test_two_images_of_one_file(coco):  # as of a converter that writes an image for each object
    first, second = coco.content["images"]
    second.update(file_name=first["file_name"], width=first["width"], height=first["height"])
    fails("images 9 and 4, named .*, lead to the same file, .*; an image needs all its objects", coco)


def test_an_image_that_is_listed_twice_counts_once(coco):
    coco.content["images"].append(coco.content["images"][0])
    data = read(coco)
    assert data.image_ids == (9, 4)
    assert [one.flaw for one in data.findings if one.flaw.severity] == [Flaw.LISTED_TWICE]


def test_a_byte_order_mark_is_no_damage(coco):
    coco.write().file().write_bytes(b"\xef\xbb\xbf" + coco.file().read_bytes())
    data = read_coco(coco.root / "train2017", coco.file())
    assert len(data) == 2
    assert perfect(data) == pytest.approx(1)


def test_loader_reads_both_parts(coco):
    train = DataLoader(False, True, 2, root=coco.root, image_size=64)
    test = DataLoader(False, False, 2, root=coco.root, image_size=64)
    assert train.classes == test.classes == ("cat", "dog")
    assert train.next()["targets"][0].shape == (2, 2, 16, 16)


def test_what_took_all_objects_is_said(coco):
    for row in coco.content["annotations"]:
        row["image_id"] += 100
    message = "nothing can be learnt \\(2 x annotation of an image that is not listed\\)$"
    with pytest.raises(DataError, match=message):
        DataLoader(False, True, 2, root=coco.write().root, image_size=64)


def test_loader_without_data_says_what_to_put_where(tmp_path):
    with pytest.raises(DataError, match="no .*train2017: put the images into .* and their annotations into .*json"):
        DataLoader(True, True, 2, root=tmp_path)
