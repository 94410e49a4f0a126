"""A detector that left its run: the same boxes from any of its files, those of the network on the same picture."""

import builtins
import json
import shutil
import subprocess
import sys

import cv2
import nnabla as nn
import nnabla.functions
import numpy as np
import onnx
import pytest
from nnabla.utils.save import save

import nnabla_detofa
from nnabla_detofa import Detector
from nnabla_detofa.deploy.front import front_of_folder
from nnabla_detofa.errors import DataError, HostError, WeightsError
from nnabla_detofa.tasks.centernet import detect


@pytest.fixture(scope="session")
def folders(finished):
    return sorted((finished[0].folder / "detectors").iterdir())


@pytest.fixture
def folder(folders, tmp_path):
    """The smallest detector's, to be changed."""
    return shutil.copytree(folders[0], tmp_path / "1-small")


@pytest.fixture
def without(monkeypatch):
    """Makes packages missing."""

    def remove(*names, error=ModuleNotFoundError):
        original = builtins.__import__

        def guarded(name, *arguments, **options):
            if name.partition(".")[0] in names:
                raise error(f"No module named '{name}'", name=name)
            return original(name, *arguments, **options)

        monkeypatch.setattr(builtins, "__import__", guarded)
        for module in [*sys.modules]:
            if module.partition(".")[0] in names or module.endswith(("deploy.runtime", "deploy.onnx_graph")):
                monkeypatch.delitem(sys.modules, module)

    return remove


def same(found, wanted):
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-2)


def test_boxes_in_a_picture_are_those_of_the_network(finished, folders, loader):
    front, test = front_of_folder(finished[0].folder), loader(False, False)
    for row, place in zip(front.rows, folders, strict=True):
        wanted = detect(front.network_of(row), test.batches(np.array([3])))
        for name in ("detector.onnx", "detector.nnp"):
            found = Detector.load(place / name).detect(test.dataset.images[3].file)
            some = wanted.score > 0
            np.testing.assert_allclose(found.score, wanted.score[some], rtol=1e-4)
            assert not found.image.any()
            gaps = np.abs(np.diff(wanted.score[some], prepend=2, append=-1)) > 1e-5
            steady = gaps[1:] & gaps[:-1]  # the others may change places
            assert steady.mean() > 0.5
            np.testing.assert_array_equal(found.label[steady], wanted.label[some][steady])
            boxes = wanted.box[some] - test.dataset.origin  # as annotated, there
            np.testing.assert_allclose(found.box[steady], boxes[steady], rtol=1e-3, atol=0.05)


def test_any_file_of_a_folder_will_do(folders):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    for place in (folders[0], *folders[0].glob("detector.*")):
        found = Detector.load(str(place))
        assert (found.classes, found.category_ids, found.image_size) == (("0", "1", "7"), (1, 2, 3), (32, 32))
        assert found.file == (place if place.suffix == ".nnp" else folders[0] / "detector.onnx")
        assert 0 < len(found.detect(image).score) <= 100


def test_boxes_lie_in_the_pictures_own_pixels(folder):
    detector = Detector.load(folder)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    twice = np.kron(image, np.ones((2, 2, 1), np.uint8))
    wide = np.concatenate([image, np.zeros((32, 0, 3), np.uint8)], axis=1)
    same(detector.detect(wide), detector.detect(image))
    assert np.abs(detector.detect(twice).box).max() > 1.5 * np.abs(detector.detect(image).box).max()


def test_only_scores_above_the_threshold(folder):
    detector, image = Detector.load(folder), np.full((50, 30, 3), 90, np.uint8)
    everything = detector.detect(image)
    assert (np.diff(everything.score) <= 0).all()
    limit = float(everything.score[10])
    same(detector.detect(image, threshold=limit), [column[everything.score > limit] for column in everything])


def test_colours_are_rgb_and_files_are_turned(folder, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "picture.png"), pixels[..., ::-1])
    detector = Detector.load(folder)
    same(detector.detect(tmp_path / "picture.png"), detector.detect(pixels))


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused(folder, image):
    with pytest.raises(DataError):
        Detector.load(folder).detect(image)


def test_unreadable_pictures_are_refused(folder, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 none")
    for name in ("broken.jpg", "missing.jpg"):
        with pytest.raises(DataError, match=name):
            Detector.load(folder).detect(tmp_path / name)


def damaged(folder, name, content=b"none"):
    (folder / name).write_bytes(content)
    return folder / name


def resized(folder, size):
    described = json.loads((folder / "detector.json").read_text())
    return damaged(folder, "detector.json", json.dumps({**described, "image_size": size}).encode())


def onnx_of_another_size(folder):
    model = onnx.load(folder / "detector.onnx")
    (entry,) = (one for one in model.metadata_props if one.key == "image_size")
    entry.value = "[64, 32]"
    onnx.save(model, folder / "detector.onnx")
    return folder


def other_network(file):
    """An NNP file of NNabla's that is no detector."""
    x = nn.Variable((1, 3, 8, 8))
    network = {"name": "other", "batch_size": 1, "outputs": {"y": nn.functions.relu(x)}, "names": {"x": x}}
    save(str(file), {"networks": [network]})
    return file


BROKEN = {
    "missing": lambda folder: folder / "none",
    "another folder": lambda folder: folder.parent,
    "another file": lambda folder: damaged(folder.parent, "notes.txt"),
    "onnx": lambda folder: damaged(folder, "detector.onnx"),
    "nnp": lambda folder: damaged(folder, "detector.nnp"),
    "nnp of another network": lambda folder: other_network(folder / "detector.nnp"),
    "json": lambda folder: damaged(folder, "detector.json") and folder / "detector.nnp",
    "json of another size": lambda folder: resized(folder, [32, 48]) and folder / "detector.nnp",
    "onnx of another size": onnx_of_another_size,
    "json of three sides": lambda folder: resized(folder, [32, 32, 32]) and folder / "detector.nnp",
    "json of something else": lambda folder: damaged(folder, "detector.json", b"{}") and folder / "detector.nnp",
    "nnp alone": lambda folder: shutil.copy(folder / "detector.nnp", folder.parent / "detector.nnp"),
    "neither": lambda folder: [(folder / f"detector.{one}").unlink() for one in ("onnx", "nnp")] and folder,
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_detector_is_refused(folder, case):
    place = BROKEN[case](folder)
    with pytest.raises(WeightsError) as error:
        Detector.load(place)
    assert str(folder.parent) in str(error.value)


@pytest.mark.parametrize("name", ["detector.onnx", "detector.nnp"])
def test_a_file_that_changed_since_it_was_written_is_refused(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1  # one bit of a weight: it would be read, and answer anything
    damaged(folder, name, bytes(content))
    with pytest.raises(
        WeightsError, match=rf"{name} is damaged \(the checksum of {name} differs\): .*delete sums.json"
    ):
        Detector.load(folder / name)


def test_a_file_that_was_changed_on_purpose_answers_without_checksums(folder):
    model = onnx.load(folder / "detector.onnx")
    model.producer_name = "someone else"
    onnx.save(model, folder / "detector.onnx")
    (folder / "sums.json").unlink()
    assert Detector.load(folder).file == folder / "detector.onnx"


def test_an_nnp_beside_the_description_of_another_is_refused(folder):
    description = folder / "detector.json"
    described = json.loads(description.read_text())
    description.write_text(json.dumps({**described, "image_size": 2 * described["image_size"]}))
    with pytest.raises(WeightsError, match="of 32x32, not of 64x64"):
        Detector.load(folder / "detector.nnp").detect(np.zeros((9, 9, 3), np.uint8))


@pytest.mark.parametrize("error", [ModuleNotFoundError, ImportError])
def test_without_onnxruntime_nnp_answers_and_onnx_says_what_to_install(folder, without, error):
    without("onnxruntime", "onnx", error=error)
    assert Detector.load(folder).file == folder / "detector.nnp"
    (folder / "detector.nnp").unlink()
    for place in (folder, folder / "detector.onnx"):
        with pytest.raises(HostError, match=r"pip install 'nnabla-detofa\[onnx\]'"):
            Detector.load(place)


def test_onnx_needs_no_nnabla(folder):
    probe = (
        "import sys, numpy; from nnabla_detofa import Detector;"
        f" Detector.load({str(folder)!r}).detect(numpy.zeros((9, 9, 3), numpy.uint8));"
        " print(*sorted({'nnabla', 'hydra', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_package_has_nothing_else_by_that_way():
    with pytest.raises(AttributeError):
        _ = nnabla_detofa.Detectors


def test_a_description_of_another_detector_is_refused(folder):
    said = json.loads((folder / "detector.json").read_text())
    (folder / "detector.json").write_text(json.dumps({**said, "classes": said["classes"][:1]}))
    with pytest.raises(WeightsError, match="class"):
        Detector.load(folder / "detector.nnp").detect(np.zeros((9, 9, 3), np.uint8))


def test_raw_files_answer_too(finished, folder):
    from nnabla_detofa.deploy.folder import write_detector

    row = front_of_folder(finished[0].folder).rows[0]
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    wanted = Detector.load(folder).detect(image)
    raw = write_detector(front_of_folder(finished[0].folder), row, folder.parent, ["onnx"], raw=True)
    same(Detector.load(raw).detect(image), wanted)
    assert json.loads((raw / "detector.json").read_text())["rank"] == 1
