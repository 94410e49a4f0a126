"""Annotation files as other people's tools write them: read where they can be meant in one way, else one line."""

import pytest

from nnabla_detofa.data.flaws import Findings, Flaw
from nnabla_detofa.data.voc_xml import read_annotation
from nnabla_detofa.errors import DataError

SIZE = "<size><width>80</width><height>60</height></size>"
BOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox>"
OTHER = BOX.replace("1<", "5<")
CAT = f"<name>cat</name>{BOX}"


def read(tmp_path, inner, prologue=""):
    file = tmp_path / "a.xml"
    data = inner if isinstance(inner, bytes) else f"{prologue}<annotation>{SIZE}{inner}</annotation>".encode()
    file.write_bytes(data)
    findings = Findings()
    return read_annotation(file, findings), [finding.flaw for finding in findings]


FLAGS = {
    **dict.fromkeys(["1", "true", "True", "YES", " y ", "1.0", "t"], (True, False)),
    **dict.fromkeys(["0", "false", "No", "", " ", "0.0", "None"], (False, False)),
    **dict.fromkeys(["Unspecified", "2", "-1", "maybe", "nan", "true!"], (False, True)),
}


@pytest.mark.parametrize("text", FLAGS)
@pytest.mark.parametrize("tag", ["difficult", "ignore", "Difficult"])
def test_only_yes_is_yes(tmp_path, tag, text):
    flag, unknown = FLAGS[text]
    annotation, flaws = read(tmp_path, f"<object>{CAT}<{tag}>{text}</{tag}></object>")
    (one,) = annotation.objects
    assert (one.difficult if "ifficult" in tag else one.ignored) == flag
    assert flaws == [Flaw.FLAG_UNKNOWN] * unknown


@pytest.mark.parametrize("tag", ["truncated", "occluded", "pose", "confidence"])
def test_what_is_not_used_may_say_anything(tmp_path, tag):
    annotation, flaws = read(tmp_path, f"<object>{CAT}<{tag}>Unspecified</{tag}></object>")
    assert (len(annotation.objects), flaws) == (1, [])


@pytest.mark.parametrize(
    ("inner", "flaws"),
    [
        (f"<object>{CAT}</object>", []),
        (f"<Object>{CAT}</Object>".replace("bndbox", "BndBox").replace("xmin", "Xmin"), []),
        (f'<object xmlns="http://x/y">{CAT}</object>', []),
        (f"<object>{CAT}<part><name>head</name>{OTHER}</part></object>", []),
        (f"<item>{CAT}</item>", [Flaw.OBJECT_ELSEWHERE]),
        (f"<objects><object>{CAT}</object></objects>", [Flaw.OBJECT_ELSEWHERE]),
        (f"<object><object>{CAT}</object></object>", [Flaw.OBJECT_ELSEWHERE]),
        (f"<outputs><object><item>{CAT}</item></object></outputs>", [Flaw.OBJECT_ELSEWHERE]),
    ],
)
def test_an_object_is_found_wherever_it_is(tmp_path, inner, flaws):
    annotation, found = read(tmp_path, inner)
    assert [(one.key, one.name, one.box) for one in annotation.objects] == [(0, "cat", (1, 2, 30, 40))]
    assert (annotation.size, found) == ((80, 60), flaws)


def test_objects_keep_the_order_of_the_file(tmp_path):
    inner = f"<object>{CAT}</object><objects><object><name>dog</name>{OTHER}</object></objects><object>{CAT}</object>"
    annotation, _ = read(tmp_path, inner)
    assert [(one.key, one.name) for one in annotation.objects] == [(0, "cat"), (1, "dog"), (2, "cat")]


def test_several_boxes_are_several_objects(tmp_path):
    annotation, flaws = read(tmp_path, f"<object>{CAT}{OTHER}</object><object>{CAT}</object>")
    assert [(one.key, one.box[0]) for one in annotation.objects] == [("0 box 0", 1), ("0 box 1", 5), (1, 1)]
    assert flaws == [Flaw.BOX_SEVERAL]


POINTS = [(3, 4), (20, 9), (11, 50)]
POLYGONS = [
    "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(POINTS, start=1)),
    "<username>me</username>" + "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in POINTS),
]


@pytest.mark.parametrize("polygon", POLYGONS)
@pytest.mark.parametrize("tag", ["object", "item"])
def test_an_outline_stands_in_for_a_box_that_is_missing(tmp_path, polygon, tag):
    annotation, flaws = read(tmp_path, f"<{tag}><name>cat</name><polygon>{polygon}</polygon></{tag}>")
    assert [one.box for one in annotation.objects] == [(3, 4, 20, 50)]
    assert Flaw.BOX_FROM_OUTLINE in flaws
    annotation, flaws = read(tmp_path, f"<object>{CAT}<polygon>{polygon}</polygon></object>")
    assert ([one.box for one in annotation.objects], flaws) == ([(1, 2, 30, 40)], [])


@pytest.mark.parametrize("box", ["", "<bndbox/>", "<bndbox><xmin/><ymin> </ymin></bndbox>", "<polygon/>"])
def test_an_object_without_a_box_is_left_out(tmp_path, box):
    annotation, flaws = read(tmp_path, f"<object><name>cat</name>{box}</object><object>{CAT}</object>")
    assert ([one.key for one in annotation.objects], flaws) == ([1], [Flaw.BOX_MISSING])


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("<object/>", "object 0 lacks its name"),
        (f"<object>{BOX}</object>", "object 0 lacks its name"),
        (f"<item><label>cat</label>{BOX}</item>", "object 0 lacks its name"),
        (BOX, "object 0 lacks its name"),
        (f"<object>{CAT}<name>dog</name>{OTHER}</object>", "object 0 has the names cat, dog; an object has one"),
        (
            "<object><name>cat</name><robndbox><cx>3</cx></robndbox></object>",
            "object 0 has a robndbox and no bndbox; only upright boxes are read",
        ),
        (
            "<object><name>cat</name><bndbox><x>1</x><y>2</y><w>3</w><h>4</h></bndbox></object>",
            "bndbox of x, y, w, h; it must have xmin",
        ),
        (f"<object>{CAT.replace('<xmax>30</xmax>', '')}</object>", "of xmin, ymin, ymax; it must"),
        (f"<object>{CAT.replace('<xmin>', '<xmin>3</xmin><xmin>')}</object>", "of xmin, xmin, ymin"),
        (
            f"<object><name>cat</name><polygon>{POLYGONS[0].replace('>3<', '>1e9<')}</polygon></object>",
            "has the corners .*; its numbers must be finite and from",
        ),
    ],
)
def test_what_could_be_meant_in_two_ways_stops(tmp_path, inner, message):
    with pytest.raises(DataError, match=f"a.xml is not a VOC annotation: .*{message}"):
        read(tmp_path, inner)


@pytest.mark.parametrize("prologue", ["\ufeff", "\n  ", '\r\n<?xml version="1.0" encoding="utf-8"?>\r\n', "<!-- x -->"])
def test_what_may_stand_before_the_document(tmp_path, prologue):
    annotation, flaws = read(tmp_path, f"<object>{CAT}</object>", prologue)
    assert (len(annotation.objects), flaws) == (1, [])


@pytest.mark.parametrize("data", [b"", b" \r\n\t", b"\xef\xbb\xbf\r\n"])
def test_an_empty_file_is_a_background(tmp_path, data):
    annotation, flaws = read(tmp_path, data)
    assert (annotation, flaws) == ((None, []), [Flaw.ANNOTATION_MISSING])


@pytest.mark.parametrize("content", ['<annotations><image><box label="cat" xtl="1"/></image></annotations>', "<html/>"])
def test_a_file_of_something_else_is_no_background(tmp_path, content):
    file = tmp_path / "a.xml"
    file.write_text(content)
    with pytest.raises(DataError, match="a.xml is not a VOC annotation: it has no object, and begins with <[ah]"):
        read_annotation(file, Findings())
    file.write_text("<annotation/>")
    assert read_annotation(file, Findings()) == (None, [])
