"""`evaluate`: what a run says of its detectors, from their files alone, on any kind of data set."""

import json
import logging
import re
import shutil

import cv2
import numpy as np
import pytest
import yaml
from test_deploy_detector import BROKEN

from nnabla_detofa import Detector
from nnabla_detofa.deploy import evaluation
from nnabla_detofa.detection import Detections, GroundTruth, coco_ap, voc_ap

CLASSES = ("0", "1", "7")
SIZES = [(60, 40), (32, 32), (30, 50), (64, 64)]  # width, height


@pytest.fixture(scope="session")
def folders(finished):
    return sorted((finished[0].folder / "detectors").iterdir())


@pytest.fixture
def evaluate(finished, folders, tmp_path):
    """What `evaluate` says of a detector, the last unless given, by a configuration: the answer and its JSON."""
    command = finished[0]

    def run(*overrides, place=folders[-1], config="detofa_demo"):
        file = tmp_path / "found.json"
        answer = command.run("evaluate", str(place), "-c", config, *overrides, "--json", str(file))
        return answer, json.loads(file.read_text()) if file.exists() else None

    return run


@pytest.fixture
def own(finished):
    """Overrides that name the run's own data set."""
    return [one for one in finished[0]._tiny if "dataloader" in one]


@pytest.mark.parametrize("kind", ["onnx", "nnp"])
def test_a_runs_own_detectors_have_the_figures_of_the_run(finished, folders, evaluate, own, kind):
    summary = finished[0].json("summary.json")
    rows = {row["file"]: row for row in (*summary["pareto"], summary["largest"])}
    before = sorted(finished[0].start.rglob("*"))
    for place in folders:
        said, row = json.loads((place / "detector.json").read_text()), rows[f"detectors/{place.name}"]
        answer, found = evaluate(*own, place=place / f"detector.{kind}")
        assert (answer.code, answer.err) == (0, [])
        for key in ("ap", "ap_interval", "ap_per_class"):
            assert said[key] == row[key]
            np.testing.assert_allclose(found[key], said[key], rtol=1e-3, atol=1e-6)
        assert (found["metric"], found["images"], found["classes"]) == ("voc07", 12, said["classes"])
        assert found["runtime"].startswith({"onnx": "onnxruntime ", "nnp": "nnabla "}[kind]) and found["latency"] > 0
        for text in (f"{100 * found['ap']:.2f}", found["runtime"], "12 images", "32 px"):
            assert text in "\n".join(answer.out)
    assert sorted(finished[0].start.rglob("*")) == before  # no folder of a run is touched


class Annotated:
    """Pictures whose objects are boxes that a detector finds in them, as VOC, COCO and YOLO have them."""

    def __init__(self, root, detector):
        self.root, self.files, self.images, self.objects, every = root, [], [], [], []
        for name in ("train", "test", "JPEGImages", "Annotations", "labels/test", "images/test", "images/train"):
            (root / name).mkdir(parents=True)
        for number, (width, height) in enumerate(SIZES):
            pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
            for folder in ("test", "JPEGImages", "images/test", "images/train"):
                assert cv2.imwrite(str(root / folder / f"{number}.png"), pixels)
            found = detector.detect(root / "test" / f"{number}.png")
            every.append(found._replace(image=found.image + number))
            corners = np.clip(np.rint(found.box), 0, np.tile([width, height], 2) - 1).astype(int)
            large = np.flatnonzero((corners[:, 2:] - corners[:, :2] > 2).all(axis=1))
            for one in large[number % 2 :: 3]:
                row = number, int(found.label[one]), *corners[one].tolist()
                self.objects += [row] if row not in self.objects else []
        self.found = Detections(*map(np.concatenate, zip(*every, strict=True)))
        self._voc(), self._coco(), self._yolo()

    def _voc(self):
        for number, (width, height) in enumerate(SIZES):
            rows = []
            for _, label, *box in (one for one in self.objects if one[0] == number):
                sides = zip(("xmin", "ymin", "xmax", "ymax"), np.array(box) + 1, strict=True)
                corners = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
                rows.append(f"<object><name>{CLASSES[label]}</name><bndbox>{corners}</bndbox></object>")
            size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
            text = f"<annotation>{size}{''.join(rows)}</annotation>"
            (self.root / "Annotations" / f"{number}.xml").write_text(text)
        (self.root / "test.txt").write_text("".join(f"{number}\n" for number in range(len(SIZES))))

    def _coco(self):
        sizes = enumerate(SIZES)
        images = [{"id": i, "file_name": f"{i}.png", "width": w, "height": h} for i, (w, h) in sizes]
        rows = [
            {"image_id": image, "category_id": label + 1, "bbox": [x + 0.5, y + 0.5, x2 - x, y2 - y], "iscrowd": 0}
            for image, label, x, y, x2, y2 in self.objects
        ]
        rows = [{"id": number, "area": one["bbox"][2] * one["bbox"][3], **one} for number, one in enumerate(rows, 1)]
        categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
        content = {"images": images, "annotations": rows, "categories": categories}
        (self.root / "test.json").write_text(json.dumps(content))

    def _yolo(self):
        lines = dict.fromkeys(range(len(SIZES)), "")
        for number, label, *box in self.objects:
            low, high = (np.array(box).reshape(2, 2) + 0.5) / SIZES[number]
            shares = " ".join(map(repr, [*((low + high) / 2).tolist(), *(high - low).tolist()]))
            lines[number] += f"{label} {shares}\n"
        for number, text in lines.items():
            (self.root / "labels" / "test" / f"{number}.txt").write_text(text)
        content = {"train": "images/train", "val": "images/test", "names": [*CLASSES]}
        (self.root / "data.yaml").write_text(yaml.safe_dump(content))

    def overrides(self, kind, **more):
        """Those that have a configuration take the pictures as this kind has them."""
        places = {
            "voc": [f"dataloader.voc.root={self.root}", "dataloader.voc.test=[[2007,test]]"],
            "coco": [f"dataloader.coco.root={self.root}", "dataloader.coco.test=[test,test.json]"],
            "yolo": [f"dataloader.yolo.data={self.root / 'data.yaml'}"],
        }
        options = [f"++dataloader.{kind}.{key}={value}" for key, value in more.items()]
        return [f"dataloader={kind}", *places[kind], f"dataloader.{kind}.workers=0", *options]


@pytest.fixture(scope="session")
def annotated(folders, tmp_path_factory):
    return Annotated(tmp_path_factory.mktemp("annotated"), Detector.load(folders[-1]))


def voc07(annotated, *, labels=(0, 1, 2)):
    """AP of what `Detector.detect` finds, by class, of objects of some labels."""
    image, label, *corners = np.array(annotated.objects).T
    some = np.isin(label, labels)
    truth = GroundTruth(image[some], label[some], np.stack(corners, axis=1)[some], np.zeros(some.sum(), bool))
    return voc_ap(annotated.found, truth, n_classes=3)


@pytest.mark.parametrize("kind", ["voc", "coco", "yolo"])
def test_ap_is_that_of_what_detect_finds(annotated, evaluate, monkeypatch, kind):
    monkeypatch.setattr(logging.root, "handlers", [])  # those of the run's job, whose streams are gone
    answer, found = evaluate(*annotated.overrides(kind), "hparams.metric=voc07")
    assert answer.code == 0
    assert len(answer.err) == (kind == "yolo")  # that its val stands in for a test split
    wanted = voc07(annotated)
    assert 0.1 < np.nanmean(wanted) < 0.9
    np.testing.assert_allclose([np.nan if one is None else one for one in found["ap_per_class"]], wanted, atol=1e-6)
    assert found["ap"] == pytest.approx(np.nanmean(wanted))
    assert found["ap_interval"][0] <= found["ap"] <= found["ap_interval"][1]


def test_ap_is_cocos_own_too(annotated, finished, folders, evaluate):
    file = annotated.root / "found.json"
    assert finished[0].run("detect", str(folders[-1]), str(annotated.root / "test"), "--json", str(file)).code == 0
    wanted = coco_ap(json.loads(file.read_text()), annotated.root / "test.json")["AP"]
    answer, found = evaluate(*annotated.overrides("coco"), "hparams.metric=coco")
    assert answer.code == 0 and found["ap"] == pytest.approx(wanted) and wanted > 0.01
    assert "coco" in evaluate(*annotated.overrides("voc"), "hparams.metric=coco")[0].refusal


def test_classes_are_known_by_their_names(annotated, evaluate):
    wanted = voc07(annotated)
    present = [label for label in range(3) if not np.isnan(wanted[label])]
    _, turned = evaluate(*annotated.overrides("voc", classes="['7','0','1']"))
    assert turned["classes"] == ["7", "0", "1"]
    found = [np.nan if one is None else one for one in turned["ap_per_class"]]
    np.testing.assert_allclose(found, wanted[[2, 0, 1]], atol=1e-6)
    for label in present:
        _, one = evaluate(*annotated.overrides("voc", classes=f"['{CLASSES[label]}']"))
        assert one["ap_per_class"] == [pytest.approx(wanted[label])] and one["ap"] == pytest.approx(wanted[label])


def test_a_set_with_classes_that_the_detector_lacks_is_refused(annotated, evaluate, tmp_path):
    root = shutil.copytree(annotated.root, tmp_path / "set")
    place = root / "Annotations" / "0.xml"
    dog = "<object><name>dog</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    place.write_text(place.read_text().replace("</annotation>", f"{dog}</annotation>"))
    overrides = [*annotated.overrides("voc"), f"dataloader.voc.root={root}"]
    refusal = evaluate(*overrides)[0].refusal
    assert "'dog'" in refusal and "dataloader.voc.classes" in refusal
    assert "'cat'" in evaluate(*overrides, "dataloader.voc.classes=[cat,'0','1','7']")[0].refusal
    _, found = evaluate(*overrides, "dataloader.voc.classes=['0','1','7']")
    assert found["ap"] == pytest.approx(np.nanmean(voc07(annotated)))


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_detector_is_refused(folders, tmp_path, evaluate, own, case):
    place = BROKEN[case](shutil.copytree(folders[0], tmp_path / "1-small"))
    assert str(tmp_path) in evaluate(*own, place=place)[0].refusal


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["detector.onnx", "detector.nnp"])
def test_what_is_left_of_a_detector_is_refused(folders, tmp_path, evaluate, own, name, share):
    place = shutil.copytree(folders[0], tmp_path / "1-small") / name
    content = place.read_bytes()
    place.write_bytes(content[: int(share * len(content))])
    assert name in evaluate(*own, place=place)[0].refusal


def test_what_a_configuration_may_not_hold(evaluate, own, tmp_path):
    assert "hparams.metric" in evaluate(*own, "~hparams.metric")[0].refusal
    assert "top1" in evaluate(*own, "hparams.metric=top1")[0].refusal
    assert "image_folder" in evaluate(config="demo_pretrain")[0].refusal
    assert "lacks dataloader" in evaluate("~dataloader")[0].refusal
    assert evaluate("++hparams=3")[0].refusal
    root = tmp_path / "none"
    assert str(root) in evaluate(f"dataloader.voc.root={root}", "~dataloader.voc.generate")[0].refusal


def test_what_a_command_may_not_hold(finished, folders, tmp_path):
    given = [str(folders[0]), "-c", "detofa_demo"]
    for wrong in (given[:1], given[1:], [*given, str(folders[0])], [*given, "--out=x"], [*given, "--json", ""]):
        assert finished[0].run("evaluate", *wrong).refusal
    assert "none" in finished[0].run("evaluate", *given, "--json", str(tmp_path / "none" / "a.json")).refusal


def test_latency_is_the_median_of_passes_behind_the_first(monkeypatch):
    durations, clock = iter([50.0, 50.0, *range(1, 11)]), [0.0]

    class Slow:
        def answer(self, images):
            assert images.shape == (1, 8, 8, 3)
            clock[0] += next(durations)

    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: clock[0])
    assert evaluation.latency(Slow(), np.zeros((8, 8, 3), np.uint8)) == 5.5


def test_classes_that_the_set_lacks_have_no_ap(annotated, evaluate, tmp_path):
    root, wanted = shutil.copytree(annotated.root, tmp_path / "set"), voc07(annotated, labels=(0, 1))
    for place in (root / "Annotations").iterdir():
        place.write_text(re.sub(r"<object><name>7<.*?</object>", "", place.read_text()))
    answer, found = evaluate(*annotated.overrides("voc"), f"dataloader.voc.root={root}")
    assert found["classes"] == [*CLASSES] and found["ap_per_class"][2] is None
    np.testing.assert_allclose(found["ap_per_class"][:2], wanted[:2], atol=1e-6)
    assert found["ap"] == pytest.approx(wanted[:2].mean())
    assert answer.out[-1].split() == ["7", "–"]
