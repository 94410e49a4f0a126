"""COCO AP: pycocotools' figures, without its prints, its traps and its bare errors."""

import copy
import json
import sys

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nnabla_detofa.detection import Detections, as_flag, bbox_of, coco_ap, to_coco
from nnabla_detofa.errors import DataError

coco_ap_module = sys.modules[coco_ap.__module__]
METRICS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
CATEGORIES = [3, 7, 90]  # gaps, as in COCO
IMAGES = [42, 5, 1000, 8]  # no order, as in COCO


def annotation(number, image, category, bbox):
    row = {"id": number, "image_id": image, "category_id": category, "bbox": bbox}
    return row | {"area": bbox[2] * bbox[3], "iscrowd": 0}


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
def score(tmp_path):
    """COCO's figures of detections on a content of the annotations' file."""

    def score(detections, content, **some):
        file = tmp_path / "instances.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return coco_ap(detections, file, **some)

    return score


def perfect(dataset):
    keys = ("image_id", "category_id", "bbox")
    return [{key: a[key] for key in keys} | {"score": 0.5} for a in dataset["annotations"] if not a["iscrowd"]]


def test_equals_pycocotools_used_by_hand(score, dataset, noisy, capsys, tmp_path):
    result = score(noisy, dataset)
    assert capsys.readouterr() == ("", "")
    truth = COCO(str(tmp_path / "instances.json"))
    evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(noisy)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert list(result) == METRICS
    np.testing.assert_allclose(list(result.values()), evaluation.stats)
    assert 0.05 < result["AP"] < result["AP50"] < 0.95


def test_detections_may_come_in_any_order_with_any_area_and_stay_as_they_were(score, dataset, noisy):
    before, expected = copy.deepcopy(noisy), score(noisy, dataset)
    assert score(iter(noisy[::-1]), dataset) == pytest.approx(expected)
    assert noisy == before
    assert score([row | {"area": 1e9, "iscrowd": 1} for row in noisy], dataset) == expected


def test_nothing_found_is_zero_and_nothing_to_find_is_nan(score, dataset):
    detections = perfect(dataset)
    dataset["annotations"] = [annotation(1, 5, 3, [0, 0, 10, 10])]
    small = ("AP", "AP50", "AP75", "APs", "AR1", "AR10", "AR100", "ARs")
    expected = {name: 0.0 if name in small else np.nan for name in METRICS}
    assert score([], dataset) == pytest.approx(expected, nan_ok=True)
    assert all(np.isnan(value) for value in score(detections, dataset | {"annotations": []}).values())


def test_an_object_numbered_zero_can_be_found(score, dataset):
    """pycocotools alone takes it for missed."""
    dataset["annotations"] = [annotation(0, 5, 3, [0, 0, 50, 50])]
    assert score(perfect(dataset), dataset)["AP"] == pytest.approx(1)


def test_area_and_crowd_may_be_left_out(score, dataset, noisy):
    dataset["annotations"][0]["iscrowd"] = 0
    expected = score(noisy, dataset)
    for row in dataset["annotations"]:
        del row["area"], row["iscrowd"]
    assert score(noisy, dataset) == pytest.approx(expected)


def test_only_the_images_asked_for_are_evaluated(score, dataset, noisy):
    some = score(noisy, dataset, image_ids=IMAGES[:2])
    for key, name in (("images", "id"), ("annotations", "image_id")):
        dataset[key] = [row for row in dataset[key] if row[name] in IMAGES[:2]]
    assert some == pytest.approx(score([row for row in noisy if row["image_id"] in IMAGES[:2]], dataset))


def test_a_part_of_a_file_is_read_once_until_the_file_changes(score, dataset, noisy, monkeypatch, tmp_path):
    """Each detector that a search finds is measured on the same part; COCO's file takes half a minute to read."""
    reads, read = [], coco_ap_module.read_instances
    monkeypatch.setattr(coco_ap_module, "read_instances", lambda file: reads.append(1) or read(file))
    some, file = {"image_ids": IMAGES[:2], "category_ids": [3, 7, None]}, tmp_path / "instances.json"
    first = score(noisy, dataset, **some)
    assert coco_ap(noisy, file, **some) == pytest.approx(first, nan_ok=True)
    assert len(reads) == 1
    assert coco_ap(noisy, file, **some | {"image_ids": IMAGES[2:]})["AP"] != pytest.approx(first["AP"])
    assert coco_ap(perfect(dataset), file, **some)["AP"] == pytest.approx(1)
    assert len(reads) == 2
    dataset["annotations"] = [a for a in dataset["annotations"] if a["category_id"] != 7]
    score(noisy, dataset, **some)
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


def test_perfect_detections_score_one_converted_or_not(score, dataset):
    rows = perfect(dataset)
    low, sides = np.split(np.array([row["bbox"] for row in rows]), 2, axis=1)
    detections = Detections(
        image=np.array([IMAGES.index(row["image_id"]) for row in rows]),
        label=np.array([CATEGORIES.index(row["category_id"]) for row in rows]),
        box=np.concatenate([low, low + sides], axis=1),
        score=np.ones(len(rows)),
    )
    for found in (rows, to_coco(detections, IMAGES, CATEGORIES)):
        result = score(found, dataset)
        assert result["AP"] == result["AR100"] == pytest.approx(1)


@pytest.mark.parametrize(("column", "given"), [("image", [4]), ("label", [-1]), ("score", [1, 2]), ("box", [[0, 0]])])
def test_detections_outside_the_lists(column, given):
    detections = Detections(image=[0], label=[0], box=[[0, 0, 1, 1]], score=[1.0])._replace(**{column: given})
    with pytest.raises(DataError, match=rf"detections\.{column} "):
        to_coco(detections, IMAGES, CATEGORIES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image_id": 6}, "image 6"),
        ({"image_id": []}, r"image \[\]"),
        ({"category_id": 1}, "category 1; known: 3, 7, 90"),
        ({"category_id": []}, r"category \[\]; known"),
        *(({"bbox": bbox}, "bbox") for bbox in ([0, 0, 1], [0, 0, 1, np.nan], None)),
        *(({"score": score}, "score") for score in ("1", np.inf)),
    ],
)
def test_detections_of_another_data_set(score, dataset, change, said):
    detection = {"image_id": 5, "category_id": 3, "bbox": [0, 0, 1, 1], "score": 1.0}
    with pytest.raises(DataError, match=f"detection 1 .*{said}"):
        score([detection, detection | change], dataset)


@pytest.mark.parametrize("row", [{"image_id": 5, "bbox": [0, 0, 1, 1], "category_id": 3}, "no dict"])
def test_incomplete_detections(score, dataset, row):
    with pytest.raises(DataError, match="detection 0 lacks .*score"):
        score([row], dataset)


@pytest.mark.parametrize(
    ("part", "key", "said"),
    [
        ("annotations", "category_id", "annotation 1 lacks category_id"),
        ("images", "id", "entry 1 of images has no id"),
        ("categories", "id", "entry 1 of categories has no id"),
    ],
)
def test_incomplete_files(score, dataset, part, key, said):
    del dataset[part][1][key]
    with pytest.raises(DataError, match=said):
        score([], dataset)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"images": [], "images": []}', "'images' more than once"),
        ("[]", "no list of images"),
        ('{"images": [], "annotations": {}}', "no list of annotations"),
    ],
)
def test_broken_files(score, text, said):
    with pytest.raises(DataError, match=said):
        score([], text)


def test_files_and_images_that_are_not_there(score, dataset, tmp_path):
    with pytest.raises(DataError, match="No such file"):
        coco_ap([], tmp_path / "none.json")
    with pytest.raises(DataError, match="image 6 "):
        score([], dataset, image_ids=[5, 6])


def test_what_is_wrong_with_other_categories_does_not_matter(score, dataset, noisy):
    some = score(noisy, dataset, category_ids=[7])
    for row in dataset["annotations"]:
        row["bbox"] = row["bbox"] if row["category_id"] == 7 else [1, 2, 3]
    assert score(noisy, dataset, category_ids=[7]) == some


def test_categories_of_one_name_are_one(score, dataset, noisy):
    for row in [*dataset["annotations"], *noisy]:
        row["category_id"] = 3
    expected = score(noisy, dataset, category_ids=[3])
    dataset["categories"][1]["name"] = dataset["categories"][0]["name"]
    for row in [*dataset["annotations"][::2], *noisy[::3]]:
        row["category_id"] = 7
    for some in ([3], [7], [3, 7]):
        assert score(noisy, dataset, category_ids=some) == pytest.approx(expected)


@pytest.mark.parametrize("change", [{"bbox": []}, {"bbox": None}, {"image_id": 6}, {"image_id": None}])
def test_what_cannot_be_found_is_left_out(score, dataset, noisy, change):
    without = copy.deepcopy(dataset)
    del without["annotations"][3]
    dataset["annotations"][3] |= change
    assert score(noisy, dataset) == score(noisy, without)


def test_ignored_objects_count_as_crowds(score, dataset, noisy):
    crowd = copy.deepcopy(dataset)
    crowd["annotations"][3]["iscrowd"] = 1
    dataset["annotations"][3]["ignore"] = 1
    expected = score(noisy, crowd)
    assert score(noisy, dataset) == expected
    del dataset["annotations"][3]["ignore"]
    assert score(noisy, dataset) != expected


def test_ids_that_are_names_change_nothing(score, dataset, noisy):
    expected = score(noisy, dataset, image_ids=IMAGES[:2])
    for row in dataset["images"]:
        row["id"] = f"image {row['id']:04d}"
    for row in [*dataset["annotations"], *noisy]:
        row["image_id"] = f"image {row['image_id']:04d}"
    named = [f"image {one:04d}" for one in IMAGES[:2]]
    assert score(noisy, dataset, image_ids=named) == expected


def test_only_the_categories_asked_for_are_evaluated(score, dataset, noisy):
    some = score(noisy, dataset, category_ids=[7, None, 90])
    for rows, name in ((dataset["categories"], "id"), (dataset["annotations"], "category_id"), (noisy, "category_id")):
        rows[:] = [row for row in rows if row[name] != 3]
    assert some == pytest.approx(score(noisy, dataset))


FLAGS = {True: (1, True, "1.0", " Yes"), False: (0, 0.0, "0", "no", "", None), None: ("2", 2, [], "maybe")}
CORNERS = [4, 0, 6, 2, 1, 3]
NO_POLYGONS = ([], [[4, 0, 6, 2]], [CORNERS, [0] * 7], {"counts": []}, [["1"] * 6], [3])


def test_flags_and_boxes_are_read_however_they_are_written():
    for meant, written in FLAGS.items():
        assert [as_flag(one) for one in written] == [meant] * len(written)
    assert bbox_of({"bbox": ["1", 2, "3.5", 4]}) == [1, 2, 3.5, 4]
    for polygons in (CORNERS, [CORNERS], [[4, 0, 6, 2, 4, 0], CORNERS]):
        assert bbox_of({"bbox": [], "segmentation": polygons}) == [1, 0, 5, 3]
    assert [bbox_of({"segmentation": one}) for one in NO_POLYGONS] == [None] * len(NO_POLYGONS)
