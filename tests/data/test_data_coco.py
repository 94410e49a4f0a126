"""Reading a COCO instances file: gaps in ids, crowds, images without boxes, and everything that may be wrong."""

import json

import numpy as np
import pytest

from nnabla_detofa.data import read_coco
from nnabla_detofa.data.coco import DataLoader
from nnabla_detofa.data.flaws import Flaw
from nnabla_detofa.detection import Detections, coco_ap, to_coco
from nnabla_detofa.errors import DataError

PARTS = ["images", "annotations", "categories"]
NO_ID = [1, {"name": "x"}, {"id": []}, {"id": ""}, {"id": True}, {"id": 2**63}, {"id": 1.5}]


def read(coco, **options):
    return read_coco(coco.root / "train2017", coco.write().file(), **options)


def change(part, number=0, **values):
    """Changes an entry of the file."""
    return lambda coco: coco.content[part][number].update(values)


def append(part, row):
    """Adds an entry."""
    return lambda coco: coco.content[part].append(row)


def same_file(*names):
    """Gives both images names."""
    return lambda coco: [row.update(file_name=name) for row, name in zip(coco.content["images"], names, strict=True)]


REFUSED = [
    *(
        (lambda coco, key=key, v=v: coco.content.update({key: v}), "no list of")
        for key in PARTS
        for v in (None, {}, "x")
    ),
    *((append(key, row), f"{key} has (the id|no id)") for key in ("images", "categories") for row in NO_ID),
    *((append("annotations", row), "entry 2 of annotations has no id") for row in (1, None, "x")),
    (lambda coco: setattr(coco, "content", [1]), "not a COCO instances file"),
    (lambda coco: coco.content.update(images=[], annotations=[]), "lists no image"),
    (lambda coco: coco.content.update(categories=[], annotations=[]), "must define categories"),
    *(
        (append("categories", row), "must define categories")
        for row in ({"id": 1}, {"id": 1, "name": []}, {"id": 9, "name": " "})
    ),
    *((change("images", file_name=name), "lacks its file_name") for name in (None, "")),
    *((change("images", file_name=name), "leads out of") for name in ("../x.jpg", "/etc/passwd", "a/../../x.jpg")),
    (change("images", file_name="z.jpg"), r"lists z\.jpg, but .*train2017 does not have it"),
    (same_file("/a/x.jpg", "/b/x.jpg"), "images 9 and 4, named '/a/x.jpg' and '/b/x.jpg', lead to the same file"),
    (same_file("x.jpg", "x.jpg"), "lead to the same file"),  # as of a converter that writes an image for each object
    (
        lambda coco: [coco.content["images"][0].pop("width"), coco.image("x.jpg").write_bytes(b"no")],
        "cannot decode .*x.jpg",
    ),
    *((change("annotations", category_id=one), "is of category .*; known: 3, 7") for one in (5, None, [])),
    *((change("annotations", bbox=one), "has the bbox") for one in ([1, 2, 3], [1, 2, 3, "x"], 5, {"x": 1})),
    *((change("annotations", bbox=[1, 2, one, 4]), "finite and from -1048576") for one in (float("nan"), 2**20)),
    (lambda coco: coco.file().unlink(), "cannot read the annotations .*: No such file"),
    (lambda coco: [coco.file().unlink(), coco.file().mkdir()], "cannot read the annotations .*: it is no file"),
]


@pytest.mark.parametrize(("spoil", "said"), REFUSED)
def test_what_is_refused(coco, spoil, said):
    before = coco.file().stat()
    spoil(coco)
    if coco.file().is_file() and coco.file().stat() == before:
        coco.write()
    with pytest.raises(DataError, match=said) as caught:
        read_coco(coco.root / "train2017", coco.file())
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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_any_encoding_of_json_is_evaluated_as_it_was_read(coco, encoding):
    coco.file().write_text(json.dumps(coco.content), encoding=encoding)
    assert perfect(read_coco(coco.root / "train2017", coco.file())) == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        *(({side: value}, True) for side in ("width", "height") for value in (0, None, "x", 60.5, -80)),
        ({"width": "80", "height": "60.0"}, False),
    ],
)
def test_sizes_that_are_missing_are_read_from_the_image(coco, change, missing):
    coco.content["images"][0] |= change
    data = read(coco)
    assert data.images[0].size == (80, 60)
    assert (Flaw.SIZE_MISSING in {finding.flaw for finding in data.findings}) == missing


def test_what_is_ignored_is_no_target_and_another_data_set(coco):
    def targets():
        loader = DataLoader(False, True, 2, root=coco.write().root, image_size=64)
        return loader.next()["targets"][4].sum(), loader.split_digest

    (before, digest) = targets()
    coco.content["annotations"][0]["ignore"] = 1
    after, other = targets()
    assert (after, other != digest) == (before - 1, True)


@pytest.mark.parametrize("text", ["{", "", b"\xff\xfe\xff"])
def test_broken_json(coco, text):
    coco.file().write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match=r"instances_train2017\.json is not JSON: "):
        read_coco(coco.root / "train2017", coco.file())


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


@pytest.mark.parametrize(
    "as_id",
    [str, float, lambda i: f"id {i}", lambda i: f" {i} ", lambda i: f"00{i}"],
    ids=["str", "float", "name", "space", "zeros"],
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


def test_a_list_of_classes_selects(coco):
    coco.content["annotations"][1]["iscrowd"] = 0
    data = read(coco, classes=["cat"])
    assert (data.classes, data.category_ids, data.ground_truth().label.tolist()) == (("cat",), (3,), [0])
    assert [(one.flaw, one.place, one.detail) for one in data.findings if one.flaw is Flaw.CLASS_LEFT_OUT] == [
        (Flaw.CLASS_LEFT_OUT, "x.jpg object 1", "'dog'")
    ]
    assert perfect(data) == pytest.approx(1)  # the dog is no object that was missed


def test_a_class_that_the_file_lacks_has_no_objects(coco):
    with pytest.raises(DataError, match="instances_train2017 has no object of the classes cow, hen; it has cat, dog"):
        read(coco, classes=["cow", "hen"])
    data = read(coco, classes=["cow", "dog", "cat"])
    assert data.category_ids == (None, 7, 3)
    assert data.class_counts.tolist() == [0, 1, 1]
    found = Detections(np.zeros(2, int), np.array([0, 1]), np.array([[1, 1, 9, 9], [10.5, 5, 30.5, 35.25]]), np.ones(2))
    assert [row["category_id"] for row in to_coco(found, data.image_ids, data.category_ids)] == [7]


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


def test_an_image_that_is_listed_twice_counts_once(coco):
    coco.content["images"].append(coco.content["images"][0])
    data = read(coco)
    assert data.image_ids == (9, 4)
    assert [one.flaw for one in data.findings if one.flaw.severity] == [Flaw.LISTED_TWICE]


def test_what_took_all_objects_is_said(coco):
    for row in coco.content["annotations"]:
        row["image_id"] += 100
    message = "nothing can be learnt \\(2 x annotation of an image that is not listed\\)$"
    with pytest.raises(DataError, match=message):
        DataLoader(False, True, 2, root=coco.write().root, image_size=64)


def test_loader_without_data_says_what_to_put_where(tmp_path):
    with pytest.raises(DataError, match="no .*train2017: put the images into .* and their annotations into .*json"):
        DataLoader(True, True, 2, root=tmp_path)
