"""YOLO folders as they should not be: data.yaml, lists of images and label files."""

from functools import partial
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from nnabla_detofa.data import DetectionDataset, read_yolo
from nnabla_detofa.data.flaws import Severity

from .annotations import agreed, trained_on
from .answers import RESULT, Property, answer
from .images import lines, picture, rarely, write
from .mutations import ODD_TEXTS, edited, mutated

VALID = {
    "path": ".",
    "train": ["images/train", "more.txt"],
    "val": "../images/val",
    "test": "images/test",
    "nc": 2,
    "names": {0: "cat", 1: "dog"},
    "kpt_shape": None,
}
SPLITS = ("train", "val", "test")
LABELS = b"0 0.5 0.5 0.5 0.25\n1 0.1 0.2 0.5 0.9 0.4 0.4\n"
NUMBERS = st.one_of(st.sampled_from([*ODD_TEXTS, "1e20", "-0.3", "700"]), st.floats().map(repr))


def filled(folder: Path) -> Path:
    """A folder with an image in each split, in which nothing is wrong."""
    for split in SPLITS:
        write(folder / "images" / split / "a.jpg", picture())
        write(folder / "labels" / split / "a.txt", LABELS)
    write(folder / "more.txt", "images/test/a.jpg\n")
    return write(folder / "data.yaml", yaml.safe_dump(VALID))


def descriptions() -> st.SearchStrategy[bytes]:
    """A valid file after edits of its values or of its bytes."""
    files = [yaml.safe_dump(VALID).encode(), yaml.safe_dump(VALID, default_flow_style=True).encode("utf-16")]
    dumped = edited(VALID).map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "replace"))
    return st.one_of(dumped, mutated(files))


@st.composite
def rows(draw: Any) -> bytes:
    """A label file with odd numbers now and then, and odd numbers of numbers."""
    usual = st.floats(0, 1).map(repr)
    lengths = st.sampled_from([4] * 9 + [0, 1, 3, 5, 6, 7, 8, 51])
    found = []
    for _ in range(draw(st.integers(0, 4))):
        number = draw(rarely(draw, NUMBERS, st.sampled_from("01")))
        found.append(" ".join([number, *(draw(rarely(draw, NUMBERS, usual)) for _ in range(draw(lengths)))]))
    return draw(st.sampled_from(["\n", "\r\n", "\r"])).join(found).encode("utf-8", "replace")


def lists() -> st.SearchStrategy[str]:
    """Lists of images; some lead elsewhere."""
    odd = ["../secret.jpg", "images", "images/../images/val/a.jpg", "\0", "./images//val/a.jpg", "data.yaml"]
    return lines([f"images/{split}/a.jpg" for split in SPLITS], odd, st.just(""))


def read(content: bytes | str, folder: Path, *, place: str) -> str:
    """Strictly and not, with this content of one file; what is read strictly is trained on."""
    file = filled(folder)
    write(folder / place, content)
    lenient: list[DetectionDataset] = []
    forgiving = answer(lambda: lenient.append(read_yolo(file, "train", classes=["cat", "dog"], strict=False)))
    strict = answer(lambda: trained_on(read_yolo(file, "train", classes=["cat", "dog"])))
    own = [one.validation for one in lenient if one.validation is not None]
    if own and any(finding.flaw.severity is Severity.UNUSABLE for finding in own[0].findings):
        assert strict != RESULT
        return strict
    return agreed(strict, forgiving, lenient, opened=folder / "images" / "train" / "a.jpg")


PROPERTIES = {
    "yolo_yaml": Property(descriptions(), partial(read, place="data.yaml")),
    "yolo_rows": Property(rows(), partial(read, place="labels/train/a.txt")),
    "yolo_labels": Property(mutated([LABELS, LABELS * 40]), partial(read, place="labels/val/a.txt")),
    "yolo_list": Property(lists(), partial(read, place="more.txt")),
}
