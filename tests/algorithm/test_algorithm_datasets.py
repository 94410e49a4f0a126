"""The paper's configurations at full size, from the command to the check of their settings, on a few pictures."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest
from small_runs import settled

from nnabla_detofa.data import voc
from nnabla_detofa.search_stages import limits
from nnabla_detofa.searcher import DetOFASearcher

BATCHES = [f"hparams.{kind}_{split}=2" for kind in ("batch_size", "mini_batch") for split in ("train", "valid")]
SMALL = [*BATCHES, "path_filter.bn_images=4", "path_filter.validation_images=4", "args.context=cpu"]
CLASSES = "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant"
CLASSES = [*CLASSES.split(), "sheep", "sofa", "train", "tvmonitor"]
BOX = "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>40</xmax><ymax>50</ymax></bndbox>"


def write(file, content=""):
    """A text, or a picture."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".jpg":
        cv2.imwrite(str(file), np.zeros((60, 80, 3), np.uint8))
    else:
        file.write_text(content)


def devkit(root):
    """VOC2007 and VOC2012, four images with all classes in each list."""
    objects = "".join(f"<object><name>{name}</name><difficult>0</difficult>{BOX}</object>" for name in CLASSES)
    for year, split in ((2007, "trainval"), (2007, "test"), (2012, "trainval")):
        folder, names = root / "VOCdevkit" / f"VOC{year}", [f"{split}{i}" for i in range(4)]
        write(folder / "ImageSets" / "Main" / f"{split}.txt", "\n".join(names))
        for name in names:
            write(folder / "JPEGImages" / f"{name}.jpg")
            write(folder / "Annotations" / f"{name}.xml", f"<annotation>{objects}</annotation>")


def instances(root):
    """COCO's two files of 80 categories, whose numbers have gaps."""
    categories = [{"id": 1 + i + i // 10, "name": f"category {i}"} for i in range(80)]
    box = {"bbox": [5, 6, 35, 44], "iscrowd": 0, "area": 1540}
    for split, n in (("train2017", 8), ("val2017", 4)):
        images = [{"id": i, "file_name": f"{i:012d}.jpg", "width": 80, "height": 60} for i in range(n)]
        boxes = [{**box, "id": 1 + i, "image_id": i % n, "category_id": one["id"]} for i, one in enumerate(categories)]
        for image in images:
            write(root / split / image["file_name"])
        content = {"images": images, "annotations": boxes, "categories": categories}
        write(root / "annotations" / f"instances_{split}.json", json.dumps(content))


@pytest.mark.parametrize(
    ("name", "make", "shape"), [("voc", devkit, (20, 96, 96)), ("coco", instances, (80, 128, 128))]
)
def test_the_papers_configurations_build_and_pass_their_check(command, name, make, shape):
    make(command.start / "data" / name.upper())
    options = [f"dataloader.{name}.held_out=4", f"dataloader.{name}.workers=0"]
    with settled(DetOFASearcher) as ready:
        answer = command.run("-c", f"detofa_{name}", *SMALL, *options)
    assert (answer.code, answer.err) == (0, [])
    (run,) = ready
    assert [len(run.data[part]) for part in ("train", "valid", "test")] == [4, 4, 4]
    assert len(run.budgets) == len(limits(run)) == 5
    assert run.data["train"].n_classes == shape[0]
    assert run.data["train"].next()["targets"][0].shape[1:] == shape


def test_a_run_reads_each_annotation_once(command, monkeypatch):
    reads, read = Counter(), voc.read_annotation
    monkeypatch.setattr(voc, "read_annotation", lambda file, found: (reads.update([file.name]), read(file, found))[1])
    with settled(DetOFASearcher):
        assert command().code == 0
    assert len(reads) == 72 and set(reads.values()) == {1}
