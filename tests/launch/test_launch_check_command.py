"""`nnabla_detofa check`: the data set of a composed configuration, its exit codes, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnabla_detofa.launch import cli

XML = "<annotation><size><width>9</width><height>8</height></size>{}</annotation>"
OBJECT = "<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>"
CONFIG = "dataloader: {voc: {root: data, image_size: 32, held_out: 0, seed: '${hparams.seed}'}}\nhparams: {seed: 3}\n"


@pytest.fixture
def start(tmp_path, monkeypatch):
    """A folder to start in, with a configuration and the set that it names."""
    folder = tmp_path / "data" / "VOC2007"
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    for shade, split in enumerate(("trainval", "test")):
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{split}\n")
        (folder / "Annotations" / f"{split}.xml").write_text(XML.format(OBJECT.format(1)))
        cv2.imwrite(str(folder / "JPEGImages" / f"{split}.png"), np.full((8, 9, 3), shade, np.uint8))
    (tmp_path / "mine.yaml").write_text(CONFIG)
    (tmp_path / "empty.yaml").write_text("name: x\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def annotate(start, text):
    (start / "data" / "VOC2007" / "Annotations" / "test.xml").write_text(text)


def test_exit_codes(start, capsys):
    assert cli.main(["check", "-c", "mine", "--json", "found.json"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(": clean")
    assert json.loads(Path("found.json").read_text())["exit_code"] == 0
    annotate(start, XML.format(OBJECT.format(1) + OBJECT.format(5)))
    assert cli.main(["check", "-c=mine.yaml", "--json=found.json"]) == 1
    assert json.loads(Path("found.json").read_text())["flaws"][0]["flaw"] == "box_zero"
    annotate(start, "<a>")
    assert cli.main(["check", "-c", "mine"]) == 2
    assert not (start / "log").exists()


@pytest.mark.usefixtures("start")
def test_overrides_choose_the_data():
    assert cli.main(["check", "-c", "mine", "+dataloader.voc.test=[[2007,trainval]]"]) == 1  # the same image
    assert cli.main(["check", "-c", "mine", "dataloader.voc.root=elsewhere"]) == 2


def test_the_process_ends_with_the_code(start):
    annotate(start, XML.format(OBJECT.format(1) + OBJECT.format(5)))
    ended = subprocess.run([sys.executable, "-m", "nnabla_detofa.cli", "check", "-c", "mine"], capture_output=True)
    assert ended.returncode == 1


def test_the_policy(capsys):
    assert cli.main(["check", "--policy"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].split() == ["exit", "code", "flaw", "what", "training", "does"]
    assert "        1  box of zero size  " in out


@pytest.mark.usefixtures("start")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "-c FILE"),
        ("-c mine --cfg job", "check takes -c FILE"),
        ("-c mine --policy", "check takes -c FILE"),
        ("--config-name mine", "check takes -c FILE"),
        ("-c mine --json", "--json must be given"),
        ("-c mine --json=", "--json must be given"),
        ("-c mine dataloader.voc.rot=x", "'dataloader.voc.rot'"),
        ("-c mine dataloader.voc.image_size=3", "image_size is 3"),
        ("-c mine ~dataloader.voc", "dataloader"),
        ("-c empty", "dataloader"),
    ],
)
def test_what_check_refuses(capsys, arguments, said):
    assert cli.main(["check", *arguments.split()]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("nnabla_detofa: ") and said in err
