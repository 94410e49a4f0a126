"""The documented lines that run an exported file without this package: the boxes of `Detector.detect`."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from nnabla_detofa import Detector

PAGE = Path(__file__).parents[2] / "docs" / "deployment.md"
ALONE = "\nimport sys\nassert not {'nnabla_detofa', 'nnabla', 'onnx'} & set(sys.modules)"


@pytest.fixture(scope="session")
def source():
    """The lines, that print every box."""
    (found,) = re.findall(r"^```py\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    imports, *lines = [line for line in found.splitlines() if line]
    assert imports == "import json, cv2, numpy as np, onnxruntime" and len(lines) == 10
    assert found.count("score > 0.3") == 1
    return found.replace("score > 0.3", "score > 0") + ALONE


@pytest.mark.parametrize(("size", "turned"), [((60, 40), 1), ((33, 70), 1), ((32, 32), 1), ((90, 31), 6)])
def test_documented_lines_print_the_boxes_of_detect(finished, source, tmp_path, size, turned):
    place = sorted((finished[0].folder / "detectors").iterdir())[-1]
    (tmp_path / "detector.onnx").write_bytes((place / "detector.onnx").read_bytes())
    pixels = np.random.default_rng(size[0]).integers(0, 256, (size[1], size[0], 3), np.uint8)
    tag = Image.Exif()
    tag[0x0112] = turned  # how a camera was held
    Image.fromarray(cv2.GaussianBlur(pixels, (5, 5), 0)).save(tmp_path / "picture.jpg", exif=tag)
    done = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    detector = Detector.load(tmp_path / "detector.onnx")
    wanted = detector.detect(tmp_path / "picture.jpg")
    assert [row[0] for row in rows] == [detector.classes[label] for label in wanted.label]
    numbers = np.array([row[1:] for row in rows], float)
    assert len(numbers) > 10
    np.testing.assert_allclose(numbers[:, 0], wanted.score, atol=6e-5)
    corners = np.sort(numbers[:, 1:].reshape(-1, 2, 2), axis=1).reshape(-1, 4)  # so small a run has sizes below 0
    np.testing.assert_allclose(corners, wanted.box, atol=6e-3)
