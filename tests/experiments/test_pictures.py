"""The README's pictures: of any finished run, small, and the same each time."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments import pictures
from nnabla_detofa import Detector
from nnabla_detofa.errors import RunFolderError

REPOSITORY = Path(__file__).parents[2]
FILES = {"front.png", "ranking.png", "detections.jpg"}


def test_the_pictures_of_a_run(finished, tmp_path):
    run, found = finished[0].folder, []
    for out in (tmp_path / "a", tmp_path / "b"):
        command = [sys.executable, "-m", "experiments.pictures", "--run", str(run), "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
        found.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert found[0] == found[1] and found[0].keys() == FILES
    for content in found[0].values():
        assert len(content) < 200_000
        height, width, _ = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape
        assert min(height, width) > 300


def test_boxes_are_drawn_below_the_annotated_images(finished, monkeypatch):
    run, given = finished[0].folder, []
    detector = Detector.load(next((run / "detectors").iterdir()))
    drawn = pictures.drawn
    monkeypatch.setattr(pictures, "drawn", lambda pixels, *rest: given.append(pixels) or drawn(pixels, *rest))
    dataset = pictures.images_of(run)
    assert (len(dataset), dataset.classes) == (12, ("0", "1", "7"))
    pictures.detections(detector, dataset, "found")
    assert len(given) == pictures.N_IMAGES
    assert len({one.tobytes() for one in given}) == pictures.N_IMAGES


def test_a_run_without_its_configuration_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="config.yaml"):
        pictures.images_of(tmp_path)
