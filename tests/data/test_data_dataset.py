"""The held-out part, image files and options."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps

from nnabla_detofa.data import DetectionDataset, Image, hold_out
from nnabla_detofa.data.dataset import to_train_on
from nnabla_detofa.data.flaws import Findings, Flaw
from nnabla_detofa.data.images import ImageCache, examine_image, read_image
from nnabla_detofa.errors import DataError


def dataset(n):
    none, flags = np.zeros((0, 4), np.float32), np.zeros(0, bool)
    images = tuple(Image(None, i, (9, 9), none, np.zeros(0, np.int64), flags, flags, flags) for i in range(n))
    return DetectionDataset("some", ("thing",), images, 1.0)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.floats(0, 0.95), st.integers(0, 2**40))
def test_held_out_part_and_rest_are_a_partition(n, share, seed):
    if max(1, round(n * share)) >= n:
        return
    train, valid = hold_out(dataset(n), share, seed)
    assert sorted(train.image_ids + valid.image_ids) == list(range(n))
    assert len(valid) == (max(1, round(n * share)) if share else 0)
    again, _ = hold_out(dataset(n), share, seed)
    assert again.image_ids == train.image_ids


def test_held_out_part_depends_on_the_seed_and_may_be_a_number():
    parts = {hold_out(dataset(100), 7, seed)[1].image_ids for seed in range(5)}
    assert len(parts) == 5
    assert all(len(part) == 7 for part in parts)


@pytest.mark.parametrize(("n", "asked", "held"), [(5, 5, 2), (5, 3, 2), (6, 3, 3), (300, 1000, 150), (1, 1, 0)])
def test_held_out_numbers_are_half_of_the_images_at_most(n, asked, held):
    train, valid = hold_out(dataset(n), asked, 0)
    assert (len(train), len(valid)) == (n - held, held)
    to_train_on(dataset(n), findings := Findings(strict=False), held_out=asked)
    assert (Flaw.HELD_OUT_MORE in {one.flaw for one in findings}) == (asked > held)


def picture(file, width=40, height=30):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(file), pixels)
    return file


def test_images_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"cannot read the image .*a\.jpg: No such file"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="is 40x30, its annotation says 30x41"):
        read_image(picture(tmp_path / "a.jpg"), (30, 41))
    with pytest.raises(DataError, match="held_out takes 1 of the 1 images of some; none is left to train on"):
        hold_out(dataset(1), 0.5, 0)
    assert dataset(0).ground_truth().box.shape == (0, 4)


@pytest.mark.parametrize("damage", [slice(0), slice(9, None), slice(1000), slice(-20)])
def test_damaged_image(tmp_path, damage):
    file = picture(tmp_path / "a.jpg")
    file.write_bytes(file.read_bytes()[damage])
    with pytest.raises(DataError, match=r"cannot decode the image .*a\.jpg: it is damaged, cut off"):
        read_image(file)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_turned_as_their_tag_says(tmp_path, kind, orientation):
    pixels, exif = np.kron(np.arange(12).reshape(3, 4) * 20, np.ones((16, 16))).astype(np.uint8), Pillow.Exif()
    exif[0x0112] = orientation
    options = {} if kind in ("PNG", "TIFF") else {"quality": 100}
    Pillow.fromarray(pixels).convert("RGB").save(tmp_path / "a", kind, exif=exif, **options)
    with Pillow.open(tmp_path / "a") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), int)
    found = read_image(tmp_path / "a")
    assert np.abs(found[:, :, ::-1] - expected).max() <= 4
    findings = Findings()
    examine_image(tmp_path / "a", None, findings)
    assert (Flaw.IMAGE_TURNED in {one.flaw for one in findings}) == (2 <= orientation <= 8)
    if kind != "TIFF":
        assert read_image(tmp_path / "a", (64, 48)).shape == (48, 64, 3)


def test_what_lies_behind_a_jpeg_is_no_damage(tmp_path):
    file = picture(tmp_path / "a.jpg")
    expected, data = read_image(file), file.read_bytes()
    file.write_bytes(data + bytes(3 * len(data)))  # as phones put a film there
    np.testing.assert_array_equal(read_image(file), expected)


def test_a_cut_jpeg_with_a_whole_thumbnail_is_damaged(tmp_path):
    file, small = picture(tmp_path / "a.jpg"), picture(tmp_path / "b.jpg", 8, 8).read_bytes()
    data = file.read_bytes()
    file.write_bytes(data[:2] + b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small + data[2:-9])
    with pytest.raises(DataError, match="damaged, cut off"):
        read_image(file)


def test_cache_keeps_what_fits(tmp_path):
    first, second = picture(tmp_path / "a.png"), picture(tmp_path / "b.png")
    cache = ImageCache(40 * 30 * 3)
    expected = cache.read(first, (40, 30)).copy()
    cache.read(second, (40, 30))
    first.unlink()
    second.unlink()
    np.testing.assert_array_equal(cache.read(first, (40, 30)), expected)
    with pytest.raises(DataError, match="cannot read"):
        cache.read(second, (40, 30))
