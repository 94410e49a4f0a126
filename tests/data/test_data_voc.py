"""Reading a VOCdevkit: what is there is read as annotated, what is wrong is said in one line."""

import os
import unicodedata

import numpy as np
import pytest

from nnabla_detofa.data import read_voc
from nnabla_detofa.data.flaws import Flaw, Severity
from nnabla_detofa.data.voc import DataLoader
from nnabla_detofa.errors import DataError

TRAINVAL = [(2007, "trainval")]


BOMB = '<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><annotation>&d;</annotation>'


def listed(content):
    """Another list of the split."""
    return lambda voc: (voc.folder / "ImageSets/Main/trainval.txt").write_bytes(content)


def annotated(text, encoding="utf-8"):
    """Another annotation of the third image."""
    return lambda voc: voc.annotation("a02").write_bytes(text.encode(encoding))


def boxed(*corners):
    """One whose second object has these corners."""
    return lambda voc: annotated(voc.xml([("dog", (1, 2, 3, 4)), ("dog", corners)]))(voc)


def sized(width):
    """One whose width this is."""
    return lambda voc: annotated(voc.xml([], (width, 60)))(voc)


def pipe(voc):
    """No list, but something that may never end."""
    (voc.folder / "ImageSets/Main/trainval.txt").unlink()
    os.mkfifo(voc.folder / "ImageSets/Main/trainval.txt")


REFUSED = [
    (listed(b"\n"), "lists no image"),
    (listed(b"\xff\xfe\xff"), "cannot read the split"),
    *((listed(name), "leads out of") for name in (b"../../etc/passwd", b"/etc/passwd", b"..\\x")),
    (pipe, "cannot read the split .*trainval.txt: it is no file"),
    (lambda voc: voc.image("a03").unlink(), "trainval.txt lists a03, but .*JPEGImages does not have it as .jpg, .jpeg"),
    (lambda voc: voc.image("a").parent.rename(voc.folder / "x"), "cannot list the image folder .*JPEGImages"),
    (lambda voc: [voc.annotation("a03").unlink(), voc.annotation("a03").mkdir()], "a03.xml: it is no file"),
    *(
        (annotated(text), "cannot read the annotation .*a02.xml: .")
        for text in ("<annotation><object>", "\0", "no xml")
    ),
    *((annotated(BOMB, encoding), "DOCTYPE") for encoding in ("utf-8", "utf-16", "utf-16-be", "utf-8-sig")),
    (annotated('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'), "a02.xml has a DOCTYPE"),
    *((boxed(*one), "object 1 has") for one in [("x", 1, 2, 3), (1, 2, 3, ""), (1, 2, "nan", 4), (1, 2, "inf", 4)]),
    (lambda voc: annotated(voc.xml([("", (1, 2, 3, 4))]))(voc), "lacks its name"),
    *((sized(width), "its size is .*whole numbers of pixels") for width in ("9.5", "x", "-4", "nan", "1e999")),
]


@pytest.mark.parametrize(("spoil", "said"), REFUSED)
def test_what_is_refused(filled_voc, spoil, said):
    spoil(filled_voc)
    with pytest.raises(DataError, match=said) as caught:
        read_voc(filled_voc.root, TRAINVAL)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("splits", "options", "said"),
    [
        ([(2012, "trainval")], {}, "no VOC2012 in .*VOCdevkit; there: VOC2007: put VOCdevkit/VOC2012"),
        ([("200" + "7" * 300, "trainval")], {}, "no VOC2007{300} in "),
        ([(2007, "val")], {}, "no split 'val' in .*Main; there: test, trainval"),
        *(([(2007, name)], {}, "leads out of") for name in ("../../etc/passwd", "/etc/passwd", "..\\x")),
        (TRAINVAL, {"classes": ["cats", "dogs"]}, "no object of the classes cats, dogs; it has cat, dog"),
    ],
)
def test_what_is_not_there(filled_voc, splits, options, said):
    with pytest.raises(DataError, match=said):
        read_voc(filled_voc.root, splits, **options)
    with pytest.raises(DataError, match="no VOC2007 in .*nowhere; there: none: put VOCdevkit/VOC2007 with"):
        read_voc(filled_voc.root / "nowhere", TRAINVAL)


def test_sizes_are_whole_pixels_or_those_of_the_image(voc):
    voc.add("trainval", "one", size=(64, 48), annotation=voc.xml([("dog", (1, 2, 30, 40))], size=None))
    voc.add("trainval", "two", annotation=voc.xml([], size=("80.0", 60)))
    assert [image.size for image in read_voc(voc.folder.parent, TRAINVAL).images] == [(64, 48), (80, 60)]


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


def test_years_and_splits_join_and_overlaps_count_once(voc):
    other = type(voc)(voc.root, year=2012)
    other.add("train", "one", [("bird", (1, 2, 30, 40))])
    voc.add("trainval", "one", [("dog", (1, 2, 30, 40))]).add("trainval", "two").add("val", "two")
    data = read_voc(voc.root, [[2007, "trainval"], ["VOC2012", "train"], (2007, "val")])
    assert data.image_ids == ("one", "two", "one")
    assert data.classes == ("bird", "dog")
    assert data.ground_truth().image.tolist() == [0, 2]


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


def test_nothing_to_learn_is_said_with_what_was_lost(voc):
    voc.add("trainval", "one").add("trainval", "two").annotation("two").unlink()
    lost = "\\(1 x image whose annotation file is missing or empty\\)$"
    with pytest.raises(DataError, match=f"no class can be discovered {lost}"):
        read_voc(voc.root, TRAINVAL)
    assert len(read_voc(voc.root, TRAINVAL, classes=["dog"])) == 2
    with pytest.raises(DataError, match=f"has no object of the classes cat, so nothing can be learnt {lost}"):
        DataLoader(False, True, 2, root=voc.root, image_size=64, classes=["cat"])


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


def test_a_list_of_classes_selects(filled_voc):
    data = read_voc(filled_voc.root, TRAINVAL, classes=["cow", "cat"])
    assert data.classes == ("cow", "cat")
    assert data.class_counts.tolist() == [0, 13]
    left_out = [one for one in data.findings if one.flaw is Flaw.CLASS_LEFT_OUT]
    assert [(one.place, one.detail) for one in left_out[:1]] == [("a02.xml object 1", "'dog'")]
    assert len(left_out) == 6


def test_a_split_that_is_missing_hides_nothing_of_the_others(filled_voc):
    filled_voc.image("a03").unlink()
    data = read_voc(filled_voc.root, [[2007, "trainval"], [2007, "val"]], strict=False)
    assert len(data) == 19
    unusable = [one.flaw for one in data.findings if one.flaw.severity is Severity.UNUSABLE]
    assert unusable == [Flaw.IMAGE_MISSING, Flaw.SPLIT_UNREADABLE]


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
