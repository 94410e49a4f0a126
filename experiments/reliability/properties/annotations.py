"""Data sets as they should not be: VOC's XML and lists, COCO's JSON."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nnabla_detofa.data import DetectionDataset, DetectionLoader, LoaderOptions, read_coco, read_voc
from nnabla_detofa.data.dataset import to_train_on
from nnabla_detofa.data.flaws import Findings, Severity
from nnabla_detofa.data.images import read_image
from nnabla_detofa.detection import Detections, coco_ap, to_coco, voc_ap
from nnabla_detofa.errors import DataError

from .answers import RESULT, Property, answer
from .images import FILES, HEIGHT, WIDTH, names, picture, rarely, write
from .mutations import ODD_TEXTS, edited, mutated

OPTIONS = LoaderOptions(image_size=32, max_objects=3, workers=0)


def trained_on(dataset: DetectionDataset) -> None:
    """A batch of what was read, so that nothing is accepted that training would stop at."""
    loader = DetectionLoader(dataset, searching=False, training=True, batch_size=2, options=OPTIONS)
    batch = loader.next()
    assert all(np.isfinite(one).all() for one in (*batch["inputs"], *batch["targets"]))


# -- VOC ---------------------------------------------------------------------------------------------------------------

FIELDS = ("xmin", "ymin", "xmax", "ymax")
NUMBERS = st.one_of(
    st.sampled_from([*ODD_TEXTS, "9999999", "1e20", "-3"]), st.integers(-40, 40).map(str), st.floats().map(repr)
)
PROLOGUES = [
    *([""] * 30),
    *('<?xml version="1.0"?>', '<?xml version="1.0" encoding="utf-16"?>', '<?xml version="9"?>', "\ufeff"),
    '<?xml version="1.0" encoding="klingon"?>',
    '<?xml version="1.0" encoding="shift_jis"?>',
    '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>',
    '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
    '<!DOCTYPE a [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
]
SOUND = "<annotation><size><width>24</width><height>18</height></size>{}</annotation>"
CAT = "<object><name>cat</name>{}<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"


def escaped(text: str) -> str:
    """Text for XML; control characters stay, as careless tools write them."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


@st.composite
def voc_documents(draw: Any) -> bytes:
    """An annotation with odd or missing fields behind some prologue."""

    def element(tag: str, content: st.SearchStrategy[str]) -> str:
        times = draw(st.sampled_from([1] * 12 + [0, 2]))
        return "".join(f"<{tag}>{draw(content)}</{tag}>" for _ in range(times))

    def box() -> str:
        return element("bndbox", st.builds("".join, st.tuples(*(number(field) for field in FIELDS))))

    def number(tag: str) -> st.SearchStrategy[str]:
        text = rarely(draw, NUMBERS, st.integers(-9, 40).map(str))
        return text.map(lambda text: f"<{tag}>{escaped(text)}</{tag}>")

    odd = st.one_of(st.sampled_from([*ODD_TEXTS, "&c;"]).map(escaped), st.text(max_size=5).map(escaped))
    names = rarely(draw, odd, st.sampled_from(["cat", "dog"]))
    flags = element(
        draw(st.sampled_from(["difficult", "ignore"])), st.sampled_from(["0", "1", "", "yes", "Unspecified"])
    )
    tag = draw(st.sampled_from(["object"] * 8 + ["Object", "item", "part", "objects"]))
    points = "".join(f"<x{i}>{draw(NUMBERS)}</x{i}><y{i}>3</y{i}>" for i in range(draw(st.sampled_from([0, 0, 0, 3]))))
    outline = f"<polygon>{escaped(points).replace('&lt;', '<')}</polygon>" if points else ""
    objects = [draw(st.just(CAT.format(flags))) for _ in range(draw(st.integers(0, 3)))]
    objects += [
        f"<{tag}>{element('name', names)}{flags}{box()}{outline}</{tag}>" for _ in range(draw(st.integers(0, 2)))
    ]
    size = "".join(number_or(draw, tag, usual) for tag, usual in (("width", WIDTH), ("height", HEIGHT)))
    depth = draw(st.sampled_from([1] * 20 + [50, 20_000]))
    inner = f"<size>{size}</size>{''.join(objects)}"
    text = f"{draw(st.sampled_from(PROLOGUES))}<annotation>{'<part>' * depth + '</part>' * depth}{inner}</annotation>"
    return text.encode(draw(st.sampled_from(["utf-8"] * 8 + ["utf-16", "latin-1"])), "replace")


def number_or(draw: Any, tag: str, usual: int) -> str:
    """Mostly the usual number."""
    text = draw(rarely(draw, NUMBERS, st.just(str(usual))))
    return f"<{tag}>{escaped(text)}</{tag}>"


VALID_XML = [SOUND.format(CAT.format("") * times).encode() for times in (0, 2, 40)]


def read_voc_document(document: bytes, folder: Path) -> str:
    """Strictly and not; what is read strictly has no unusable flaw, is trained on and evaluated."""
    devkit = folder / "VOC2007"
    if not devkit.exists():
        write(devkit / "JPEGImages" / "a.jpg", picture())
        write(devkit / "ImageSets" / "Main" / "train.txt", "a\n")
    write(devkit / "Annotations" / "a.xml", document)

    def read() -> None:
        dataset = read_voc(folder, [[2007, "train"]], classes=["cat", "dog"])
        truth = dataset.ground_truth()
        trained_on(dataset)
        voc_ap(Detections(truth.image, truth.label, truth.box, np.ones(len(truth.label))), truth, n_classes=2)

    lenient: list[DetectionDataset] = []
    forgiving = answer(
        lambda: lenient.append(read_voc(folder, [[2007, "train"]], classes=["cat", "dog"], strict=False))
    )
    return agreed(answer(read), forgiving, lenient, opened=folder / "VOC2007" / "JPEGImages" / "a.jpg")


def agreed(strict: str, forgiving: str, lenient: list[DetectionDataset], *, opened: Path) -> str:
    """The strict answer, which must be a result just where the lenient one finds nothing unusable."""
    if lenient:
        found = Findings(strict=False)
        found.extend(lenient[0].findings)
        to_train_on(lenient[0], found)
        wrong = [finding for finding in found if finding.flaw.severity is Severity.UNUSABLE]
        sizes = {image.size for image in lenient[0].images}
        readable = all(answer(partial(read_image, opened, size)) == RESULT for size in sizes)
        assert (strict == RESULT) == (not wrong and readable), f"{strict}, but the examination finds {wrong}"
    else:
        assert strict == forgiving
    return strict


def read_split(listed: str, folder: Path) -> str:
    """A split's list of names; nothing outside the devkit is opened."""
    devkit = folder / "VOC2007"
    if not devkit.exists():
        for name in FILES:
            write(devkit / "JPEGImages" / name, picture())
            write(devkit / "Annotations" / f"{name[0]}.xml", SOUND.format(CAT.format("")))
        write(folder / "secret.xml", SOUND.format(CAT.format("")))
        write(folder / "secret.jpg", picture())
    write(devkit / "ImageSets" / "Main" / "train.txt", listed)
    found: list[DetectionDataset] = []
    said = answer(lambda: found.append(read_voc(folder, [[2007, "train"]], strict=True)))
    for dataset in found:
        assert all(devkit in image.file.resolve().parents for image in dataset.images)
    return said


# -- COCO --------------------------------------------------------------------------------------------------------------

VALID_COCO = {
    "images": [
        {"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in ((9, "x.jpg"), (4, "y.jpg"))
    ],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 7, "bbox": [1.5, 5, 10, 3.25], "iscrowd": 0, "area": 32.5},
        {"id": 2, "image_id": 9, "category_id": 3, "bbox": [0, 0, WIDTH, HEIGHT], "iscrowd": 1, "area": 5},
        {"id": 3, "image_id": 4, "category_id": 3, "bbox": [3, 3, 5, 5]},
    ],
    "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
}
SOUND_COCO = json.dumps(VALID_COCO)
COCO_FILES = [
    SOUND_COCO.encode(),
    SOUND_COCO.replace('"id": 2', '"id": 2, "id": 5').encode(),
    SOUND_COCO.replace("1.5", "NaN").encode(),
    SOUND_COCO.replace("1.5", "9" * 5000).encode(),
    SOUND_COCO.replace("1.5", "1e999").encode(),
    SOUND_COCO.replace('"iscrowd": 0', '"more": ' + "[" * 100_000).encode(),
    SOUND_COCO.replace('"iscrowd": 0', '"more": ' + "[" * 900 + "]" * 900).encode(),
    SOUND_COCO.encode("utf-16"),
]


def coco_documents() -> st.SearchStrategy[bytes]:
    """A valid file after edits of its values or of its bytes."""
    return st.one_of(edited(VALID_COCO).map(lambda value: json.dumps(value).encode()), mutated(COCO_FILES))


def read_coco_document(document: bytes, folder: Path) -> str:
    """Strictly and not; what is read strictly is trained on and evaluated."""
    if not (folder / "images").exists():
        for name in ("x.jpg", "y.jpg"):
            write(folder / "images" / name, picture())
    file = write(folder / "instances.json", document)
    os.utime(file, ns=(0, next(_TIMES)))  # the reader knows a file by time and size, and examples come fast

    def read() -> None:
        dataset = read_coco(folder / "images", file)
        trained_on(dataset)
        evaluated(dataset)

    lenient: list[DetectionDataset] = []
    forgiving = answer(lambda: lenient.append(read_coco(folder / "images", file, strict=False)))
    return agreed(answer(read), forgiving, lenient, opened=folder / "images" / "x.jpg")


def evaluated(dataset: DetectionDataset) -> None:
    """COCO's AP of the truth itself: it is defined, or there is nothing to find."""
    truth = dataset.ground_truth()
    found = Detections(truth.image, truth.label, truth.box, np.ones(len(truth.label)))
    try:
        coco_ap(
            to_coco(found, dataset.image_ids, dataset.category_ids),
            dataset.annotation_file,
            image_ids=dataset.image_ids,
            category_ids=dataset.category_ids,
        )
    except DataError as error:
        raise AssertionError(f"read for training, refused when evaluated: {error}") from error


_TIMES = iter(range(10**9, 10**18))


PROPERTIES = {
    "voc_xml": Property(voc_documents(), read_voc_document),
    "voc_bytes": Property(mutated(VALID_XML), read_voc_document),
    "voc_split": Property(names(), read_split),
    "coco_json": Property(coco_documents(), read_coco_document),
}
