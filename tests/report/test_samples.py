"""Test images on a run's page: with the boxes of the detectors that the run leaves."""

from types import SimpleNamespace

import numpy as np

from nnabla_detofa import Detector
from nnabla_detofa.report import samples
from nnabla_detofa.report.samples import sample_images, shares, thumbnail

SIDES = ("left", "top", "width", "height")


def test_boxes_are_those_of_the_exported_detectors(finished, tiny, loader, monkeypatch):
    monkeypatch.setattr(samples, "LEAST_SCORE", 0.1)  # little is learnt
    folder, test = finished[0].folder, loader(False, False)
    run = SimpleNamespace(
        model=tiny(pretrained=str(folder / "weights.h5"), stem_activation="relu"), data={"test": test}, folder=folder
    )
    detectors = [Detector.load(one) for one in sorted((folder / "detectors").iterdir())]
    paths = [finished[0].json(f"{one.file.parent}/detector.json")["path"] for one in (detectors[0], detectors[-1])]
    files = {image.file.name: image.file for image in test.dataset.images}
    shown = sample_images(run, {"first": paths[0], "last": paths[1]})
    assert [one["name"] for one in shown] == ["first", "last"]
    for one, detector in zip(shown, (detectors[0], detectors[-1]), strict=True):
        assert len(one["pictures"]) == samples.N_IMAGES and any(picture["found"] for picture in one["pictures"])
        for picture in one["pictures"]:
            answers = detector.detect(files[picture["name"]], threshold=0.1)
            size = test.dataset.images[0].size
            expected = [shares(box, "", size=size, origin=0) for box in answers.box[: samples.MOST_BOXES]]
            found = [[box[side] for side in SIDES] for box in picture["found"]]
            np.testing.assert_allclose(found, [[box[side] for side in SIDES] for box in expected], atol=0.05)


def test_boxes_are_shares_of_their_image():
    box = shares(np.array([11, 21, 61, 300]), "cat", size=(100, 200), origin=1)
    assert box == {"left": 10.5, "top": 10.25, "width": 50.0, "height": 89.75, "text": "cat"}
    assert shares(np.array([0, 0, 50, 50]), "", size=(100, 100), origin=0.5)["width"] == 50


def test_an_image_that_is_gone_has_no_thumbnail(tmp_path):
    assert thumbnail(tmp_path / "none.jpg", (3, 3)) is None
