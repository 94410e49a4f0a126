"""COCO without its pictures: an instances json as large as the real one, and detections on it."""

import contextlib
import io
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from nnabla_detofa.data.coco import read_coco
from nnabla_detofa.detection import Peaks, decode, to_coco, to_detections
from nnabla_detofa.tasks.centernet import average_precision

OBJECTS, CLASSES, SIDE, STRIDE = 7.27, 80, 512, 4  # objects an image in train2017
NAMES = [f"class{number}" for number in range(CLASSES)]


def instances(file: Path, n: int, *, corners: int = 25) -> np.ndarray:
    """Write n images and their objects with outlines of so many corners; returns rows image, label, x, y, w, h.

    Written as text: a dictionary for each of 860,000 objects would take longer than what is measured.
    """
    rng = np.random.default_rng(0)
    image = np.sort(rng.integers(n, size=round(n * OBJECTS)))
    boxes = rng.uniform([0, 0, 8, 8], [SIDE - 160, SIDE - 160, 160, 160], (len(image), 4)).round(2)
    rows = np.column_stack([image, rng.integers(CLASSES, size=len(image)), boxes])
    outlines = [json.dumps(rng.uniform(0, SIDE, (1, 2 * corners)).round(2).tolist()) for _ in range(100)]
    images = (f'{{"file_name": "{i:012d}.jpg", "height": {SIDE}, "width": {SIDE}, "id": {i}}}' for i in range(n))
    objects = (
        f'{{"segmentation": {outlines[i % 100]}, "area": {w * h:.4f}, "iscrowd": 0, "image_id": {image:.0f}, '
        f'"bbox": [{x}, {y}, {w}, {h}], "category_id": {label + 1:.0f}, "id": {i + 1}}}'
        for i, (image, label, x, y, w, h) in enumerate(rows.tolist())
    )
    classes = json.dumps([{"id": number, "name": name} for number, name in enumerate(NAMES, start=1)])
    with file.open("w") as out:
        for key, parts in (("images", images), ("annotations", objects)):
            out.write(("{" if key == "images" else "], ") + f'"{key}": [')
            out.write(", ".join(parts))
        out.write(f'], "categories": {classes}}}')
    return rows


def reading(n: int, by: str):
    """The annotations of n images, whose files are there and empty: by our reader, or by pycocotools, which does not
    look for the images and checks nothing."""
    folder = tempfile.TemporaryDirectory()
    file, pictures = Path(folder.name, "instances.json"), Path(folder.name, "images")
    instances(file, n)
    pictures.mkdir()
    for i in range(n):
        (pictures / f"{i:012d}.jpg").touch()

    def run(keep=folder) -> None:  # noqa: ARG001 - the file lives as long as the task
        if by == "pycocotools":
            with contextlib.redirect_stdout(io.StringIO()):
                COCO(file)
        else:
            file.touch()  # the reader keeps what it has read
            assert len(read_coco(pictures, file)) == n

    return run


def maps(labels: np.ndarray, boxes: np.ndarray, rng: np.random.Generator):
    """Heat map, sizes and offsets (1, C, h, w) of one image: noise, and a peak near the centre of each object."""
    side = SIDE // STRIDE
    heatmap = rng.random((1, CLASSES, side, side), np.float32) * np.float32(0.3)
    size = np.full((1, 2, side, side), 10, np.float32)
    x, y = ((boxes[:, :2] + boxes[:, 2:] / 2) / STRIDE + rng.normal(0, 0.3, (len(boxes), 2))).astype(int).T
    heatmap[0, labels, y, x] = rng.uniform(0.3, 1, len(labels))
    size[0, :, y, x] = boxes[:, 2:] / STRIDE
    return heatmap, size, np.full((1, 2, side, side), 0.5, np.float32)


def decoding(n: int):
    """Boxes of n images from maps of 80 × 128 × 128; a few maps are made, and taken in turn."""
    rng = np.random.default_rng(0)
    found = [maps(rng.integers(CLASSES, size=7), rng.uniform(8, 300, (7, 4)), rng) for _ in range(4)]

    def run() -> int:
        for number in range(n):
            decode(*found[number % len(found)])
        return n

    return run


def precision(n: int, by: str):
    """COCO's AP of 100 detections in each of n images: by us from arrays, that figure alone, or by pycocotools from its
    dicts, which knows no less than all twelve.

    Both read the annotations anew. What is found are the objects, moved, and noise.
    """
    folder = tempfile.TemporaryDirectory()
    file, rng = Path(folder.name, "instances.json"), np.random.default_rng(0)
    rows = instances(file, n)
    detections = _detections(rows, n, rng)
    dataset = SimpleNamespace(name="made", image_ids=range(n), category_ids=range(1, CLASSES + 1), annotation_file=file)
    results = to_coco(detections, range(n), range(1, CLASSES + 1))

    def run(keep=folder) -> None:  # noqa: ARG001
        if by == "pycocotools":
            with contextlib.redirect_stdout(io.StringIO()):
                truth = COCO(file)
                evaluation = COCOeval(truth, truth.loadRes([dict(one) for one in results]), "bbox")
                evaluation.evaluate()
                evaluation.accumulate()
                evaluation.summarize()
        else:
            file.touch()
            average_precision("coco", detections, dataset)

    return run


def _detections(rows: np.ndarray, n: int, rng: np.random.Generator, top: int = 100):
    labels, scores = rng.integers(CLASSES, size=(n, top)), rng.random((n, top)) * 0.3
    centre, extent = rng.uniform(0, SIDE, (n, top, 2)), rng.uniform(8, 160, (n, top, 2))
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], axis=2) / STRIDE
    image = rows[:, 0].astype(int)
    place = np.arange(len(rows)) - np.searchsorted(image, image)
    moved = rows[:, 2:] + rng.normal(0, 3, (len(rows), 4))
    boxes[image, place] = np.hstack([moved[:, :2], moved[:, :2] + moved[:, 2:]]) / STRIDE
    labels[image, place], scores[image, place] = rows[:, 1].astype(int), rng.random(len(rows))
    matrix = np.tile(np.array([[1 / STRIDE, 0, 0], [0, 1 / STRIDE, 0]]), (n, 1, 1))
    return to_detections(Peaks(boxes.astype(np.float32), labels, scores.astype(np.float32)), np.arange(n), matrix)
