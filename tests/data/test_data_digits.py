"""The generated devkit: reproducible to the byte, complete or not there, and what it says about its digits is true."""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from nnabla_detofa.data import digits, read_voc, scenes
from nnabla_detofa.data.digits import DigitsOptions, gather, picture
from nnabla_detofa.data.images import read_image
from nnabla_detofa.data.voc import DataLoader
from nnabla_detofa.errors import DataError

SMALL = {"n_train": 6, "n_test": 4, "image_size": 64}


def generate(root, **options):
    return digits.generate(root, DigitsOptions(**options))


def digest(devkit):
    whole = hashlib.sha256()
    for file in sorted(devkit.rglob("*.*")):
        whole.update(f"{file.relative_to(devkit)}".encode() + file.read_bytes())
    return whole.hexdigest()


def test_same_options_give_the_same_bytes(tmp_path):
    assert digest(generate(tmp_path / "a", **SMALL)) == digest(generate(tmp_path / "b", **SMALL))
    assert digest(generate(tmp_path / "a", seed=1, **SMALL)) != digest(generate(tmp_path / "b", **SMALL))


def test_written_once(tmp_path):
    devkit = generate(tmp_path, **SMALL)
    times = {file: file.stat().st_mtime_ns for file in devkit.rglob("*")}
    assert generate(tmp_path, **SMALL) == devkit != generate(tmp_path, **SMALL | {"n_train": 7})
    assert {file: file.stat().st_mtime_ns for file in devkit.rglob("*")} == times


def test_several_at_once_agree(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        devkits = set(pool.map(lambda _: generate(tmp_path, **SMALL), range(4)))
    assert list(tmp_path.iterdir()) == list(devkits)
    assert len(read_voc(devkits.pop(), [(2007, "trainval")])) == 6


def test_ordinary_loader_reads_it(tmp_path):
    options = {"root": tmp_path, "generate": SMALL | {"classes": [1, 0]}, "image_size": 64, "workers": 0}
    train, test = DataLoader(False, True, 2, **options), DataLoader(False, False, 2, **options)
    assert train.classes == test.classes == ("0", "1")
    assert (len(train), len(test)) == (6, 4)
    assert train.dataset.findings == ()
    train.next()


@pytest.mark.parametrize("sides", [(96, 96), (96, 160), (200, 96)])
def test_boxes_hold_the_ink_and_nothing_else_does(sides):
    options = DigitsOptions(texture=0, image_size=sides, objects=(1, 4))
    material = gather(options, testing=False)
    for seed in range(20):
        pixels, placed, _ = picture(material, options, np.random.default_rng(seed))
        changed = (np.abs(pixels.astype(int) - np.median(pixels, axis=(0, 1))) > 1).any(axis=2)
        assert changed.any() and changed.shape == sides
        for (x1, y1, x2, y2), digit in placed.items():
            inside = changed[y1:y2, x1:x2]
            assert digit in options.classes
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))
            assert 0.25 * 96 < max(inside.shape) < 0.65 * 96
            changed[y1:y2, x1:x2] = False
        assert not changed.any()


@pytest.mark.parametrize("sides", [(40, 40), (40, 80), (80, 40)])
def test_photographs_are_not_stretched(sides):
    """Pixels that hold their own place."""
    rows, columns = np.indices((200, 240))
    photograph, options = np.stack([rows, columns, rows], axis=-1).astype(np.uint8), DigitsOptions(image_size=sides)
    for seed in range(4):
        made = scenes.background([photograph], options, np.random.default_rng(seed))
        assert made.shape == (*sides, 3)
        down, across = np.diff(made[..., 0], axis=0).mean(), np.diff(made[..., 1], axis=1).mean()
        assert abs(across) == pytest.approx(down, rel=0.05)


@pytest.mark.parametrize("texture", [0, 1])
def test_ink_stands_out(texture):
    options = DigitsOptions(texture=texture, objects=(1, 1), contrast=0.5)
    material = gather(options, testing=True)
    for seed in range(20):
        pixels, placed, _ = picture(material, options, np.random.default_rng(seed))
        bare, *_ = picture(
            material, DigitsOptions(texture=texture, objects=(1, 1), contrast=0), np.random.default_rng(seed)
        )
        (x1, y1, x2, y2), *_ = placed
        difference = pixels[y1:y2, x1:x2].mean(axis=2) - bare[y1:y2, x1:x2].mean(axis=2)
        assert 0.35 * 255 < np.abs(difference).max() < 0.65 * 255


def test_splits_share_no_digit_and_no_pixel():
    options = DigitsOptions(classes=[*range(10)])
    train, test = (gather(options, testing=testing) for testing in (False, True))
    for digit in range(10):
        samples = [{one.tobytes() for one in part.digits[digit]} for part in (train, test)]
        assert not samples[0] & samples[1]
        assert len(train.digits[digit]) > 2 * len(test.digits[digit]) > 60
    assert [one.shape[1] for one in train.photographs] == [480, 480]
    assert [one.shape[1] for one in test.photographs] == [160, 160]


def test_a_square_may_be_told_as_height_and_width(tmp_path):
    devkit = generate(tmp_path, **SMALL)
    assert generate(tmp_path, **SMALL | {"image_size": [64, 64]}) == devkit
    oblong = generate(tmp_path, **SMALL | {"image_size": [64, 96]})
    for image in read_voc(oblong, [(2007, "test")]).images:
        assert image.size == (96, 64) and read_image(image.file, image.size).shape[:2] == (64, 96)


def test_folders_that_are_something_else_are_refused(tmp_path):
    devkit = generate(tmp_path, **SMALL | {"image_size": 200})
    images = read_voc(devkit, [(2007, "test")]).images
    assert all(image.size == (200, 200) and read_image(image.file, image.size).any() for image in images)
    (devkit / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="does not hold the digits it is named after; delete it and run again"):
        generate(tmp_path, **SMALL | {"image_size": 200})
    with pytest.raises(DataError, match="cannot write the digits into .*manifest.json: "):
        generate(devkit / "manifest.json", **SMALL)


@pytest.mark.parametrize("place", ["nnabla_detofa.data.digits.picture", "pathlib.Path.rename"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_writing_that_does_not_end_leaves_nothing(tmp_path, monkeypatch, place, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(place, fail)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else DataError):
        generate(tmp_path, **SMALL)
    assert not list(tmp_path.iterdir())


def test_without_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        DataError, match=r"the digits are scikit-learn's and it cannot be used .*pip install scikit-learn"
    ):
        generate(tmp_path, **SMALL)
