"""`export` and `detect`: what they write, and one line for wrong input."""

import errno
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_runs import arrays

from nnabla_detofa import Detector
from nnabla_detofa.deploy import export as export_stage
from nnabla_detofa.deploy.pictures import coco_rows, drawn, drawn_names, ids_of
from nnabla_detofa.detection import Detections
from nnabla_detofa.errors import HostError
from nnabla_detofa.launch import detectors as commands
from nnabla_detofa.storage import files


@pytest.fixture
def run(finished, tmp_path):
    """The command in an empty folder, on the run that is finished, whose folders are given."""
    command, folder = finished[0], finished[0].folder
    return command, folder, sorted((folder / "detectors").iterdir()), tmp_path / "out"


@pytest.fixture
def pictures_of(tmp_path):
    def make(*names):
        folder = tmp_path / "pictures"
        folder.mkdir()
        for number, name in enumerate(names):
            pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), np.uint8)
            assert cv2.imwrite(str(folder / name), pixels)
        return folder

    return make


def test_export_writes_what_the_run_wrote(run):
    command, _, folders, out = run
    answer = command.run("export", str(command.folder), "--out", str(out))
    assert (answer.code, answer.err) == (0, [])
    assert answer.out == [str(out / one.name) for one in folders]
    for one in folders:
        for file in one.iterdir():
            assert (out / one.name / file.name).read_bytes() == file.read_bytes()


def test_export_of_some(run):
    command, folder, folders, out = run
    costs = [json.loads((one / "detector.json").read_text())["costs"]["flops"] for one in folders]
    for asked in (("--rank", "1"), ("--budget", str(costs[0]))):
        shutil.rmtree(out, ignore_errors=True)
        assert command.run("export", str(folder), *asked, "--format", "nnp", "--out", str(out)).code == 0
        (only,) = out.iterdir()
        assert only.name == folders[0].name
        assert {one.name for one in only.iterdir()} == {"detector.json", "detector.nnp", "sums.json"}
    assert command.run("export", str(folder), "--rank=1", "--format=h5", "--out", str(out)).code == 0
    assert {one.suffix for one in only.iterdir()} == {".json", ".nnp", ".h5"}  # the other file stayed


def test_the_page_leads_to_what_is_exported_later(again):
    """And the same command finds nothing changed."""
    page, folder = again.folder / "report.html", sorted((again.folder / "detectors").iterdir())[0]
    whole = page.read_text()
    shutil.rmtree(folder)
    for formats, n in (("nnp", 1), ("h5", 2), ("onnx", 3)):
        assert again.run("export", str(again.folder), "--rank", "1", "--format", formats).code == 0
        text = page.read_text()
        assert len(set(re.findall(rf"detectors/{folder.name}/detector\.(?:onnx|h5|nnp)", text))) == n
    assert text == whole
    assert (again().ran, page.read_text()) == ([], whole)


def test_a_run_of_before_has_its_statistics_estimated_anew(finished, again):
    kept = arrays(again.folder / "statistics.h5")
    (again.folder / "statistics.h5").unlink()
    shutil.rmtree(again.folder / "detectors")
    shutil.copytree(
        next(finished[0].folder.glob(".*/config.yaml")).parent, again.folder / ".config", dirs_exist_ok=True
    )
    before = {name: one for name, one in again.results().items() if name not in ("stages.json", "report.html")}
    answer = again.run("export", str(again.folder), "--format", "nnp")
    assert answer.code == 0, answer.err
    found = arrays(again.folder / "statistics.h5")
    assert found.keys() == kept.keys()
    for name, value in kept.items():
        np.testing.assert_array_equal(found[name], value)
    after = again.results()
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["--budget", "1"], "--budget"),
        (["--rank", "99"], "--rank"),
        (["--rank", "1", "--budget", "9e9"], "not allowed"),
        (["--format", "tflite"], "tflite"),
        (["--budget", "much"], "--budget"),
    ],
)
def test_what_export_refuses(run, arguments, key):
    command, folder, _, out = run
    assert key in command.run("export", str(folder), *arguments, "--out", str(out)).refusal
    assert not out.exists()


@pytest.mark.parametrize("missing", ["weights.h5", "detectors.json"])
def test_a_run_that_is_not_finished_is_refused_with_what_is_missing(again, missing):
    (again.folder / missing).unlink()
    assert missing in again.run("export", str(again.folder)).refusal


def test_figures_that_were_edited_behind_the_run_are_not_exported(again):
    file = again.folder / "detectors.json"
    file.write_text(file.read_text().replace('"ap": ', '"ap": 0.9', 1))
    assert "detectors.json has changed since the run left it" in again.run("export", str(again.folder)).refusal


def test_what_is_no_run_is_refused(command, tmp_path):
    for place in (tmp_path, tmp_path / "none"):
        assert "stages.json" in command.run("export", str(place)).refusal


def test_a_full_disk_leaves_nothing_half_written(run, monkeypatch):
    command, folder, _, out = run

    def full(file, _):
        if file.name == "detector.nnp":
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        file.write_bytes(b"")

    monkeypatch.setattr(files, "_write", full)
    assert "No space left" in command.run("export", str(folder), "--out", str(out)).refusal
    assert list(out.iterdir()) == []


def test_without_the_extra_the_rest_is_written(run, monkeypatch):
    command, folder, folders, out = run
    lacking = HostError("pip install 'nnabla-detofa[onnx]'")
    monkeypatch.setattr(export_stage, "available", lambda: (["nnp", "h5"], lacking))
    answer = command.run("export", str(folder), "--rank", "1", "--out", str(out))
    assert answer.code == 0 and "pip install 'nnabla-detofa[onnx]'" in answer.out[-1]
    assert not (out / folders[0].name / "detector.onnx").exists()
    assert "pip install" in command.run("export", str(folder), "--format", "onnx", "--out", str(out)).refusal


def test_detect_draws_and_writes_cocos_results(run, pictures_of):
    command, _, folders, out = run
    place = pictures_of("3.png", "7.jpg")
    answer = command.run(
        "detect", str(folders[0]), str(place), "--out", str(out), "--json", str(out.parent / "found.json")
    )
    assert (answer.code, answer.err) == (0, [])
    assert sorted(one.name for one in out.iterdir()) == ["3.jpg", "7.jpg"]
    assert cv2.imread(str(out / "3.jpg")).shape == (240, 360, 3)  # six times as large
    rows = json.loads((out.parent / "found.json").read_text())
    detector = Detector.load(folders[0])
    for name, number in (("3.png", 3), ("7.jpg", 7)):
        found = detector.detect(place / name)
        ours = [one for one in rows if one["image_id"] == number]
        np.testing.assert_allclose([one["score"] for one in ours], found.score)
        assert [one["category_id"] for one in ours] == (found.label + 1).tolist()
        boxes = np.array([one["bbox"] for one in ours])
        np.testing.assert_allclose(boxes[:, :2], found.box[:, :2] + 0.5)
        np.testing.assert_allclose(boxes[:, 2:], found.box[:, 2:] - found.box[:, :2])


def test_json_alone_and_a_threshold(run, pictures_of):
    command, _, folders, out = run
    place, file = pictures_of("a.png"), out.parent / "found.json"
    scores = Detector.load(folders[0]).detect(place / "a.png").score
    limit = (scores[2] + scores[3]) / 2
    assert (
        command.run("detect", str(folders[0]), str(place / "a.png"), f"--json={file}", f"--threshold={limit}").code == 0
    )
    rows = json.loads(file.read_text())
    assert [one["image_id"] for one in rows] == ["a"] * 3
    assert not (command.start / "detections").exists()


def test_unreadable_images_are_named_and_counted(run, pictures_of):
    command, _, folders, out = run
    place = pictures_of("a.png", "b.png")
    (place / "broken.jpg").write_bytes(b"none")
    answer = command.run("detect", str(folders[0]), str(place), "--out", str(out))
    assert answer.code == 2 and len(answer.err) == 2
    assert "broken.jpg" in answer.err[0] and "1 of 3" in answer.err[1]
    assert sorted(one.name for one in out.iterdir()) == ["a.jpg", "b.jpg"]
    assert "broken.jpg" in command.run("detect", str(folders[0]), str(place / "broken.jpg"), "--out", str(out)).refusal


@pytest.mark.parametrize("arguments", [["none", "x"], ["."], ["--threshold=2", ".", "x"], [".", "x", "--unknown"]])
def test_what_detect_refuses(command, arguments):
    assert command.run("detect", *arguments).refusal


@pytest.mark.parametrize("place", ["", "none/found.json"])
def test_a_place_of_results_that_cannot_be_written_is_refused_before_the_work(run, monkeypatch, place):
    command, _, folders, _ = run
    monkeypatch.setattr(Detector, "load", lambda _: pytest.fail("read before the place was looked at"))
    place = str(folders[0] / place)
    assert place in command.run("detect", str(folders[0]), str(folders[0]), "--json", place).refusal


def test_a_file_in_the_place_of_the_folder_of_results_is_refused(run, pictures_of):
    command, folder, folders, out = run
    out.write_text("")
    for arguments in (["detect", str(folders[0]), str(pictures_of("a.png"))], ["export", str(folder)]):
        said = command.run(*arguments, "--out", str(out)).refusal
        assert str(out) in said and "--out" in said


def test_a_folder_of_results_that_cannot_be_made_is_refused(run, pictures_of, monkeypatch):
    """As below /proc, where the system says that there is no such folder."""
    command, folder, folders, _ = run
    made = Path.mkdir

    def mkdir(self, *given, **options):
        if self.name == "nowhere":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(self))
        return made(self, *given, **options)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    for arguments in (["detect", str(folders[0]), str(pictures_of("a.png"))], ["export", str(folder)]):
        said = command.run(*arguments, "--out", str(folder / "nowhere")).refusal
        assert "nowhere" in said and "--out" in said


def test_a_folder_without_pictures_is_refused(run, tmp_path):
    command, _, folders, _ = run
    assert str(tmp_path) in command.run("detect", str(folders[0]), str(tmp_path)).refusal


def test_files_that_are_no_pictures_by_their_names_are_counted(run, pictures_of):
    command, _, folders, out = run
    place = pictures_of("a.png", "b.jpg")
    for name in ("c.heic", "d", "e.txt", "f.txt", ".hidden"):
        (place / name).touch()
    answer = command.run("detect", str(folders[0]), str(place), str(place / "a.png"), "--out", str(out))
    left_out = "4 files left out, which are no pictures by their names: c.heic, d, e.txt, …"
    assert answer.out == [f"2 images: {out}", left_out]


def test_drawings_of_before_are_no_pictures_and_hidden_files_neither(run, pictures_of):
    command, _, folders, _ = run
    place = pictures_of("a.png", "._b.png")
    (place / "in").mkdir()
    (place / "a.png").rename(place / "in" / "a.png")
    for _ in range(2):
        answer = command.run("detect", str(folders[0]), str(place), "--out", str(place / "out"))
        assert (answer.code, [one.name for one in (place / "out").iterdir()]) == (0, ["a.jpg"])


@pytest.mark.parametrize("file", ["a.jpg", "."])
def test_drawings_take_no_pictures_place(run, pictures_of, file):
    command, _, folders, _ = run
    place = pictures_of("a.jpg")
    before = (place / "a.jpg").read_bytes()
    answer = command.run("detect", str(folders[0]), str(place / file), "--out", f"{place}/../pictures")
    assert "--out" in answer.refusal and (place / "a.jpg").read_bytes() == before
    assert command.run("detect", str(folders[0]), str(place / file), f"--json={place}/found.json").code == 0


def test_names_and_ids_of_pictures():
    def of(*names):
        return ids_of([Path(name) for name in names]), drawn_names([Path(name) for name in names])

    assert of("a/000012.jpg", "b/7.jpg") == ([12, 7], ["000012.jpg", "7.jpg"])
    assert of("x.jpg", "7.jpg") == (["x", "7"], ["x.jpg", "7.jpg"])
    assert of("a/1.jpg", "b/1.jpg") == (["a/1.jpg", "b/1.jpg"], ["1.jpg", "1-2.jpg"])
    assert of("01.jpg", "1.jpg")[0] == ["01", "1"]


@pytest.mark.parametrize(("side", "times"), [(100, 3), (400, 1)])
def test_drawing_shows_each_box_in_its_place(side, times):
    box = np.array([[20.0, 30, 60, 70]]) * side / 100
    found = Detections(np.zeros(1, int), np.array([1]), box, np.array([0.9]))
    pixels = np.zeros((side, side, 3), np.uint8)
    picture = cv2.imdecode(np.frombuffer(drawn(pixels, found, ["a", "b"]), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[0] == side * times
    changed, share = picture.max(axis=2) > 60, side * times // 100
    near = [changed[x - 3 : x + 4, y - 3 : y + 4].any() for x, y in np.array([(50, 20), (50, 60), (70, 40)]) * share]
    assert all(near)
    assert not changed[50 * share, 40 * share] and not changed[90 * share].any()
    assert not pixels.any()  # what was given is left alone
    beyond = found._replace(box=np.array([[-50.0, -50, 500, 500]]))
    assert len(drawn(pixels, beyond, ["a", "ü"])) > 0


def test_names_are_drawn_in_letters_that_the_font_has(monkeypatch):
    texts, put = [], cv2.putText
    monkeypatch.setattr(cv2, "putText", lambda canvas, text, *rest: texts.append(text) or put(canvas, text, *rest))
    names = ["één", "猫", "Straße 7", "猫 b"]
    boxes = np.tile([[2.0, 3, 9, 9]], (4, 1))
    found = Detections(np.zeros(4, int), np.arange(4), boxes, np.array([0.9, 0.8, 0.7, 0.6]))
    drawn(np.zeros((20, 20, 3), np.uint8), found, names)
    assert texts[::-1] == ["een 0.90", "class 1 0.80", "Stra?e 7 0.70", "? b 0.60"]


def test_classes_that_coco_lacks_are_left_out_of_its_results():
    found = Detections(np.zeros(2, int), np.array([0, 1]), np.zeros((2, 4)), np.array([0.9, 0.8]))
    assert [one["category_id"] for one in coco_rows(found, 1, (None, 90))] == [90]


def test_the_formats_are_those_of_the_room():
    from nnabla_detofa.deploy.folder import FORMATS

    assert tuple(FORMATS) == commands.FORMATS
