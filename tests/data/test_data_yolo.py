"""Reading a YOLO folder: its data.yaml, its label files, and which split is for what."""

import os
import re
import shutil
from itertools import pairwise

import cv2
import numpy as np
import pytest

from nnabla_detofa.data import hold_out, read_yolo
from nnabla_detofa.data.data_check import check
from nnabla_detofa.data.dataset import to_train_on
from nnabla_detofa.data.examination import examine, severity
from nnabla_detofa.data.flaws import Findings, Flaw, Severity
from nnabla_detofa.data.yolo import DataLoader, YoloOptions
from nnabla_detofa.errors import ConfigError, DataError

SPLITS = {"train": "abcd", "val": "ef", "test": "g"}
SIZE = 80, 40
CAT, DOG = "0 0.5 0.5 0.25 0.5", "1 0.25 0.25 0.5 0.5"
CAT_BOX, DOG_BOX = [30, 10, 50, 30], [0, 0, 40, 20]
PLACES = "train: images/train\nval: images/val\n"
NAMES = "names: [cat, dog]\n"


class Yolo:
    """A YOLO folder with a cat in each image, and a dog in the first of each split."""

    def __init__(self, root):
        self.root, self.file = root, root / "data.yaml"
        for split, names in SPLITS.items():
            for kind in ("images", "labels"):
                (root / kind / split).mkdir(parents=True)
            for number, name in enumerate(names):
                pixels = np.random.default_rng(ord(name)).integers(0, 256, (*SIZE[::-1], 3), dtype=np.uint8)
                cv2.imwrite(str(self.image(name)), pixels)
                self.label(name).write_text("\n".join([CAT, DOG][: 2 - min(number, 1)]))
        self.write(f"{PLACES}test: images/test\n{NAMES}")

    def write(self, text):
        self.file.write_text(text)
        return self

    def image(self, name):
        (split,) = (split for split, names in SPLITS.items() if name in names)
        return self.root / "images" / split / f"{name}.jpg"

    def label(self, name):
        return self.root / "labels" / self.image(name).parent.name / f"{name}.txt"

    def read(self, split="train", **options):
        return read_yolo(self.file, split, **options)


@pytest.fixture
def yolo(tmp_path):
    """Four images to train on, two for validation, one to test on."""
    return Yolo(tmp_path / "set")


def flaws(data):
    """Flaws that were found, as they are counted."""
    return sorted(one.flaw.name for one in data.findings)


def stems(data):
    return "".join(image.file.stem for image in data.images)


def test_boxes_are_pixels_from_the_corner(yolo):
    data = yolo.read()
    assert (data.classes, data.origin, stems(data), flaws(data)) == (("cat", "dog"), 0.5, "abcd", [])
    assert {image.size for image in data.images} == {SIZE}
    assert data.image_ids[0] == "images/train/a.jpg"
    assert data.images[0].boxes.tolist() == [CAT_BOX, DOG_BOX]
    assert data.images[0].labels.tolist() == [0, 1]
    assert data.class_counts.tolist() == [4, 1]


def test_classes_select(yolo):
    data = yolo.read(classes=["cow", "dog"])
    assert (data.classes, data.class_counts.tolist()) == (("cow", "dog"), [0, 1])
    assert (data.validation.classes, data.validation.class_counts.tolist()) == (("cow", "dog"), [0, 1])
    assert flaws(data).count("CLASS_LEFT_OUT") == 4


# -- which split is for what -------------------------------------------------------------------------------------------


def loader(yolo, *part, **options):
    return DataLoader(*part, 1, data=yolo.file, image_size=64, workers=0, **options)


def parts(yolo, **options):
    """Images of the parts that are trained on, held out, and tested on."""
    chosen = (loader(yolo, *part, **options).dataset for part in ((True, True), (True, False), (False, False)))
    return ["".join(sorted(stems(one))) for one in chosen]


def test_with_a_test_split_val_measures_the_paths(yolo):
    assert parts(yolo, held_out=0.5) == parts(yolo, held_out=0) == ["abcd", "ef", "g"]
    assert stems(loader(yolo, False, True).dataset) == "abcd"
    held_out = {stems(loader(yolo, True, False, seed=seed).dataset) for seed in range(9)}
    assert held_out == {"ef", "fe"}  # in random order, for the first of them to be a fair sample
    for train in (yolo.read(), yolo.read().subset([0])):
        to_train_on(train, findings := Findings(), held_out=100)
        assert not findings


@pytest.mark.parametrize("test", ["", "test:\n", "test: null\n", "test: ../nowhere/images\n"])
def test_without_one_val_is_the_test_split(yolo, test):
    yolo.write(f"{PLACES}{test}{NAMES}")
    trained, held_out, tested = parts(yolo, held_out=1)
    assert (len(trained), len(held_out), sorted(trained + held_out), tested) == (3, 1, [*"abcd"], "ef")
    assert (flaws(yolo.read()), flaws(yolo.read("test"))) == ([], ["SPLIT_STANDS_IN"])
    assert yolo.read().validation is None


def test_without_val_some_of_the_training_images_are_held_out(yolo):
    yolo.write(f"train: images/train\ntest: images/test\n{NAMES}")
    assert list(map(len, parts(yolo, held_out=2))) == [2, 2, 1]
    yolo.write(f"train: images/train\n{NAMES}")
    with pytest.raises(DataError, match="does not say where the images of test are; it has train"):
        yolo.read("test")


def test_the_images_that_measure_belong_to_the_runs_data(yolo):
    before = loader(yolo, True, True).split_digest
    assert loader(yolo, True, True).split_digest == before
    yolo.label("e").write_text(CAT)
    assert loader(yolo, True, True).split_digest != before
    yolo.write(f"{PLACES}{NAMES}")
    assert loader(yolo, True, True).split_digest != before


def test_a_set_that_moves_is_the_same(yolo, tmp_path):
    before = yolo.read().digest
    yolo.root.rename(tmp_path / "moved")
    assert read_yolo(tmp_path / "moved", "train").digest == before


def test_a_held_out_part_of_its_own_is_not_divided(yolo):
    train, valid = hold_out(yolo.read(), 0.5, 3)
    assert (sorted(stems(train)), sorted(stems(valid))) == ([*"abcd"], [*"ef"])


# -- data.yaml ---------------------------------------------------------------------------------------------------------


def listed(yolo, name, lines):
    (yolo.root / name).parent.mkdir(exist_ok=True)
    (yolo.root / name).write_text("\n".join(lines))


IMAGES = [f"images/train/{name}.jpg" for name in "abcd"]
SAME = [
    "path: .\ntrain: images/train",
    "path: ../set\ntrain: ./images/train/",
    "path: images\ntrain: train",
    "path: images\ntrain: images/train",  # relative to the file
    "path: /elsewhere/set\ntrain: images/train",
    "train: ../images/train",  # as Roboflow writes them
    "train: ../../images/train",
    "train: {root}/images/train",
    "path: {root}\ntrain: [images/train]",
    "train: [train.txt]",
    "train: train.txt",
    "train: lists/up.txt",
    "train: lists/of_path.txt",
    "train: absolute.txt",
]
MENDED = [
    "train: ..\\images\\train",
    "train: /content/set/images/train",
    "train: C:\\set\\images\\train",
    "train: elsewhere.txt",
]


@pytest.mark.parametrize("text", [*SAME, *MENDED])
def test_where_images_may_be(yolo, text):
    expected = yolo.read()
    listed(yolo, "train.txt", [f"./{one}" if "a" in one else one for one in IMAGES])
    listed(yolo, "lists/up.txt", [f"../{one}" for one in IMAGES])
    listed(yolo, "lists/of_path.txt", IMAGES)
    listed(yolo, "absolute.txt", [f"{yolo.root}/{one}" for one in IMAGES])
    listed(yolo, "elsewhere.txt", [f"D:\\set\\{one}".replace("/", "\\") for one in IMAGES])
    yolo.write(f"{text.format(root=yolo.root)}\n{NAMES}")
    data = yolo.read()
    assert [image.file for image in data.images] == [image.file for image in expected.images]
    start = "images/" if text.startswith("path: images") else ""  # names are relative to the path
    assert data.image_ids == tuple(one.removeprefix(start) for one in expected.image_ids)
    assert {*flaws(data)} == ({"NAME_MENDED"} if text in MENDED else set())


def test_several_places_join_and_an_image_counts_once(yolo):
    yolo.write(f"train: [images/test, images/train, images]\n{NAMES}")
    data = yolo.read()
    assert stems(data) == "gabcdef"
    assert flaws(data) == ["LISTED_TWICE"] * 5


def test_comments_in_a_list_are_no_images(yolo):
    yolo.image("d").rename(yolo.image("d").with_name("#d.jpg"))
    yolo.label("d").rename(yolo.label("d").with_name("#d.txt"))
    listed(yolo, "images/train/list.txt", ["# mine", "a.jpg", "# b.jpg", "#c.jpg", "#d.jpg"])
    data = yolo.write(f"train: images/train/list.txt\n{NAMES}").read()
    assert (stems(data), flaws(data)) == ("a#d", [])


@pytest.mark.parametrize("name", ["data.yml", "mine.yaml", "coco8.yml"])
def test_the_only_description_of_a_folder_may_have_any_name(yolo, name):
    expected = yolo.read()
    yolo.file.rename(yolo.root / name)
    assert stems(read_yolo(yolo.root, "train")) == stems(expected)
    (yolo.root / "other.yaml").write_text("")
    with pytest.raises(DataError, match="data.yaml: No such file"):
        read_yolo(yolo.root, "train")
    (yolo.root / name).rename(yolo.file)
    assert stems(read_yolo(yolo.root, "train")) == stems(expected)


def test_folders_are_read_with_all_below_them(yolo):
    (yolo.root / "images/train/.hidden").mkdir()
    for name in (".hidden/x.jpg", "._a.jpg", "notes.md"):
        shutil.copy(yolo.image("a"), yolo.root / "images/train" / name)
    (yolo.root / "images/train/again").symlink_to(yolo.root / "images/train")
    (yolo.root / "images/val").rename(yolo.root / "elsewhere")
    (yolo.root / "images/val").symlink_to(yolo.root / "elsewhere")
    yolo.write(f"train: images\n{NAMES}")
    assert stems(yolo.read()) == "gabcdef"


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("names: {1: dog, 0: cat}", ("cat", "dog")),
        ("names:\n  0: cat\n  1: dog\nnc: 2", ("cat", "dog")),
        ("names:\n- ' no '\n- 007\nnc: 9", ("no", "007")),
        ("names: {7: cow, 1: dog, 0: cat}", ("cat", "dog", "cow")),
    ],
)
def test_names(yolo, names, classes):
    yolo.write(f"{PLACES}{names}")
    data = yolo.read()
    assert data.classes == classes
    assert data.class_counts[:2].tolist() == [4, 1]


def test_a_name_of_several_ids_is_one_class(yolo):
    data = yolo.write(f"{PLACES}names: [cat, cat]").read()
    assert (data.classes, data.class_counts.tolist(), flaws(data)) == (("cat",), [5], ["CATEGORY_REPEATED"])


BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijk"))
REFUSED = [
    *((text, "must hold train, val and names") for text in ("", "- a", "text")),
    *((text, "cannot read .*data.yaml") for text in ("a: [", "a: \0", "[" * 20_000, "? [a]\n: b")),
    *((PLACES + one, "must define names") for one in ("", "names:", "names: []", "nc: 2", "names: cat")),
    *((f"{PLACES}names: {one}", "a name for each class id") for one in ("[[a]]", "[a, '']", "{x: a}", "{-1: a}")),
    (f"{BOMB}names: *k\ntrain: *k", "train in .*data.yaml must be a folder, a list"),
    (f"{BOMB}names: *k\ntrain: x", "a name for each class id"),
    *((f"train: {one}\n{NAMES}", "train in .* must be a folder, a list") for one in ("{a: b}", "[images/train, [a]]")),
    *((f"{PLACES}{NAMES}kpt_shape: {one}", "kpt_shape in") for one in ("3", "[2]", "[2, x]", "[2, [3]]", "{a: 1}")),
    (NAMES, "does not say where the images of train are; it has no split"),
    (f"val: images/val\n{NAMES}", "does not say where the images of train are; it has val"),
    *((f"train: {one}\n{NAMES}", "has .* for train, which is neither in") for one in ("images/x", "../x", '"\\0"')),
    (f"train: data.yaml\n{NAMES}", "it must be a folder or a list of images"),
    (f"train: labels\n{NAMES}", "lists no image"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_descriptions_that_are_refused(yolo, text, said):
    yolo.write(text)
    with pytest.raises(DataError, match=said) as caught:
        yolo.read()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2500


def test_nothing_in_a_description_is_run(yolo, tmp_path):
    yolo.write(f"train: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n{NAMES}")
    with pytest.raises(DataError):
        yolo.read()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("images/train/z.jpg", "train.txt lists images/train/z.jpg, but"),
        ("../../etc/passwd", "leads out of"),
        ("/etc/passwd.jpg", "leads out of"),
    ],
)
def test_lists_name_images_of_the_set(yolo, line, said):
    listed(yolo, "train.txt", [*IMAGES, line])
    yolo.write(f"train: train.txt\n{NAMES}")
    with pytest.raises(DataError, match=said):
        yolo.read()


# -- label files -------------------------------------------------------------------------------------------------------


def test_labels_may_lie_beside_the_images(yolo):
    expected = yolo.read()
    (yolo.root / "images/train").rename(yolo.root / "all")
    for label in (yolo.root / "labels/train").iterdir():
        label.rename(yolo.root / "all" / label.name)
    data = yolo.write(f"train: all\n{NAMES}").read()
    assert data.class_counts.tolist() == expected.class_counts.tolist()
    assert flaws(data) == []


def test_the_last_images_of_a_path_is_the_one_with_labels(yolo):
    (yolo.root / "images/images").mkdir()
    yolo.root.joinpath("images/train").rename(yolo.root / "images/images/train")
    (yolo.root / "images/labels").mkdir()
    yolo.root.joinpath("labels/train").rename(yolo.root / "images/labels/train")
    data = yolo.write(f"train: images/images/train\n{NAMES}").read()
    assert (data.class_counts.tolist(), flaws(data)) == ([4, 1], [])


def test_an_image_without_labels_is_background(yolo):
    yolo.label("b").unlink()
    yolo.label("c").write_text(" \n\n")
    data = yolo.read()
    assert [len(image.labels) for image in data.images] == [2, 0, 0, 1]
    assert flaws(data) == ["ANNOTATION_MISSING", "NO_BOXES", "NO_BOXES"]
    assert [one.file for one in data.findings if one.flaw is Flaw.ANNOTATION_MISSING] == [yolo.label("b")]


def test_images_that_share_a_label_file_are_counted(yolo):
    for name in "ab":
        shutil.copy(yolo.image("c"), yolo.image(name).with_suffix(".png"))
    yolo.label("b").write_text("")  # backgrounds do no harm
    data = yolo.read()
    assert [len(image.labels) for image in data.images] == [2, 2, 0, 0, 1, 1]
    found = [(one.place, one.detail) for one in data.findings if one.flaw is Flaw.ANNOTATION_SHARED]
    assert found == [("a.txt", "of a.jpg and a.png")]


def test_labels_without_an_image_are_left_out(yolo):
    for name in ("z.txt", "classes.txt"):
        (yolo.root / "labels/train" / name).write_text(CAT)
    assert [one.place for one in yolo.read().findings] == ["z.txt"]
    listed(yolo, "train.txt", IMAGES[:1])  # the others are of another list
    assert flaws(yolo.write(f"train: train.txt\n{NAMES}").read()) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_rows_of_other_tools(yolo, encoding):
    yolo.label("a").write_bytes("\r\n 0.000e+00\t.5 5e-1 0.25 0.50 \r\n\r\n1.0 .25 .25 .5 .5\r\n".encode(encoding))
    data = yolo.read()
    assert data.images[0].boxes.tolist() == [CAT_BOX, DOG_BOX]
    assert data.images[0].labels.tolist() == [0, 1]


@pytest.mark.parametrize("points", ["0.5 0.25 0.25 1 0.75 0.5", "0.25 0.25 0.75 0.25 0.75 1 0.25 1"])
def test_the_box_around_a_polygon(yolo, points):
    yolo.label("b").write_text(f"{CAT}\n1 {points}")
    data = yolo.read()
    assert data.images[1].boxes.tolist() == [CAT_BOX, [20, 10, 60, 40]]
    assert [(one.flaw, one.place) for one in data.findings] == [(Flaw.BOX_FROM_OUTLINE, "b.txt object 2")]


POSE = "0.9 0.9 2 0 0 0"


@pytest.mark.parametrize(("shape", "points"), [("[2, 3]", POSE), ("[3, 2]", POSE), ("[1, 3]", POSE[:9])])
def test_the_box_of_a_pose_is_its_own(yolo, shape, points):
    yolo.label("b").write_text(f"{CAT} {points}\n{DOG}")
    data = yolo.write(f"{PLACES}{NAMES}kpt_shape: {shape}").read()
    assert data.images[1].boxes.tolist() == [CAT_BOX, DOG_BOX]
    assert [(one.flaw, one.place) for one in data.findings] == [(Flaw.BOX_WITH_POINTS, "b.txt object 1")]


def test_a_pose_has_as_many_points_as_its_set(yolo):
    yolo.label("b").write_text(f"{CAT} {POSE} 0.1 0.1")
    with pytest.raises(DataError, match="b.txt: row 1 has .*, with the 6 numbers of kpt_shape or without"):
        yolo.write(f"{PLACES}{NAMES}kpt_shape: [2, 3]").read()


BROKEN, UNKNOWN = Flaw.ANNOTATION_BROKEN, Flaw.CATEGORY_UNKNOWN
STOPPING = [
    *((row, BROKEN) for row in ("0", "0 0.5 0.5 0.5", f"{CAT} 0.9", "0 .1 .1 .2 .2 .3 .3 .4")),
    *((row, BROKEN) for row in ("x 0.5 0.5 0.5 0.5", "0 0.5 0.5 0.5 x", "0,0.5,0.5,0.5,0.5", "\0")),
    *((f"0 0.5 0.5 0.5 {one}", BROKEN) for one in ("nan", "inf", "-inf", "1e9")),
    *((f"0 0.1 0.1 {one} 0.5 0.7 0.7", BROKEN) for one in ("nan", "inf")),
    *((f"{one} 0.5 0.5 0.5 0.5", UNKNOWN) for one in ("2", "-1", "0.5", "nan", "inf", "1e300")),
]


@pytest.mark.parametrize(("row", "flaw"), STOPPING)
def test_rows_that_stop(yolo, row, flaw):
    yolo.label("b").write_text(f"{CAT}\n\n{row}\n{DOG}")
    with pytest.raises(DataError, match=rf"^{re.escape(str(yolo.label('b')))}: row 3 (has|is of class) ") as caught:
        yolo.read()
    assert "\n" not in str(caught.value)
    data = yolo.read(strict=False)
    assert [(one.flaw, one.file, one.object) for one in data.findings] == [(flaw, yolo.label("b"), 3)]
    assert data.images[1].boxes.tolist() == [CAT_BOX, DOG_BOX]


def test_labels_that_are_no_text(yolo):
    yolo.label("b").write_bytes(b"\xff\x00\x80")
    with pytest.raises(DataError, match="cannot read the labels .*b.txt"):
        yolo.read()
    yolo.label("b").unlink()
    yolo.label("b").mkdir()
    assert flaws(yolo.read(strict=False)) == ["ANNOTATION_UNREADABLE", "NO_BOXES"]


@pytest.mark.parametrize(
    ("row", "flaw", "kept"),
    [
        ("0 1.2 0.5 0.2 0.2", Flaw.BOX_OUTSIDE, False),
        ("0 -0.1 0.5 0.2 0.2", Flaw.BOX_OUTSIDE, False),
        ("0 0.5 40 0.2 0.2", Flaw.BOX_OUTSIDE, False),
        ("0 0.5 0.5 1.2 0.2", Flaw.BOX_STICKS_OUT, True),
        ("0 0.5 0.5 1.02 0.2", None, True),  # less than a pixel
        ("0 0.5 0.5 0 0.2", Flaw.BOX_ZERO, False),
        ("0 0.5 0.5 0.1 -0.2", Flaw.BOX_INVERTED, False),
        ("0 0.001 0.001 0.002 0.002", Flaw.BOX_IN_SHARES, False),
        (CAT, Flaw.BOX_REPEATED, False),
        ("0 0.2 0.2 1.5 0.2 0.2 0.5", Flaw.BOX_STICKS_OUT, True),
    ],
)
def test_rows_outside_0_to_1_are_what_such_boxes_are_elsewhere(yolo, row, flaw, kept):
    yolo.label("b").write_text(f"{CAT}\n{row}")
    data = yolo.read()
    found = [(one.flaw, one.place) for one in data.findings if one.flaw is not Flaw.BOX_FROM_OUTLINE]
    assert found == ([(flaw, "b.txt object 2")] if flaw else [])
    assert len(data.images[1].labels) == 1 + kept


def as_rows(boxes):
    return "\n".join(f"0 {' '.join(map(repr, box))}" for box in boxes.tolist())


RNG = np.random.default_rng(0)
LOW = RNG.uniform((0.01, 0.31), (0.15, 0.6), (12, 2))
HIGH = LOW + RNG.uniform(0.3, 0.39, (12, 2))
SHARES, PIXELS = "as shares of the image", "in pixels"
OTHER_FORMS = {
    f"x1, y1, x2, y2 {SHARES}": np.hstack([LOW, HIGH]),
    f"x, y of a corner, width, height {SHARES}": np.hstack([LOW, HIGH - LOW]),
    f"x1, y1, x2, y2 {PIXELS}": np.hstack([LOW * SIZE, HIGH * SIZE]),
    f"x, y of a corner, width, height {PIXELS}": np.hstack([LOW, HIGH - LOW]) * (*SIZE, *SIZE),
    f"centre x, y, width, height {PIXELS}": np.hstack([(LOW + HIGH) / 2 * SIZE, (HIGH - LOW) * SIZE]),
    "divided by the image's size twice": np.hstack([LOW, LOW]) / (*SIZE, *SIZE) / 2,
}


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_a_split_of_another_form_stops(yolo, form):
    for name in "abcd":
        yolo.label(name).write_text(as_rows(OTHER_FORMS[form]))
    with pytest.raises(DataError, match=f"^{yolo.file}: .* of 48 boxes .*{form}"):
        yolo.read()
    assert Flaw.BOXES_IN_ANOTHER_FORM in {one.flaw for one in yolo.read(strict=False).findings}


@pytest.mark.parametrize("scale", [1, 1.5])  # or annotated on a smaller image: that is no other form
def test_ordinary_splits_pass(yolo, scale):
    for name in "abcd":
        yolo.label(name).write_text(as_rows(scale * np.hstack([(LOW + HIGH) / 2, HIGH - LOW])))
    assert yolo.read().class_counts.tolist() == [48, 0]


# -- images ------------------------------------------------------------------------------------------------------------


def test_an_image_that_changes_is_measured_again(yolo):
    assert yolo.read().images[0].size == SIZE
    cv2.imwrite(str(yolo.image("a")), np.zeros((100, 120, 3), np.uint8))
    assert yolo.read().images[0].size == (120, 100)
    yolo.image("a").write_bytes(b"none")
    with pytest.raises(DataError, match="cannot decode the image .*a.jpg"):
        yolo.read()
    yolo.image("a").unlink()
    os.mkfifo(yolo.image("a"))
    with pytest.raises(DataError, match="cannot read the image .*a.jpg: it is no file"):
        yolo.read()


def test_batches_show_the_boxes(yolo):
    (batch,) = loader(yolo, False, False).batches()
    heat, size, _, _, mask = batch.targets
    assert heat.shape == (1, 2, 16, 16)
    found = sorted(size[0][mask[0] > 0].tolist())
    np.testing.assert_allclose(found, [(4, 4), (8, 4)], atol=0.11)  # 64 of 80 pixels, 4 a cell


# -- check -------------------------------------------------------------------------------------------------------------


def copied(yolo, source, target):
    shutil.copy(yolo.image(source), yolo.image(target))


PLANTED = {
    Flaw.NAME_MENDED: lambda yolo: yolo.write(f"{PLACES}test: /set/images/test\n{NAMES}"),
    Flaw.ANNOTATION_BROKEN: lambda yolo: yolo.label("e").write_text("0 1 2"),
    Flaw.SPLIT_UNREADABLE: lambda yolo: yolo.write(f"{PLACES.replace('val:', 'val: x')}test: images/test\n{NAMES}"),
    Flaw.IMAGE_UNREADABLE: lambda yolo: yolo.image("e").write_bytes(yolo.image("e").read_bytes()[:-20]),
    Flaw.SAME_IMAGE_IN_SPLIT: lambda yolo: copied(yolo, "a", "e"),  # trained on, and held out
    Flaw.SAME_IMAGE_IN_TEST: lambda yolo: copied(yolo, "e", "g"),
    Flaw.SPLIT_STANDS_IN: lambda yolo: yolo.write(PLACES + NAMES),
}


@pytest.mark.parametrize("flaw", PLANTED, ids=lambda flaw: flaw.name)
def test_the_check_examines_all_three_splits(yolo, flaw):
    options = YoloOptions(data=yolo.file, image_size=64)
    assert {one.split: stems_of(one) for one in examine(options, show=False)} == SPLITS
    PLANTED[flaw](yolo)
    found = examine(options, show=False)
    assert {one.flaw for part in found for one in part.findings} - {Flaw.NO_BOXES} == {flaw}
    assert severity(found) == flaw.severity


def stems_of(part):
    assert not part.findings
    return "".join(file.stem for file in part.files)


def test_the_check_of_a_clean_set(yolo, capsys):
    assert check({"yolo": {"data": str(yolo.root), "image_size": 64}}) == Severity.NOTED
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["split", "train", "val", "test"]
    assert ["cat", "4", "2", "1"] in [line.split() for line in lines]


def test_training_says_the_flaws_of_the_images_that_measure(yolo, caplog):
    yolo.label("e").unlink()
    with caplog.at_level("WARNING"):
        loader(yolo, True, True)
    assert any("set val: 1 x" in one.getMessage() and "e.txt" in one.getMessage() for one in caplog.records)


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"data": ""}, {"data": None}, {"data": 3}, {"data": "x", "root": "x"}])
def test_what_the_options_may_not_be(options):
    with pytest.raises(ConfigError) as caught:
        DataLoader(True, True, 1, image_size=64, **options)
    assert caught.value.key in ("dataloader.yolo.data", "dataloader.yolo.root")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot read the .* YOLO data set .*x.yaml: No such file"):
        read_yolo(tmp_path / "x.yaml", "train")
