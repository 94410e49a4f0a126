"""Writers of small VOC and COCO folders."""

import json

import cv2
import numpy as np
import pytest


def noise(width, height, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def xml(objects, size=(80, 60)):
    """A VOC annotation of `objects`: (name, (x1, y1, x2, y2)) or (name, box, difficult)."""
    rows = [f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""]
    for name, box, *difficult in objects:
        corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        rows.append(
            f"<object><name>{name}</name><difficult>{int(any(difficult))}</difficult><bndbox>{corners}</bndbox></object>"
        )
    return f"<annotation>{''.join(rows)}</annotation>"


class Voc:
    """A VOCdevkit that grows by `add`."""

    xml = staticmethod(xml)

    def __init__(self, root, year=2007):
        self.root, self.folder = root, root / "VOCdevkit" / f"VOC{year}"
        for one in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (self.folder / one).mkdir(parents=True)

    def add(self, split, name, objects=(), *, size=(80, 60), annotation=None):
        cv2.imwrite(str(self.image(name)), noise(*size, seed=len(name) + sum(map(ord, name))))
        self.annotation(name).write_text(annotation or xml(objects, size))
        with (self.folder / "ImageSets" / "Main" / f"{split}.txt").open("a") as file:
            file.write(f"{name}\n")
        return self

    def image(self, name):
        return self.folder / "JPEGImages" / f"{name}.jpg"

    def annotation(self, name):
        return self.folder / "Annotations" / f"{name}.xml"


@pytest.fixture
def voc(tmp_path):
    """An empty VOC2007."""
    return Voc(tmp_path / "data")


@pytest.fixture
def filled_voc(voc):
    """VOC2007 with 20 images in trainval, 5 in test, of two classes, image i holding i % 3 objects."""
    boxes = [("cat", (5, 6, 40, 50)), ("dog", (30, 10, 78, 45))]
    for i in range(20):
        voc.add("trainval", f"a{i:02d}", boxes[: i % 3], size=(80 + i, 60))
    for i in range(5):
        voc.add("test", f"b{i:02d}", boxes[: i % 3])
    return voc


class Coco:
    """A COCO folder; change `content` and `write`."""

    def __init__(self, root):
        self.root = root
        self.content = {
            "images": [
                {"id": 9, "file_name": "x.jpg", "width": 80, "height": 60},
                {"id": 4, "file_name": "y.jpg", "width": 80, "height": 60},
            ],
            "annotations": [
                {"id": 1, "image_id": 9, "category_id": 7, "bbox": [10.5, 5, 20, 30.25], "iscrowd": 0},
                {"id": 2, "image_id": 9, "category_id": 3, "bbox": [0, 0, 80, 60], "iscrowd": 1},
            ],
            "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        }
        for name in ("train2017", "val2017"):
            (root / name).mkdir(parents=True)
            for file in ("x.jpg", "y.jpg"):
                cv2.imwrite(str(root / name / file), noise(80, 60))
        (root / "annotations").mkdir()
        self.write("train").write("val")

    def file(self, part="train"):
        return self.root / "annotations" / f"instances_{part}2017.json"

    def image(self, name):
        return self.root / "train2017" / name

    def write(self, part="train"):
        self.file(part).write_text(json.dumps(self.content))
        return self


@pytest.fixture
def coco(tmp_path):
    """Two images (ids 9 and 4), one without boxes, two categories with gaps in their ids, one crowd."""
    return Coco(tmp_path / "data")
