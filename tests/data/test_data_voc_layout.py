"""Folders of VOC's kind: the devkit's, those of other people's tools, and images with xml that nothing divides."""

import shutil

import pytest

from nnabla_detofa.data import read_voc
from nnabla_detofa.data.flaws import Flaw
from nnabla_detofa.data.voc import VocOptions
from nnabla_detofa.errors import DataError

TRAIN, TEST = [[2007, "trainval"]], [[2007, "test"]]


def ids(root, splits):
    return sorted(str(one).rpartition("/")[2] for one in read_voc(root, splits, classes=["cat", "dog"]).image_ids)


def flaws(root, splits):
    found = read_voc(root, splits, classes=["cat", "dog"]).findings
    return {one.flaw for one in found} - {Flaw.NO_BOXES}


A, B = [f"a{i:02d}" for i in range(20)], [f"b{i:02d}" for i in range(5)]


@pytest.fixture
def mine(filled_voc, tmp_path):
    """The folder of the filled year, under a name of one's own."""
    return filled_voc.folder.rename(tmp_path / "mine")


def test_a_folder_of_any_name(mine):
    assert (ids(mine, TRAIN), ids(mine, TEST)) == (A, B)
    assert read_voc(mine, TRAIN).name == "mine trainval"
    assert flaws(mine, TRAIN) == set()


def test_the_years_of_a_folder_without_years_are_one(mine):
    data = read_voc(mine, [[2007, "trainval"], [2012, "trainval"]])
    assert (len(data), data.name) == (20, "mine trainval")
    assert Flaw.LISTED_TWICE not in {one.flaw for one in data.findings}


def test_the_root_may_be_a_year_and_is_no_other(filled_voc):
    assert ids(filled_voc.folder, TRAIN) == A
    with pytest.raises(DataError, match="no VOC2012 in .*VOC2007; there: VOC2007: put VOCdevkit/VOC2012 with"):
        read_voc(filled_voc.folder, [[2012, "trainval"]])


def test_years_that_are_there_are_named(filled_voc):
    with pytest.raises(DataError, match="no VOC2012 in .*VOCdevkit; there: VOC2007: put"):
        read_voc(filled_voc.root, [[2012, "trainval"]])


@pytest.mark.parametrize("place", ["ImageSets", "."])
def test_lists_may_lie_elsewhere(mine, place):
    for name in ("trainval.txt", "test.txt"):
        (mine / "ImageSets" / "Main" / name).rename(mine / place / name)
    (mine / "ImageSets" / "Main").rmdir()
    assert (ids(mine, TRAIN), ids(mine, TEST)) == (A, B)


@pytest.mark.parametrize(("images", "annotations"), [("images", "annotations"), ("Images", "xmls"), ("imgs", ".")])
def test_folders_of_other_names(mine, images, annotations):
    (mine / "JPEGImages").rename(mine / images)
    if annotations == ".":
        for file in (mine / "Annotations").iterdir():
            file.rename(mine / file.name)
        (mine / "Annotations").rmdir()
    else:
        (mine / "Annotations").rename(mine / annotations)
    assert (ids(mine, TRAIN), ids(mine, TEST)) == (A, B)
    assert flaws(mine, TRAIN) == set()


def test_images_in_folders_with_their_annotations_in_one(voc):
    voc.add("trainval", "one", [("cat", (1, 2, 30, 40))])
    (voc.folder / "JPEGImages" / "day").mkdir()
    voc.image("one").rename(voc.folder / "JPEGImages" / "day" / "one.jpg")
    (voc.folder / "ImageSets/Main/trainval.txt").write_text("day/one\n")
    data = read_voc(voc.root, TRAIN)
    assert (data.image_ids, data.class_counts.tolist(), data.findings) == (("day/one",), [1], ())


def side_by_side(mine, root, split, names):
    (root / split).mkdir(parents=True)
    for name in names:
        for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
            shutil.move(mine / folder / f"{name}.{suffix}", root / split)


@pytest.mark.parametrize("val", ["val", "valid"])
def test_a_folder_for_each_split(mine, tmp_path, val):
    root = tmp_path / "export"
    side_by_side(mine, root, "train", A[:15])
    side_by_side(mine, root, val, A[15:])
    assert (ids(root, TRAIN), ids(root, TEST)) == (A[:15], A[15:])
    assert flaws(root, TRAIN) == flaws(root, TEST) == {Flaw.SPLIT_STANDS_IN}
    side_by_side(mine, root, "test", B)
    assert (ids(root, TRAIN), ids(root, TEST)) == (A, B)
    assert (ids(root, [[2007, "train"]]), ids(root, [[2007, "val"]])) == (A[:15], A[15:])
    assert flaws(root, TEST) == set()
    with pytest.raises(DataError, match=f"no split 'minival' in .*export; there: test, train, {val}"):
        read_voc(root, [[2007, "minival"]])


def test_folders_of_the_splits_below_those_of_images_and_annotations(mine):
    shutil.rmtree(mine / "ImageSets")
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        for split, names in (("trainval", A), ("test", B)):
            (mine / folder / split).mkdir()
            for name in names:
                shutil.move(mine / folder / f"{name}.{suffix}", mine / folder / split)
    assert (ids(mine, TRAIN), ids(mine, TEST)) == (A, B)


def test_lists_of_train_and_val_alone(mine):
    lists = mine / "ImageSets" / "Main"
    (lists / "trainval.txt").rename(lists / "train.txt")
    (lists / "test.txt").rename(lists / "val.txt")
    assert (ids(mine, TRAIN), ids(mine, TEST)) == (A, B)
    assert flaws(mine, TEST) == {Flaw.SPLIT_STANDS_IN}


@pytest.mark.parametrize("beside", [False, True])
def test_what_nothing_divides_is_divided_by_name(mine, tmp_path, beside):
    shutil.rmtree(mine / "ImageSets")
    root = tmp_path / "flat" if beside else mine
    if beside:
        side_by_side(mine, tmp_path, "flat", [*A, *B])
    train, test = ids(root, TRAIN), ids(root, TEST)
    assert sorted(train + test) == [*A, *B]
    assert len(test) == 5
    assert {*test} != {*B}  # no run of names
    assert flaws(root, TRAIN) == flaws(root, TEST) == {Flaw.SPLIT_MADE}
    with pytest.raises(DataError, match="no split 'val' in .*; there: none"):
        read_voc(root, [[2007, "val"]])


def test_annotations_without_image_and_images_without_annotation(mine, tmp_path):
    side_by_side(mine, tmp_path, "export/trainval", A)
    (tmp_path / "export" / "trainval" / "a01.xml").unlink()
    (tmp_path / "export" / "trainval" / "a02.jpg").unlink()
    assert ids(tmp_path / "export", TRAIN) == [name for name in A if name != "a02"]
    assert flaws(tmp_path / "export", TRAIN) == {Flaw.ANNOTATION_MISSING, Flaw.ANNOTATION_ALONE}


@pytest.mark.parametrize("there", [[], ["readme.md"]])
def test_nothing_to_read(tmp_path, there):
    for name in there:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="has no image \\(.jpg, .*; put Annotations, ImageSets/Main and JPEG"):
        read_voc(tmp_path, TRAIN)


def test_comments_in_a_list_are_no_images(mine):
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (mine / folder / f"a05.{suffix}").rename(mine / folder / f"#a05.{suffix}")
    (mine / "ImageSets/Main/trainval.txt").write_text("# mine\na01\n#a02 1\n# JPEGImages/a03.jpg\n#a05\n")
    assert (ids(mine, TRAIN), flaws(mine, TRAIN)) == (["#a05", "a01"], set())


def test_a_folder_of_annotations_that_is_missing_makes_no_backgrounds(filled_voc):
    shutil.rmtree(filled_voc.folder / "Annotations")
    with pytest.raises(DataError, match="cannot list the annotation folder .*Annotations"):
        read_voc(filled_voc.root, TRAIN)


def test_the_defaults_read_a_folder_without_years(mine):
    options = VocOptions(root=mine, image_size=64)
    assert (len(options.read("train", None)), len(options.read("test", None))) == (20, 5)
