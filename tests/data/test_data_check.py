"""Every kind of flaw, planted: the examination finds it and no other, and training does what the policy says."""

import json
import os
import shutil
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from nnabla_detofa.data import coco as coco_module
from nnabla_detofa.data import flaws as flaws_module
from nnabla_detofa.data import image_folder as folder_module
from nnabla_detofa.data import voc as voc_module
from nnabla_detofa.data.coco import CocoOptions
from nnabla_detofa.data.data_check import check, policy_table
from nnabla_detofa.data.examination import as_json, before_training, examine, severity
from nnabla_detofa.data.flaws import Flaw, Severity
from nnabla_detofa.data.image_folder import FolderOptions
from nnabla_detofa.data.images import MAX_PIXELS, read_image
from nnabla_detofa.data.voc import VocOptions
from nnabla_detofa.errors import ConfigError, DataError

ORIENTED = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # turn by 90 degrees
CAT = [("cat", (5, 6, 40, 50))]


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(sum(shape)).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)


def save(file, pixels, mode=None):
    """As an image of Pillow's `mode`, whatever the suffix says."""
    picture = Pillow.fromarray(pixels)
    (picture if mode is None else picture.convert(mode)).save(file, "JPEG" if mode == "CMYK" else "PNG")


def turn(file):
    data = file.read_bytes()
    file.write_bytes(data[:2] + b"\xff\xe1" + (len(ORIENTED) + 2).to_bytes(2, "big") + ORIENTED + data[2:])


def bomb(file, side=2**15):
    """A PNG whose header promises side x side pixels."""
    save(file, noise(8, 8, 3))
    data = bytearray(file.read_bytes())
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    file.write_bytes(data)


def animate(file):
    """Two frames, in a format that has them."""
    first, second = (Pillow.fromarray(noise(60, 80, 3) // n) for n in (1, 2))
    first.save(file, "WEBP", save_all=True, append_images=[second])


def small_voc(voc):
    """Three images of cats to train on, two to test on, all different."""
    for split, names in (("trainval", "abc"), ("test", "de")):
        for name in names:
            voc.add(split, name, CAT)
    return voc


def with_object(voc, name="cat", box=(5, 6, 40, 50), **more):
    voc.annotation("a").write_text(voc.xml([*CAT, (name, box)], **more))


def copied(voc, source, target):
    shutil.copy(voc.image(source), voc.image(target))


def changed(voc, old, new):
    voc.annotation("a").write_text(voc.annotation("a").read_text().replace(old, new))


def plain(voc):
    """A folder for each split, with images and xml side by side."""
    for split, names in (("trainval", "abc"), ("test", "de")):
        (voc.root / split).mkdir()
        for file in (one for name in names for one in (voc.image(name), voc.annotation(name))):
            shutil.move(file, voc.root / split)
    shutil.rmtree(voc.root / "VOCdevkit")


BOX = "<bndbox><xmin>50</xmin><ymin>2</ymin><xmax>60</xmax><ymax>9</ymax></bndbox>"
NAMED = f"<name>cat</name>{BOX}"
POINTS = "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate([(50, 2), (60, 5), (55, 9)], 1))
OUTLINED = f"<object><name>cat</name><polygon>{POINTS}</polygon></object>"


CLEAN = id  # does nothing to a set
VOC_FLAWS = {
    Flaw.SPLIT_UNREADABLE: lambda voc: (voc.folder / "ImageSets/Main/test.txt").unlink(),
    Flaw.IMAGE_MISSING: lambda voc: voc.image("a").unlink(),
    Flaw.IMAGE_UNREADABLE: lambda voc: voc.image("a").write_bytes(voc.image("a").read_bytes()[:-99]),
    Flaw.IMAGE_TOO_LARGE: lambda voc: bomb(voc.image("a")),
    Flaw.SIZE_DISAGREES: lambda voc: voc.annotation("a").write_text(voc.xml(CAT, (80, 61))),
    Flaw.ANNOTATION_MISSING: lambda voc: voc.annotation("a").unlink(),
    Flaw.ANNOTATION_UNREADABLE: lambda voc: [voc.annotation("a").unlink(), voc.annotation("a").mkdir()],
    Flaw.ANNOTATION_ALONE: lambda voc: [plain(voc), (voc.root / "trainval" / "z.xml").write_text(voc.xml(CAT))],
    Flaw.ANNOTATION_SHARED: lambda voc: [plain(voc), save(voc.root / "trainval" / "a.png", noise(60, 80, 3))],
    Flaw.SPLIT_STANDS_IN: lambda voc: (voc.folder / "ImageSets/Main/trainval.txt").rename(
        voc.folder / "ImageSets/Main/train.txt"
    ),
    Flaw.SPLIT_MADE: lambda voc: shutil.rmtree(voc.folder / "ImageSets"),
    Flaw.LIST_COLUMNS: lambda voc: (voc.folder / "ImageSets/Main/test.txt").write_text("d  1\ne -1\n"),
    Flaw.NAME_MENDED: lambda voc: (voc.folder / "ImageSets/Main/test.txt").write_text("d\n/set/e.jpg\n"),
    Flaw.FLAG_UNKNOWN: lambda voc: changed(voc, "<difficult>0<", "<difficult>Unspecified<"),
    Flaw.OBJECT_ELSEWHERE: lambda voc: changed(voc, "object>", "item>"),
    Flaw.BOX_SEVERAL: lambda voc: changed(voc, "</bndbox>", f"</bndbox>{BOX}"),
    Flaw.BOX_MISSING: lambda voc: changed(voc, "</object>", "</object><object><name>cat</name></object>"),
    Flaw.BOX_FROM_OUTLINE: lambda voc: changed(voc, "</object>", f"</object>{OUTLINED}"),
    Flaw.IGNORED: lambda voc: changed(voc, "</object>", f"</object><object><ignore>1</ignore>{NAMED}</object>"),
    Flaw.BOX_IN_SHARES: lambda voc: with_object(voc, box=(0.1, 0.1, 0.7, 0.9)),
    Flaw.CLASS_ONLY_IN_TEST: lambda voc: voc.annotation("d").write_text(voc.xml([*CAT, ("owl", (9, 9, 30, 30))])),
    Flaw.ANNOTATION_BROKEN: lambda voc: voc.annotation("a").write_text("<annotation>"),
    Flaw.NAME_LEADS_OUT: lambda voc: (voc.folder / "ImageSets/Main/test.txt").write_text("d\n../d\n"),
    Flaw.SIZE_MISSING: lambda voc: voc.annotation("a").write_text(voc.xml(CAT, None)),
    Flaw.IMAGE_GREY: lambda voc: save(voc.image("a"), noise(60, 80)),
    Flaw.IMAGE_DEEP: lambda voc: voc.image("a").write_bytes(
        cv2.imencode(".png", noise(60, 80, 3, dtype=np.uint16))[1].tobytes()
    ),
    Flaw.IMAGE_CMYK: lambda voc: save(voc.image("a"), noise(60, 80, 3), "CMYK"),
    Flaw.IMAGE_ALPHA: lambda voc: save(voc.image("a"), noise(60, 80, 3), "RGBA"),
    Flaw.IMAGE_TURNED: lambda voc: turn(voc.image("a")),
    Flaw.BOX_ZERO: lambda voc: with_object(voc, box=(9, 9, 9, 30)),
    Flaw.BOX_INVERTED: lambda voc: with_object(voc, box=(9, 9, 8, 30)),
    Flaw.BOX_OUTSIDE: lambda voc: with_object(voc, box=(81, 9, 90, 30)),
    Flaw.BOX_REPEATED: with_object,
    Flaw.BOX_STICKS_OUT: lambda voc: with_object(voc, box=(60, 9, 83, 30)),
    Flaw.TOO_MANY_OBJECTS: lambda voc: voc.annotation("a").write_text(
        voc.xml([("cat", (9 * i, 2, 9 * i + 5, 9)) for i in range(5)])
    ),
    Flaw.LISTED_TWICE: lambda voc: (voc.folder / "ImageSets/Main/test.txt").write_text("d\ne\nd\n"),
    Flaw.SAME_IMAGE_IN_SPLIT: lambda voc: copied(voc, "a", "c"),
    Flaw.SAME_IMAGE_IN_TEST: lambda voc: copied(voc, "a", "e"),
    Flaw.NO_BOXES: lambda voc: voc.annotation("a").write_text(voc.xml([])),
    Flaw.NOTHING_TO_FIND: lambda voc: [voc.annotation(one).write_text(voc.xml([])) for one in "de"],
    Flaw.IMAGE_FRAMES: lambda voc: animate(voc.image("a")),
    Flaw.DIFFICULT: lambda voc: voc.annotation("a").write_text(voc.xml([(*CAT[0], True)])),
}


@pytest.mark.parametrize("flaw", VOC_FLAWS, ids=lambda flaw: flaw.name)
def test_voc(voc, flaw):
    VOC_FLAWS[flaw](small_voc(voc))
    finds(VocOptions(root=voc.root, image_size=64, max_objects=4), flaw)


def annotate(voc, names, objects):
    """Other objects in some images."""
    for name in names:
        voc.annotation(name).write_text(voc.xml(objects))


ROW = [("cat", (9 * i, 2, 9 * i + 5, 9)) for i in range(5)]
OTHER_OPTIONS = [
    (lambda voc: with_object(voc, "dog", (50, 2, 60, 9)), {"classes": ["cat"]}, {Flaw.CLASS_LEFT_OUT}),
    (CLEAN, {"classes": ["cat", "cow"]}, {Flaw.CLASS_UNTRAINED, Flaw.CLASS_UNTESTED}),
    (CLEAN, {"classes": ["cow"]}, {Flaw.CLASS_LEFT_OUT, Flaw.CLASSES_ABSENT}),
    (lambda voc: annotate(voc, "abc", []), {"classes": ["cat"]}, {Flaw.NOTHING_TO_TRAIN}),
    (
        lambda voc: annotate(voc, "abcde", [("cat", (0.1, 0.2, 0.5, 0.6))]),
        {},
        {Flaw.BOXES_IN_ANOTHER_FORM, Flaw.BOX_IN_SHARES},
    ),
    (CLEAN, {"held_out": 3}, {Flaw.HELD_OUT_MORE}),
    (CLEAN, {"held_out": 0.9}, {Flaw.HELD_OUT_ALL}),
    (lambda voc: annotate(voc, "d", ROW), {"max_objects": 4}, {Flaw.NO_BOXES}),  # room matters where is trained
]


@pytest.mark.parametrize(("spoil", "options", "flaws"), OTHER_OPTIONS)
def test_what_options_make_of_a_set(voc, spoil, options, flaws):
    spoil(small_voc(voc))
    finds(VocOptions(root=voc.root, image_size=64, **options), *flaws)


@pytest.fixture
def small_coco(coco):
    """One image with two cats to train on, another one to test on."""
    coco.content["images"] = [{"id": 4, "file_name": "y.jpg", "width": 80, "height": 60}]
    boxes = {1: [10.5, 5, 20, 30.25], 2: [40, 5, 20, 30]}
    coco.content["annotations"] = [
        {"id": key, "image_id": 4, "category_id": 3, "bbox": box} for key, box in boxes.items()
    ]
    coco.content["categories"] = [{"id": 3, "name": "cat"}]
    coco.write("train")
    coco.content["images"][0]["file_name"] = "x.jpg"
    cv2.imwrite(str(coco.root / "val2017" / "x.jpg"), noise(60, 80, 3))
    return coco


COCO_FLAWS = {
    Flaw.IMAGE_MISSING: {"images": {"file_name": "z.jpg"}},
    Flaw.SIZE_DISAGREES: {"images": {"width": 81}},
    Flaw.NAME_LEADS_OUT: {"images": {"file_name": "../val2017/x.jpg"}},
    Flaw.ANNOTATION_BROKEN: {"annotations": {"bbox": [1, 2, 3]}},
    Flaw.CATEGORY_UNKNOWN: {"annotations": {"category_id": 5}},
    Flaw.IMAGE_UNKNOWN: {"annotations": {"image_id": 5}},
    Flaw.AREA_UNKNOWN: {"annotations": {"area": "large"}},
    Flaw.ANNOTATION_ID: {"annotations": {"id": 2}},
    Flaw.SIZE_MISSING: {"images": {"width": None}},
    Flaw.IGNORED: {"annotations": {"ignore": 1}},
    Flaw.FLAG_UNKNOWN: {"annotations": {"iscrowd": "Unspecified"}},
    Flaw.BOX_MISSING: {"annotations": {"bbox": []}},
    Flaw.BOX_IN_SHARES: {"annotations": {"bbox": [0.1, 0.1, 0.5, 0.5]}},
    Flaw.NAME_MENDED: {"images": {"file_name": ".\\\\x.jpg"}},
    Flaw.BOX_ZERO: {"annotations": {"bbox": [1, 2, 0, 3]}},
    Flaw.CROWD: {"annotations": {"iscrowd": 1}},
}


@pytest.mark.parametrize("flaw", COCO_FLAWS, ids=lambda flaw: flaw.name)
def test_coco(small_coco, flaw):
    ((part, change),) = COCO_FLAWS[flaw].items()
    small_coco.content[part][0] |= change
    small_coco.write("val")
    finds(CocoOptions(root=small_coco.root, image_size=64, held_out=0), flaw)


COCO_REPEATS = [
    ("images", {"file_name": "y.jpg"}, {Flaw.ID_REPEATED}),
    ("categories", {"name": "cow"}, {Flaw.ID_REPEATED}),
    ("categories", {"id": 9}, {Flaw.CATEGORY_REPEATED}),
    ("images", {"id": 5, "file_name": "/b/x.jpg"}, {Flaw.NAME_AMBIGUOUS, Flaw.NAME_MENDED}),
]


@pytest.mark.parametrize(("part", "change", "flaws"), COCO_REPEATS)
def test_what_a_coco_file_has_twice(small_coco, part, change, flaws):
    small_coco.content[part].append(small_coco.content[part][0] | change)
    small_coco.write("val")
    finds(CocoOptions(root=small_coco.root, image_size=64, held_out=0), *flaws)


FOLDER_FLAWS = {
    Flaw.FILE_IGNORED: lambda root: [(root / one).touch() for one in ("train/cat/readme.txt", "val/stray.png")],
    Flaw.CLASS_EMPTY: lambda root: (root / "train/dog").mkdir(),
    Flaw.IMAGE_GREY: lambda root: save(root / "train/cat/0.png", noise(9, 9)),
    Flaw.SAME_IMAGE_IN_TEST: lambda root: shutil.copy(root / "train/cat/0.png", root / "val/cat/9.png"),
}


@pytest.mark.parametrize("flaw", FOLDER_FLAWS, ids=lambda flaw: flaw.name)
def test_image_folder(tmp_path, flaw):
    for number, part in enumerate(("train", "val")):
        for name in ("cat", "ant"):
            (tmp_path / part / name).mkdir(parents=True)
            save(tmp_path / part / name / f"{number}.png", noise(9 + 5 * (name == "cat"), 9 + number, 3))
    FOLDER_FLAWS[flaw](tmp_path)
    finds(FolderOptions(root=tmp_path, image_size=32, held_out=0), flaw)


def finds(options, *flaws):
    """The examination finds these flaws alone, and reading for training stops just where it says so."""
    parts = examine(options, show=False, threads=2)
    found = [finding.flaw for part in parts for finding in part.findings]
    assert set(found) - {Flaw.NO_BOXES} == set(flaws) - {Flaw.NO_BOXES}
    worst = max(flaw.severity for flaw in flaws)
    assert severity(parts) == worst
    assert trains(options) == (worst < Severity.UNUSABLE)


def trains(options):
    """Whether loaders of all parts can be made, and all their images read."""
    loader = {VocOptions: voc_module, CocoOptions: coco_module, FolderOptions: folder_module}[type(options)].DataLoader
    try:
        for part in ((True, True), (False, True), (False, False)):
            dataset = loader(*part, 1, **{**options.model_dump(), "workers": 0}).dataset
            for index in range(len(dataset)):
                read_image(*dataset.picture(index))
    except DataError as error:
        assert "\n" not in str(error)
        return False
    return True


def test_every_flaw_is_planted_somewhere():
    elsewhere = set().union(*(one[2] for one in [*OTHER_OPTIONS, *COCO_REPEATS]))
    elsewhere |= {Flaw.BOX_WITH_POINTS}  # of YOLO's sets
    elsewhere |= {Flaw.MASK_MISSING, Flaw.OUTLINE_MISSING, Flaw.CROWD_REGION}  # of those with masks
    assert {*VOC_FLAWS, *COCO_FLAWS, *FOLDER_FLAWS, *elsewhere} == set(Flaw)


def test_tables_of_a_clean_set(voc, capsys):
    assert check({"voc": {"root": str(small_voc(voc).root), "image_size": 64}}) == Severity.NOTED == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line] == [
        ["split", "data", "images", "labels", "smallest", "median", "largest"],
        ["train", "VOC2007", "trainval", "3", "3", "80x60", "80x60", "80x60"],
        ["test", "VOC2007", "test", "2", "2", "80x60", "80x60", "80x60"],
        ["class", "train", "test"],
        ["cat", "3", "2"],
        ["no", "flaws"],
    ]
    assert last.startswith("5 images in ")
    assert last.endswith(" s: clean")


def test_tables_and_json_name_file_and_object(voc, capsys, tmp_path):
    with_object(small_voc(voc), box=(9, 9, 9, 30))
    options = {"voc": {"root": str(voc.root), "image_size": 64}}
    assert check(options, tmp_path / "found.json") == Severity.MENDED == 1
    assert (
        "train: 1 x box of zero size: left out (COCO's AP keeps it)\n    a.xml object 1  (9, 9, 9, 30)\n"
        in capsys.readouterr().out
    )
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["exit_code"] == 1
    assert found["splits"]["train"] == {
        "name": "VOC2007 trainval",
        "images": 3,
        "classes": {"cat": 3},
        "sizes": {"smallest": "80x60", "median": "80x60", "largest": "80x60"},
        "counts": {"box_zero": 1},
    }
    assert found["flaws"] == [
        {"split": "train", "flaw": "box_zero", "severity": "mended", "file": str(voc.annotation("a")), "object": 1}
        | {"detail": "(9, 9, 9, 30)"}
    ]
    annotate(voc, "a", [*CAT, *(("cat", (i, 9, i, 30)) for i in range(25))])
    check(options, tmp_path / "found.json")
    assert "    … and 5 more (--json FILE lists them all)\n" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "found.json").read_text())["flaws"]) == 25
    voc.image("b").unlink()
    assert check(options) == Severity.UNUSABLE == 2
    assert f"trainval.txt lists b, but {voc.image('b').parent} does not have it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("dataloader", "file", "said"),
    [
        *((one, None, "dataloader must hold exactly one entry") for one in (None, {}, {"voc": {}, "coco": {}}, [1])),
        (
            {"cifar10": None},
            None,
            "unknown data set 'cifar10'; known: coco, coco_masks, image_folder, voc, voc_masks, yolo",
        ),
        *(({"voc": {"root": "."}}, place, "cannot write") for place in ("none/x.json", ".", "/dev/null")),
        ({"voc": {"root": ".", "train": [3]}}, "x.json", "dataloader.voc.train"),
    ],
)
def test_what_the_check_refuses_leaves_the_file_of_the_one_before(tmp_path, dataloader, file, said):
    (tmp_path / "x.json").write_text("before")
    with pytest.raises(ConfigError, match=said):
        check(dataloader, file and tmp_path / file)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("x.json", "before")]


def test_threads_change_nothing(filled_voc):
    options = VocOptions(root=filled_voc.root, image_size=64)
    copied(filled_voc, "a01", "b02")
    assert as_json(examine(options, threads=1, show=False)) == as_json(examine(options, threads=3, show=False))


def test_training_says_the_counts_and_remembers_them(voc, caplog):
    flaws_module.tell.cache_clear()
    copied(small_voc(voc), "a", "e")
    with_object(voc, box=(9, 9, 9, 30))
    options = VocOptions(root=voc.root, image_size=64, held_out=0)
    said = [
        "VOC2007 trainval: 1 x box of zero size: left out (COCO's AP keeps it) (a.xml object 1)",
        "VOC2007 test: 1 x same picture in training and test: kept; AP is too good, take it out of one of them (e.jpg)",
    ]
    with caplog.at_level("WARNING"):
        record = before_training(options, None)
        assert [one.getMessage() for one in caplog.records] == record["said"] == said
        voc.image("a").unlink()
        assert before_training(options, json.loads(json.dumps(record))) == record
        more = VocOptions(root=voc.root, image_size=96, held_out=0)
        with pytest.raises(DataError, match="trainval.txt lists a, but .*/JPEGImages does not have it"):
            before_training(more, record)
        voc.image("b").unlink()
        with pytest.raises(DataError, match=r"lists a, .*\(and 1 more such flaws: `nnabla_detofa check` lists them\)"):
            before_training(more, {"options": "damaged"})


def test_pipes_and_devices_are_not_opened_and_links_are_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "zero.jpg"):
        with pytest.raises(DataError, match=f"cannot read the image .*{name}: it is no file"):
            read_image(tmp_path / name)
    cv2.imwrite(str(tmp_path / "a.png"), noise(8, 9, 3))
    (tmp_path / "b.png").symlink_to("a.png")
    assert read_image(tmp_path / "b.png").shape == (8, 9, 3)


def test_bombs_are_not_decoded(tmp_path):
    for side, said in ((2**14, "is too large, perhaps made to fill memory; an image may have"), (2**9, "damaged")):
        bomb(tmp_path / "a.png", side)
        assert (side**2 > MAX_PIXELS) == ("large" in said)
        with pytest.raises(DataError, match=said):
            read_image(tmp_path / "a.png")


REASONS = {
    "image": (lambda voc, name: voc.image(name).rename(voc.image(name).with_suffix(".xyz")), Flaw.IMAGE_MISSING),
    "annotation": (lambda voc, name: voc.annotation(name).write_text("<annotation>"), Flaw.ANNOTATION_BROKEN),
    "size": (
        lambda voc, name: [voc.annotation(name).write_text(voc.xml(CAT, None)), voc.image(name).write_text("x")],
        Flaw.IMAGE_UNREADABLE,
    ),
}


@pytest.mark.parametrize("reason", REASONS)
def test_check_names_every_reason_for_which_nothing_is_left(voc, reason, capsys):
    """As training names the first."""
    small_voc(voc)
    spoil, flaw = REASONS[reason]
    for name in "abc":
        spoil(voc, name)
    options = VocOptions(root=voc.root, image_size=64)
    train, test = examine(options, show=False)
    assert [one.flaw for one in train.findings if one.flaw.severity is Severity.UNUSABLE] == [flaw] * 3
    assert {one.flaw for one in test.findings} == set()
    assert check({"voc": {"root": str(voc.root), "image_size": 64}}) == 2
    said = capsys.readouterr().out
    assert "lists no image" not in said
    with pytest.raises(DataError) as training:
        options.read("train", None)
    assert str(training.value) in said


def test_the_policy_names_every_flaw():
    assert len(policy_table()) == len(Flaw) + 1
