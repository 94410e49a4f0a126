"""COCO AP: pycocotools' figures, without its prints, its traps and its bare errors."""

import copy
import json
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nnabla_detofa.detection import Detections, coco_ap, to_coco
from nnabla_detofa.errors import DataError

coco_ap_module = sys.modules[coco_ap.__module__]
METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
CATEGORIES = [3, 7, 90]  # gaps, as in COCO
IMAGES = [42, 5, 1000, 8]  # no order, as in COCO


def annotation(number, image, category, bbox, **more):
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": bbox,
        "area": bbox[2] * bbox[3],
        "iscrowd": 0,
    } | more


def random_boxes(rng, n):
    return np.concatenate([rng.uniform(0, 200, (n, 2)), rng.uniform(5, 150, (n, 2))], axis=1).round(2).tolist()


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    rows = enumerate(random_boxes(rng, 30), start=1)
    annotations = [annotation(n, int(rng.choice(IMAGES[:3])), int(rng.choice(CATEGORIES)), box) for n, box in rows]
    annotations[0]["iscrowd"] = 1
    return {
        "images": [{"id": i, "width": 350, "height": 350} for i in IMAGES],
        "categories": [{"id": c, "name": f"c{c}"} for c in CATEGORIES],
        "annotations": annotations,
    }


@pytest.fixture
def noisy(dataset):
    """Detections near the objects, and some that are nowhere near."""
    rng = np.random.default_rng(1)
    near = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "score": float(rng.random())}
        | {"bbox": (np.array(a["bbox"]) + rng.uniform(-6, 6, 4)).tolist()}
        for a in dataset["annotations"]
    ]
    far = [
        {"image_id": int(rng.choice(IMAGES)), "category_id": int(rng.choice(CATEGORIES)), "bbox": box}
        | {"score": float(rng.random())}
        for box in random_boxes(rng, 30)
    ]
    return near + far


@pytest.fixture
def file(tmp_path, dataset):
    return written(tmp_path, dataset)


def written(folder, content):
    file = folder / "instances.json"
    file.write_text(json.dumps(content))
    return file


def perfect(dataset):
    keys = ("image_id", "category_id", "bbox")
    return [{key: a[key] for key in keys} | {"score": 0.5} for a in dataset["annotations"] if not a["iscrowd"]]


def test_equals_pycocotools_used_by_hand(file, noisy, capsys):
    result = coco_ap(noisy, file)
    assert capsys.readouterr() == ("", "")
    truth = COCO(str(file))
    evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(noisy)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert list(result) == METRICS
    np.testing.assert_allclose(list(result.values()), evaluation.stats)
    assert 0.05 < result["AP"] < result["AP50"] < 0.95


def test_perfect_detections_score_one(file, dataset):
    result = coco_ap(perfect(dataset), str(file))
    assert result["AP"] == pytest.approx(1)
    assert result["AR100"] == pytest.approx(1)


def test_detections_may_come_in_any_order_and_stay_as_they_were(file, noisy):
    before = copy.deepcopy(noisy)
    assert coco_ap(noisy, file) == pytest.approx(coco_ap(iter(noisy[::-1]), file))
    assert noisy == before


def test_nothing_found_is_zero_where_there_is_something_to_find(tmp_path, dataset):
    dataset["annotations"] = [annotation(1, 5, 3, [0, 0, 10, 10])]
    result = coco_ap([], written(tmp_path, dataset))
    small = ("AP", "AP50", "AP75", "APs", "AR1", "AR10", "AR100", "ARs")
    assert result == pytest.approx({name: 0.0 if name in small else np.nan for name in METRICS}, nan_ok=True)


def test_nothing_to_find_is_nan(tmp_path, dataset):
    detections = perfect(dataset)
    dataset["annotations"] = []
    assert all(np.isnan(value) for value in coco_ap(detections, written(tmp_path, dataset)).values())


def test_an_object_numbered_zero_can_be_found(tmp_path, dataset):
    """pycocotools alone takes it for missed."""
    dataset["annotations"] = [annotation(0, 5, 3, [0, 0, 50, 50])]
    assert coco_ap(perfect(dataset), written(tmp_path, dataset))["AP"] == pytest.approx(1)


def test_area_and_crowd_may_be_left_out(tmp_path, dataset, noisy):
    dataset["annotations"][0]["iscrowd"] = 0
    expected = coco_ap(noisy, written(tmp_path, dataset))
    for row in dataset["annotations"]:
        del row["area"], row["iscrowd"]
    assert coco_ap(noisy, written(tmp_path, dataset)) == pytest.approx(expected)


def test_an_area_among_the_detections_is_not_believed(file, noisy):
    assert coco_ap([row | {"area": 1e9} for row in noisy], file) == coco_ap(noisy, file)


def test_only_the_images_asked_for_are_evaluated(tmp_path, dataset, noisy):
    some = coco_ap(noisy, written(tmp_path, dataset), image_ids=IMAGES[:2])
    for key, name in (("images", "id"), ("annotations", "image_id")):
        dataset[key] = [row for row in dataset[key] if row[name] in IMAGES[:2]]
    fewer = [row for row in noisy if row["image_id"] in IMAGES[:2]]
    assert some == pytest.approx(coco_ap(fewer, written(tmp_path, dataset)))


def test_a_part_of_a_file_is_read_once_until_the_file_changes(tmp_path, dataset, noisy, monkeypatch):
    """Each detector that a search finds is measured on the same part; COCO's file takes half a minute to read."""
    reads, read = [], coco_ap_module.read_instances
    monkeypatch.setattr(coco_ap_module, "read_instances", lambda file: reads.append(1) or read(file))
    file, some = written(tmp_path, dataset), {"image_ids": IMAGES[:2], "category_ids": [3, 7, None]}
    first = coco_ap(noisy, file, **some)
    assert coco_ap(noisy, file, **some) == pytest.approx(first, nan_ok=True)
    assert len(reads) == 1
    others = coco_ap(noisy, file, image_ids=IMAGES[2:], category_ids=[3, 7, None])
    assert others["AP"] != pytest.approx(first["AP"])
    assert coco_ap(perfect(dataset), file, **some)["AP"] == pytest.approx(1)
    assert len(reads) == 2
    dataset["annotations"] = [a for a in dataset["annotations"] if a["category_id"] != 7]
    coco_ap(noisy, written(tmp_path, dataset), **some)
    assert len(reads) == 3


def test_detections_become_result_dicts_that_json_can_hold():
    detections = Detections(
        image=np.array([2, 0]),
        label=np.array([1, 2]),
        box=np.array([[10.0, 20, 30, 60], [0, 0, 5, 6]], np.float32),
        score=np.array([0.123456, 1], np.float32),
    )
    rows = to_coco(detections, IMAGES, np.array(CATEGORIES))
    assert json.loads(json.dumps(rows)) == rows
    assert rows[0] == {"image_id": 1000, "category_id": 7, "bbox": [10, 20, 20, 40], "score": pytest.approx(0.123456)}
    assert rows[1] == {"image_id": 42, "category_id": 90, "bbox": [0, 0, 5, 6], "score": 1}
    assert to_coco(Detections([], [], [], []), IMAGES, CATEGORIES) == []


def test_converted_objects_are_perfect_detections(file, dataset):
    rows = perfect(dataset)
    low = np.array([row["bbox"][:2] for row in rows])
    detections = Detections(
        image=np.array([IMAGES.index(row["image_id"]) for row in rows]),
        label=np.array([CATEGORIES.index(row["category_id"]) for row in rows]),
        box=np.concatenate([low, low + [row["bbox"][2:] for row in rows]], axis=1),
        score=np.ones(len(rows)),
    )
    assert coco_ap(to_coco(detections, IMAGES, CATEGORIES), file)["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": [4]}, r"^detections\.image holds 4; with 4 images it must be 0 to 3$"),
        ({"label": [-1]}, r"^detections\.label holds -1; with 3 classes it must be 0 to 2$"),
        ({"score": [1, 2]}, r"^detections\.score has shape \(2,\), but there are 1 boxes; it must be \(1,\)$"),
    ],
)
def test_detections_outside_the_lists_are_said(change, message):
    detections = Detections(image=[0], label=[0], box=[[0, 0, 1, 1]], score=[1.0])._replace(**change)
    with pytest.raises(DataError, match=message):
        to_coco(detections, IMAGES, CATEGORIES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 6}, r"^detection 0 is of image 6, which the annotations do not list$"),
        ({"category_id": 1}, r"^detection 0 is of category 1; known: 3, 7, 90$"),
        ({"bbox": [0, 0, 1]}, r"^detection 0 has the bbox \[0, 0, 1\]; it must be x, y, width, height$"),
        ({"image_id": []}, r"^detection 0 is of image \[\], which the annotations do not list$"),
        ({"category_id": []}, r"^detection 0 is of category \[\]; known: 3, 7, 90$"),
        ({"bbox": [0, 0, 1, np.nan]}, r"^detection 0 has the bbox \[0, 0, 1, nan\]; it must be x, y, width, height$"),
        ({"score": "1"}, r"^detection 0 has a score that is no finite number: {.*'score': '1'}$"),
        ({"bbox": None}, r"^detection 0 has the bbox None; it must be x, y, width, height$"),
    ],
)
def test_detections_of_another_data_set_are_said(file, change, message):
    detection = {"image_id": 5, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 1.0} | change
    with pytest.raises(DataError, match=message):
        coco_ap([detection], file)


@pytest.mark.parametrize("row", [{"image_id": 5, "bbox": [0, 0, 1, 1], "category_id": 3}, "no dict"])
def test_incomplete_detections_are_said(file, row):
    with pytest.raises(
        DataError, match=r"^detection 0 lacks .*score; it must have image_id, category_id, bbox, score$"
    ):
        coco_ap([row], file)


def test_incomplete_annotations_are_said(tmp_path, dataset):
    del dataset["annotations"][3]["category_id"]
    with pytest.raises(
        DataError, match=r"instances\.json: annotation 3 lacks category_id; it must have image_id, category_id$"
    ):
        coco_ap([], written(tmp_path, dataset))


@pytest.mark.parametrize("key", ["images", "categories"])
def test_entries_without_id_are_said(tmp_path, dataset, key):
    del dataset[key][1]["id"]
    with pytest.raises(
        DataError, match=rf"instances\.json: entry 1 of {key} has no id; it must be a whole number or a name$"
    ):
        coco_ap([], written(tmp_path, dataset))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"instances\.json is not JSON: "),
        ("[" * 100_000, r"instances\.json is not JSON: maximum recursion depth"),
        ('{"images": [], "images": []}', r"is not JSON: an object has the key 'images' more than once$"),
        ("[]", r"instances\.json is not a COCO instances file: it has no list of images$"),
        ('{"images": [], "annotations": {}}', r"is not a COCO instances file: it has no list of annotations$"),
    ],
)
def test_a_broken_file_is_said(tmp_path, text, message):
    file = tmp_path / "instances.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        coco_ap([], file)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(DataError, match=r"^cannot read the annotations .*none\.json: No such file or directory$"):
        coco_ap([], tmp_path / "none.json")


def test_an_image_that_the_file_lacks_is_said(file):
    with pytest.raises(DataError, match=r"^image 6 is to be evaluated, but .*instances\.json does not list it$"):
        coco_ap([], file, image_ids=[5, 6])


def test_what_is_wrong_with_other_categories_does_not_matter(tmp_path, dataset, noisy):
    some = coco_ap(noisy, written(tmp_path, dataset), category_ids=[7])
    for row in dataset["annotations"]:
        row["bbox"] = row["bbox"] if row["category_id"] == 7 else [1, 2, 3]
    assert coco_ap(noisy, written(tmp_path, dataset), category_ids=[7]) == some


def test_categories_of_one_name_are_one(tmp_path, dataset, noisy):
    for row in [*dataset["annotations"], *noisy]:
        row["category_id"] = 3
    expected = coco_ap(noisy, written(tmp_path, dataset), category_ids=[3])
    dataset["categories"][1]["name"] = dataset["categories"][0]["name"]
    for row in [*dataset["annotations"][::2], *noisy[::3]]:
        row["category_id"] = 7
    for some in ([3], [7], [3, 7]):
        assert coco_ap(noisy, written(tmp_path, dataset), category_ids=some) == pytest.approx(expected)


@pytest.mark.parametrize("change", [{"bbox": []}, {"bbox": None}, {"image_id": 6}, {"image_id": None}])
def test_what_cannot_be_found_is_left_out(tmp_path, dataset, noisy, change):
    without = copy.deepcopy(dataset)
    del without["annotations"][3]
    dataset["annotations"][3] |= change
    assert coco_ap(noisy, written(tmp_path, dataset)) == coco_ap(noisy, written(tmp_path, without))


def test_ignored_objects_count_as_crowds(tmp_path, dataset, noisy):
    crowd = copy.deepcopy(dataset)
    crowd["annotations"][3]["iscrowd"] = 1
    dataset["annotations"][3]["ignore"] = 1
    expected = coco_ap(noisy, written(tmp_path, crowd))
    assert coco_ap(noisy, written(tmp_path, dataset)) == expected
    del dataset["annotations"][3]["ignore"]
    assert coco_ap(noisy, written(tmp_path, dataset)) != expected


def test_ids_that_are_names_change_nothing(tmp_path, dataset, noisy):
    expected = coco_ap(noisy, written(tmp_path, dataset), image_ids=IMAGES[:2])
    for row in dataset["images"]:
        row["id"] = f"image {row['id']:04d}"
    for row in [*dataset["annotations"], *noisy]:
        row["image_id"] = f"image {row['image_id']:04d}"
    named = [f"image {one:04d}" for one in IMAGES[:2]]
    assert coco_ap(noisy, written(tmp_path, dataset), image_ids=named) == expected


def test_only_the_categories_asked_for_are_evaluated(tmp_path, dataset, noisy):
    some = coco_ap(noisy, written(tmp_path, dataset), category_ids=[7, None, 90])
    for rows, name in ((dataset["categories"], "id"), (dataset["annotations"], "category_id"), (noisy, "category_id")):
        rows[:] = [row for row in rows if row[name] != 3]
    assert some == pytest.approx(coco_ap(noisy, written(tmp_path, dataset)))
