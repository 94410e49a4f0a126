"""Batches of labelled images: what a crop may be, and that size, crop and order depend on seed and place alone."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnabla_detofa.data.augment import DEVIATION
from nnabla_detofa.data.classification import CropAugmentation, centre_box, cut, random_box
from nnabla_detofa.data.image_folder import DataLoader

SIZES = [32, 48, 36]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two classes of four noisy pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for part in ("train", "val"):
        for label in ("a", "b"):
            (folder / part / label).mkdir(parents=True)
            for i in range(4):
                noise = np.random.default_rng(i).integers(0, 256, (50, 60, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / part / label / f"{i}.png"), noise)
    return folder


def make(root, *, rank=0, n_procs=1, batch_size=2, steps=1, **options):
    communicator = SimpleNamespace(rank=rank, n_procs=n_procs)
    options = {"image_size": 64, "train_sizes": SIZES, "workers": 0} | options
    loader = DataLoader(False, True, batch_size, root=root, communicator=communicator, **options)
    loader.batches_a_step = steps
    return loader


def sides(loader, n):
    return [loader.next()["inputs"][0].shape[2] for _ in range(n)]


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 2, 0.5]), st.integers(0, 2**32 - 1))
def test_a_crop_lies_in_the_image_and_has_a_permitted_shape(width, height, aspect, seed):
    augment = CropAugmentation()
    left, top, w, h = random_box((width, height), augment, np.random.default_rng(seed), aspect=aspect)
    assert 0 <= left <= left + w <= width and 0 <= top <= top + h <= height and w >= 1 and h >= 1
    if min(width, height) >= 100:  # rounding to pixels aside
        assert 0.7 < w / h / aspect < 1.4
        assert w * h > 0.07 * width * height or not 3 / 4 <= width / height / aspect <= 4 / 3


def test_areas_of_crops_are_even_between_their_bounds():
    rng = np.random.default_rng(0)
    boxes = [random_box((1000, 1000), CropAugmentation(area=(0.2, 0.6)), rng) for _ in range(2000)]
    areas = np.array([w * h / 1e6 for _, _, w, h in boxes])
    np.testing.assert_allclose(np.quantile(areas, [0, 0.25, 0.5, 0.75, 1]), [0.2, 0.3, 0.4, 0.5, 0.6], atol=0.02)


def test_a_crop_of_all_is_all():
    assert random_box((70, 50), CropAugmentation(area=(1, 1), ratio=(1.4, 1.4)), np.random.default_rng(0)) == (
        0,
        0,
        70,
        50,
    )
    assert centre_box((70, 50), 1.0) == (10, 0, 50, 50)
    assert centre_box((64, 64), 0.5) == (16, 16, 32, 32)
    assert centre_box((70, 50), 1.0, aspect=2) == (0, 7, 70, 35)
    assert centre_box((50, 70), 0.5, aspect=0.5) == (16, 17, 18, 35)
    one = CropAugmentation(area=(1, 1), ratio=(1, 1))
    assert random_box((100, 300), one, np.random.default_rng(0), aspect=2) == (0, 125, 100, 50)
    assert random_box((300, 100), one, np.random.default_rng(0), aspect=0.5) == (125, 0, 50, 100)


def test_shrinking_averages_and_enlarging_does_not_move():
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    assert np.abs(cut(pixels, (0, 0, 64, 64), (16, 16)).astype(int) - 127).max() <= 1
    ramp = np.repeat(np.arange(32, dtype=np.uint8)[None, :, None] * 8, 32, axis=0).repeat(3, axis=2)
    np.testing.assert_allclose(cut(ramp, (8, 8, 16, 16), (32, 64)).mean(), ramp[:, 8:24].mean(), atol=1)


def test_one_size_a_step_the_same_on_all_ranks(root):
    shares = [sides(make(root, rank=rank, n_procs=2, steps=3), 30) for rank in range(2)]
    assert shares[0] == shares[1]
    by_step = np.array(shares[0]).reshape(10, 3)
    assert (by_step == by_step[:, :1]).all()
    assert set(by_step[:, 0]) == set(SIZES)


def test_sizes_come_up_equally_often(root):
    loader = make(root)
    drawn = [loader._sides_at(position) for position in range(3000)]
    assert all(abs(drawn.count((size, size)) - 1000) < 130 for size in SIZES)


@pytest.mark.parametrize("options", [{"workers": 3, "prefetch": 1}, {"workers": 2, "cache_megabytes": 1}])
def test_workers_change_nothing_and_seek_goes_on(root, options):
    alone, helped = make(root), make(root, **options)
    batches = [alone.next() for _ in range(9)]
    for batch in batches[:5]:
        other = helped.next()
        np.testing.assert_array_equal(batch["inputs"][0], other["inputs"][0])
        np.testing.assert_array_equal(batch["targets"][0], other["targets"][0])
    resumed = make(root, **options)
    resumed.seek(**helped.state())
    for batch in batches[5:]:
        np.testing.assert_array_equal(batch["inputs"][0], resumed.next()["inputs"][0])
    helped.close()
    resumed.close()


def test_measured_images_are_never_varied(root):
    loader = make(root)
    first, second = ([batch.images for batch in loader.batches()] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first[0].shape == (2, 3, 64, 64)


@pytest.mark.parametrize("size", [[32, 64], [64, 32]])
def test_oblong_images_are_not_stretched(tmp_path, size):
    """Blue is the row of a pixel of the file, red the column."""
    rows, columns = np.indices((180, 180))
    for file in (tmp_path / "train" / "a" / "0.png", tmp_path / "val" / "a" / "0.png"):
        file.parent.mkdir(parents=True)
        cv2.imwrite(str(file), np.stack([rows, rows, columns], axis=-1).astype(np.uint8))
    augment = {"area": [0.3, 0.5], "ratio": [1, 1], "colour": 0, "lighting": 0}
    loader = make(tmp_path, batch_size=1, image_size=size, train_sizes=None, centre=1.0, augment=augment)
    for images in (*(loader.next()["inputs"][0] for _ in range(4)), next(loader.batches()).images):
        red, _, blue = images[0] * DEVIATION[:, None, None]
        down, across = np.diff(blue, axis=0).mean(), np.diff(red, axis=1).mean()
        assert abs(across) == pytest.approx(down, rel=0.05)


def test_images_are_oblong_where_no_sizes_of_squares_are_given(root):
    loader = make(root, image_size=[32, 64], train_sizes=None)
    assert loader.next()["inputs"][0].shape == next(loader.batches()).images.shape == (2, 3, 32, 64)
    assert make(root, image_size=[32, 64]).next()["inputs"][0].shape[2:] in [(size, size) for size in SIZES]


def test_an_epoch_shows_every_image_once(root):
    loader = make(root, batch_size=8)
    assert sorted(loader.next()["targets"][0].ravel().tolist()) == [0] * 4 + [1] * 4
    first, second = (loader.next()["inputs"][0] for _ in range(2))
    assert first.shape != second.shape or (first != second).any()
