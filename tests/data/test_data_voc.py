"""Reading a VOCdevkit: what is there is read as annotated, what is wrong is said in one line."""

import os
import unicodedata

import numpy as np
import pytest

from nnabla_detofa.data import flaws as flaws_module
from nnabla_detofa.data import read_voc
from nnabla_detofa.data.flaws import Flaw, Severity
from nnabla_detofa.data.voc import DataLoader
from nnabla_detofa.errors import DataError

TRAINVAL = [(2007, "trainval")]


def fails(match, root, splits=TRAINVAL, error=DataError, **options):
    with pytest.raises(error, match=match) as caught:
        read_voc(root, splits, **options)
    assert "\n" not in str(caught.value)


def test_reads_boxes_as_annotated(voc):
    voc.add("trainval", "one", [("dog", (1, 2, 30, 40)), ("cat", (5.5, 6, 80, 60), True)])
    data = read_voc(voc.root, TRAINVAL)
    truth = data.ground_truth()
    assert data.classes == ("cat", "dog")
    assert data.image_ids == ("one",)
    assert data.images[0].size == (80, 60)
    assert truth.label.tolist() == [1, 0]
    assert truth.difficult.tolist() == [False, True]
    np.testing.assert_array_equal(truth.box, np.array([[1, 2, 30, 40], [5.5, 6, 80, 60]], np.float32))
    assert [finding.flaw for finding in data.findings] == [Flaw.DIFFICULT]


def test_root_may_be_the_devkit_itself(voc):
    voc.add("trainval", "one", [("dog", (1, 2, 30, 40))])
    assert len(read_voc(voc.folder.parent, TRAINVAL)) == 1


def test_years_and_splits_join_and_overlaps_count_once(voc):
    other = type(voc)(voc.root, year=2012)
    other.add("train", "one", [("bird", (1, 2, 30, 40))])
    voc.add("trainval", "one", [("dog", (1, 2, 30, 40))]).add("trainval", "two").add("val", "two")
    data = read_voc(voc.root, [[2007, "trainval"], ["VOC2012", "train"], (2007, "val")])
    assert data.image_ids == ("one", "two", "one")
    assert data.classes == ("bird", "dog")
    assert data.ground_truth().image.tolist() == [0, 2]


def test_given_classes_order_the_labels(voc):
    voc.add("trainval", "one", [("dog", (1, 2, 30, 40))])
    data = read_voc(voc.root, TRAINVAL, classes=["zebra", "dog"])
    assert data.classes == ("zebra", "dog")
    assert data.ground_truth().label.tolist() == [1]


def test_size_missing_from_the_annotation_is_read_from_the_image(voc):
    voc.add("trainval", "one", size=(64, 48), annotation=voc.xml([("dog", (1, 2, 30, 40))], size=None))
    assert read_voc(voc.root, TRAINVAL).images[0].size == (64, 48)


def test_flawed_boxes_are_left_out_and_recorded(voc):
    boxes = [(10, 10, 10, 30), (30, 30, 20, 40), (81, 5, 90, 9), (1, 1, 9, 9), (1, 1, 9, 9)]
    voc.add("trainval", "one", [("a", box) for box in boxes] + [("b", (1, 1, 9, 9))])
    voc.add("trainval", "two", [("a", (-20, -20, 0, 0)), ("a", (70, 50, 95, 75)), ("a", (79, 59, 81, 61))])
    data = read_voc(voc.root, TRAINVAL)
    assert {(finding.flaw, finding.place) for finding in data.findings} == {
        (Flaw.BOX_ZERO, "one.xml object 0"),
        (Flaw.BOX_INVERTED, "one.xml object 1"),
        (Flaw.BOX_OUTSIDE, "one.xml object 2"),
        (Flaw.BOX_REPEATED, "one.xml object 4"),
        (Flaw.BOX_OUTSIDE, "two.xml object 0"),
        (Flaw.BOX_STICKS_OUT, "two.xml object 1"),
    }
    assert data.ground_truth().box.tolist() == [[1, 1, 9, 9], [1, 1, 9, 9], [70, 50, 95, 75], [79, 59, 81, 61]]
    assert data.ground_truth().label.tolist() == [0, 1, 0, 0]


def test_missing_root_says_what_to_put_where(tmp_path):
    fails(
        r"no VOC2007 in .*nowhere; there: none: put VOCdevkit/VOC2007 with Annotations, ImageSets/Main and JPEGImages into",
        tmp_path / "nowhere",
    )


def test_missing_year(filled_voc):
    fails("no VOC2012 in .*VOCdevkit/VOC2012", filled_voc.root, [(2012, "trainval")])


def test_missing_split_names_those_there(filled_voc):
    fails("no split 'val' in .*Main; there: test, trainval", filled_voc.root, [(2007, "val")])


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x"])
def test_names_may_not_leave_the_folder(voc, name):
    fails("leads out of", voc.add("trainval", "one").root, [(2007, name)])
    (voc.folder / "ImageSets/Main/trainval.txt").write_text(name)
    fails("leads out of", voc.root)


def test_empty_split(voc):
    voc.add("trainval", "one")
    (voc.folder / "ImageSets/Main/trainval.txt").write_text("\n")
    fails("lists no image", voc.root)


def test_no_object_and_no_class_given(voc):
    fails("no class can be discovered", voc.add("trainval", "one").root)
    assert len(read_voc(voc.root, TRAINVAL, classes=["dog"])) == 1


def test_split_that_is_no_text(voc):
    voc.add("trainval", "one")
    (voc.folder / "ImageSets/Main/trainval.txt").write_bytes(b"\xff\xfe\xff")
    fails("cannot read the split", voc.root)


def test_missing_image(filled_voc):
    filled_voc.image("a03").unlink()
    fails("trainval.txt lists a03, but .*JPEGImages does not have it", filled_voc.root)


def test_missing_image_folder(filled_voc):
    filled_voc.image("a03").parent.rename(filled_voc.folder / "elsewhere")
    fails("cannot list the image folder .*JPEGImages", filled_voc.root)


def flaws(data):
    """Flaws that were found, those of images without boxes aside."""
    return {finding.flaw for finding in data.findings} - {Flaw.NO_BOXES}


@pytest.mark.parametrize("content", [None, "", " \n\t"])
def test_an_image_without_annotation_is_background(filled_voc, content):
    file = filled_voc.annotation("a01")
    file.unlink() if content is None else file.write_text(content)
    data = read_voc(filled_voc.root, TRAINVAL)
    assert data.images[1].size == (81, 60)
    assert len(data.images[1].labels) == 0
    assert [one.place for one in data.findings if one.flaw is Flaw.ANNOTATION_MISSING] == ["a01.xml"]


def test_an_annotation_that_is_no_file(filled_voc):
    filled_voc.annotation("a03").unlink()
    filled_voc.annotation("a03").mkdir()
    fails("cannot read the annotation .*a03.xml: it is no file", filled_voc.root)


BOMB = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>'


@pytest.mark.parametrize("text", ["<annotation><object>", "\x00", "no xml"])
def test_broken_xml(voc, text):
    voc.add("trainval", "one")
    voc.annotation("one").write_text(text)
    fails("cannot read the annotation .*one.xml: .", voc.root)


@pytest.mark.parametrize("text", [BOMB, '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'])
def test_document_types_are_refused(voc, text):
    voc.add("trainval", "one")
    voc.annotation("one").write_text(text)
    fails("one.xml has a DOCTYPE, which may hold anything; remove it", voc.root)


@pytest.mark.parametrize("box", [("x", 1, 2, 3), (1, 2, 3, ""), (1, 2, "nan", 4), (1, 2, "inf", 4)])
def test_boxes_that_are_no_numbers(voc, box):
    fails("one.xml is not a VOC annotation", voc.add("trainval", "one", [("dog", box)]).root)


def test_object_without_name(voc):
    fails("lacks its name", voc.add("trainval", "one", [("", (1, 2, 3, 4))]).root)


def test_a_list_of_classes_selects(filled_voc):
    data = read_voc(filled_voc.root, TRAINVAL, classes=["cow", "cat"])
    assert data.classes == ("cow", "cat")
    assert data.class_counts.tolist() == [0, 13]
    left_out = [one for one in data.findings if one.flaw is Flaw.CLASS_LEFT_OUT]
    assert [(one.place, one.detail) for one in left_out[:1]] == [("a02.xml object 1", "'dog'")]
    assert len(left_out) == 6


def test_none_of_the_classes(filled_voc):
    message = "VOC2007 trainval has no object of the classes cats, dogs; it has cat, dog"
    fails(message, filled_voc.root, classes=["cats", "dogs"])


def test_a_listed_class_without_object_is_warned_of(filled_voc, caplog):
    flaws_module.tell.cache_clear()
    DataLoader(False, True, 2, root=filled_voc.root, image_size=64, classes=["cow", "cat"])
    said = [record.getMessage() for record in caplog.records]
    places = ", ".join(f"{name}.xml object 1" for name in ("a02", "a05", "a08"))
    assert f"VOC2007 trainval: 6 x object of a class that is not listed: left out ({places}, …)" in said
    kept = "class that the training split does not have: kept; it is not learnt"
    assert f"VOC2007 trainval: 1 x {kept} (VOC2007 trainval object cow)" in said


def test_nothing_to_learn_is_said(voc):
    voc.add("trainval", "one").add("trainval", "two")
    with pytest.raises(DataError, match="VOC2007 trainval has no object of the classes cat, so nothing can be learnt"):
        DataLoader(False, True, 2, root=voc.root, image_size=64, classes=["cat"])


def test_a_split_that_is_missing_hides_nothing_of_the_others(filled_voc):
    filled_voc.image("a03").unlink()
    data = read_voc(filled_voc.root, [[2007, "trainval"], [2007, "val"]], strict=False)
    assert len(data) == 19
    unusable = [one.flaw for one in data.findings if one.flaw.severity is Severity.UNUSABLE]
    assert unusable == [Flaw.IMAGE_MISSING, Flaw.SPLIT_UNREADABLE]


def test_what_took_all_objects_is_said(filled_voc):
    for file in (filled_voc.folder / "Annotations").glob("a*.xml"):
        file.rename(file.with_name(f"x{file.name}"))
    fails("no class can be discovered \\(20 x image whose annotation file is missing or empty\\)$", filled_voc.root)


def test_loader_takes_test_labels_from_the_training_classes(filled_voc):
    filled_voc.add("test", "c", [("dog", (1, 2, 30, 40))])
    loader = DataLoader(False, False, 2, root=filled_voc.root, image_size=64)
    assert loader.classes == ("cat", "dog")
    filled_voc.add("test", "d", [("bird", (1, 2, 30, 40)), ("cat", (1, 2, 30, 40))])
    loader = DataLoader(False, False, 2, root=filled_voc.root, image_size=64)
    assert loader.dataset.images[-1].labels.tolist() == [0]
    (said,) = [one for one in loader.dataset.findings if one.flaw is Flaw.CLASS_ONLY_IN_TEST]
    assert (said.place, said.detail) == ("d.xml object 0", "'bird'; dataloader.voc.classes=[cat, dog, bird] adds it")
    assert "classes come from the training split" in said.flaw.policy
    assert "dataloader.voc.classes" in said.flaw.policy


@pytest.mark.parametrize("width", ["9.5", "x", "-4", "nan", "1e999"])
def test_a_size_that_is_no_number_of_pixels(voc, width):
    voc.add("trainval", "one")
    file = voc.annotation("one")
    file.write_text(file.read_text().replace("<width>80<", f"<width>{width}<"))
    fails("one.xml is not a VOC annotation: its size is .*whole numbers of pixels", voc.root)
    file.write_text(file.read_text().replace(f"<width>{width}<", "<width>80.0<"))
    assert read_voc(voc.root, [[2007, "trainval"]], classes=["dog"]).images[0].size[0] == 80


def test_the_object_that_is_wrong_is_numbered(voc):
    voc.add("trainval", "one", [("dog", (1, 2, 3, 4)), ("dog", (1, 2, "nan", 4))])
    fails(r"object 1 has the corners 1, 2, nan, 4; its numbers must be finite", voc.root)


def test_lists_may_begin_with_a_byte_order_mark_and_are_no_pipes(voc):
    voc.add("trainval", "one")
    listed = voc.folder / "ImageSets" / "Main" / "trainval.txt"
    listed.write_bytes(b"\xef\xbb\xbf" + listed.read_bytes())
    assert len(read_voc(voc.root, [[2007, "trainval"]], classes=["dog"])) == 1
    listed.unlink()
    os.mkfifo(listed)
    fails("cannot read the split .*trainval.txt: it is no file", voc.root)


def test_a_year_that_no_file_system_can_have(voc):
    voc.add("trainval", "one")
    with pytest.raises(DataError, match="no VOC2007{300} in "):
        read_voc(voc.root, [["200" + "7" * 300, "trainval"]])


@pytest.mark.parametrize(
    ("line", "flaw"),
    [
        ("{}  1", Flaw.LIST_COLUMNS),
        ("{} -1", Flaw.LIST_COLUMNS),
        ("{}\t0", Flaw.LIST_COLUMNS),
        ("JPEGImages/{}.jpg Annotations/{}.xml", Flaw.LIST_COLUMNS),
        ("{}  \r", None),
        ("{}.jpg", None),
        ("{}.JPG", None),
        ("JPEGImages/{}.jpg", Flaw.NAME_MENDED),
        ("data/VOC2007/JPEGImages/{}.jpg", Flaw.NAME_MENDED),
        ("/data/VOC2007/JPEGImages/{}.jpg", Flaw.NAME_MENDED),
        ("D:\\VOC2007\\JPEGImages\\{}.jpg", Flaw.NAME_MENDED),
        (".\\{}", Flaw.NAME_MENDED),
    ],
)
def test_lines_of_other_peoples_lists(filled_voc, line, flaw):
    expected = read_voc(filled_voc.root, TRAINVAL)
    file = filled_voc.folder / "ImageSets/Main/trainval.txt"
    file.write_text("".join(line.replace("{}", name) + "\n" for name in file.read_text().split()))
    data = read_voc(filled_voc.root, TRAINVAL)
    assert (data.digest, data.image_ids) == (expected.digest, expected.image_ids)
    assert (flaw in flaws(data)) == bool(flaw)
    assert not [one for one in data.findings if one.flaw in (Flaw.ANNOTATION_MISSING, Flaw.LISTED_TWICE)]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_of_other_systems(filled_voc, encoding, end):
    file = filled_voc.folder / "ImageSets/Main/trainval.txt"
    file.write_bytes(file.read_text().replace("\n", end).encode(encoding))
    assert len(read_voc(filled_voc.root, TRAINVAL)) == 20


def test_a_name_with_a_space_is_no_second_column(voc):
    voc.add("trainval", "one 1", [("dog", (1, 2, 30, 40))])
    data = read_voc(voc.root, TRAINVAL)
    assert data.image_ids == ("one 1",)
    assert not data.findings
    file = voc.folder / "ImageSets/Main/trainval.txt"
    file.write_text("one 1  -1\n")
    data = read_voc(voc.root, TRAINVAL)
    assert data.image_ids == ("one 1",)
    assert flaws(data) == {Flaw.LIST_COLUMNS}


@pytest.mark.parametrize("suffix", [".JPG", ".bmp", ".webp", ".tif", ".TIFF", ".gif", ".jfif", ".jp2"])
def test_images_of_other_suffixes(voc, suffix):
    voc.add("trainval", "one", [("dog", (1, 2, 30, 40))])
    voc.image("one").rename(voc.image("one").with_suffix(suffix))
    assert read_voc(voc.root, TRAINVAL).images[0].file.suffix == suffix


def test_suffixes_that_are_looked_for_are_said(voc):
    voc.add("trainval", "one", [("dog", (1, 2, 30, 40))])
    voc.image("one").rename(voc.image("one").with_suffix(".xyz"))
    fails(r"JPEGImages does not have it as .jpg, .jpeg, .png, .bmp, .webp, .tif", voc.root)


@pytest.mark.parametrize("listed", ["NFC", "NFD"])
@pytest.mark.parametrize("image", ["NFC", "NFD"])
@pytest.mark.parametrize("annotation", ["NFC", "NFD"])
def test_names_are_compared_in_one_unicode_form(voc, listed, image, annotation):
    voc.add("trainval", "one", [("caf\u00e9", (1, 2, 30, 40))])
    listed, image, annotation = (unicodedata.normalize(form, "\u00e9t\u00e9") for form in (listed, image, annotation))
    voc.image("one").rename(voc.image(image))
    voc.annotation("one").rename(voc.annotation(annotation))
    (voc.folder / "ImageSets/Main/trainval.txt").write_text(listed)
    data = read_voc(voc.root, TRAINVAL, classes=[unicodedata.normalize("NFD", "caf\u00e9")])
    assert data.class_counts.tolist() == [1]
    assert not data.findings


def test_shares_of_the_image_are_no_pixels(filled_voc):
    for file in (filled_voc.folder / "Annotations").glob("a*.xml"):
        file.write_text(filled_voc.xml([("cat", (0.1, 0.2, 0.5, 0.9)), ("dog", (0.05, 0.1, 0.98, 1))], size=None))
    fails("40 of 40 boxes lie within 0 to 1, as shares of the image do; boxes must be in pixels", filled_voc.root)


def test_a_size_in_place_of_the_second_corner(filled_voc):
    for file in (filled_voc.folder / "Annotations").glob("a*.xml"):
        file.write_text(filled_voc.xml([("cat", (5, 6, 35, 44)), ("dog", (50, 10, 20, 35))], size=None))
    fails("20 of 40 boxes do not fit .*, and all would if they were x, y, width, height", filled_voc.root)
