"""Batches: the same whatever the workers, shared out among ranks, resumable, and in the host's form."""

import logging
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from nnabla_detofa.data.flaws import tell
from nnabla_detofa.data.voc import DataLoader
from nnabla_detofa.errors import ConfigError, DataError

MEAN, DEVIATION = 0.485, 0.229  # of red


def ranks(n):
    return [SimpleNamespace(rank=rank, n_procs=n) for rank in range(n)]


def make(voc, searching=True, training=True, batch_size=4, **options):
    defaults = {"image_size": 64, "output_stride": 2, "workers": 0, "max_objects": 5, "held_out": 0.1}
    return DataLoader(searching, training, batch_size, root=voc.root, **defaults | options)


def flat(batch):
    return [*batch["inputs"], *batch["targets"]]


def assert_equal(one, other):
    for a, b in zip(flat(one), flat(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_form_that_the_host_expects(filled_voc):
    loader = make(filled_voc)
    batch = loader.next()
    assert loader.transform == "none_transform"
    assert len(loader) == len(loader.dataset) == 18
    assert loader.n_classes == len(loader.classes) == 2
    assert [one.shape for one in batch["inputs"]] == [(4, 3, 64, 64)]
    assert [one.shape for one in batch["targets"]] == [(4, 2, 32, 32), (4, 5, 2), (4, 5, 2), (4, 5), (4, 5)]
    assert all(one.dtype == np.float32 for one in [*batch["inputs"], *batch["targets"][:3], batch["targets"][4]])
    assert batch["inputs"][0].flags.c_contiguous


@pytest.mark.parametrize("training", [True, False])
def test_an_oblong_image_has_height_before_width_and_a_square_may_be_told_as_one(filled_voc, training):
    loader = make(filled_voc, training=training, image_size=[32, 64], held_out=4)
    batch = loader.next()
    assert batch["inputs"][0].shape == (4, 3, 32, 64) == loader.images([0, 1, 2, 3]).shape
    assert batch["targets"][0].shape[1:] == tuple(loader.target_shapes()[0]) == (2, 16, 32)
    numbered, told = (make(filled_voc, training=training, image_size=size, held_out=4) for size in (64, [64, 64]))
    assert_equal(numbered.next(), told.next())


@pytest.mark.parametrize(
    "options", [{"workers": 1}, {"workers": 3, "prefetch": 1}, {"workers": 2, "cache_megabytes": 1}]
)
@pytest.mark.parametrize("training", [True, False])
def test_workers_change_nothing(filled_voc, options, training):
    alone, helped = make(filled_voc, training=training), make(filled_voc, training=training, **options)
    for _ in range(11):
        assert_equal(alone.next(), helped.next())
    helped.close()


def test_seed_decides(filled_voc):
    first, again, other = (make(filled_voc, seed=seed).next() for seed in (1, 1, 2))
    assert_equal(first, again)
    assert (first["inputs"][0] != other["inputs"][0]).any()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("searching", [True, False])
def test_ranks_take_the_batches_of_one_in_turn(filled_voc, searching, training):
    shares = [make(filled_voc, searching, training, 3, communicator=one, held_out=4) for one in ranks(2)]
    alone = make(filled_voc, searching, training, 3, held_out=4)
    for _ in range(7):
        for share in shares:
            assert_equal(alone.next(), share.next())


def shades(voc, n, split="trainval"):
    """`n` images, image i of grey 10 i all over."""
    for i in range(n):
        voc.add(split, f"{split}{i:02d}", [("thing", (5, 5, 60, 50))], size=(64, 64))
        cv2.imwrite(str(voc.image(f"{split}{i:02d}")), np.full((64, 64, 3), 10 * i, np.uint8))
    return voc


def numbers(images):
    """Which of `shades` each image (B, 3, S, S) is."""
    return ((images[:, 0].max(axis=(1, 2)) * DEVIATION + MEAN) * 25.5).round().astype(int).tolist()


def test_each_epoch_shows_every_image_once_in_another_order(voc):
    augment = {"colour": 0, "lighting": 0}
    loader = make(shades(voc, 15), searching=False, batch_size=5, augment=augment)
    epochs = [[i for _ in range(3) for i in numbers(loader.next()["inputs"][0])] for _ in range(3)]
    assert all(sorted(epoch) == list(range(15)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    loader = make(voc, searching=False, batch_size=21, augment=augment)  # a batch may exceed the epoch
    seen = numbers(np.concatenate([loader.next()["inputs"][0] for _ in range(5)]))
    assert [seen.count(i) for i in range(15)] == [7] * 15


def test_parts_are_those_of_the_host(filled_voc):
    ids = {
        (searching, training): make(filled_voc, searching, training).dataset.image_ids
        for searching in (True, False)
        for training in (True, False)
    }
    whole = sorted(ids[False, True])
    assert len(whole) == 20
    assert sorted(ids[True, True] + ids[True, False]) == whole
    assert len(ids[True, False]) == 2
    assert sorted(ids[False, False]) == [f"b{i:02d}" for i in range(5)]


def test_validation_goes_round_in_order(voc):
    loader = make(shades(shades(voc, 5), 5, "test"), searching=False, training=False, batch_size=3)
    assert [numbers(loader.next()["inputs"][0]) for _ in range(4)] == [[0, 1, 2], [3, 4, 0], [1, 2, 3], [4, 0, 1]]


@pytest.mark.parametrize("workers", [0, 2])
def test_goes_on_where_it_stood(filled_voc, workers):
    loader = make(filled_voc, workers=workers)
    for _ in range(6):
        loader.next()
    state = loader.state()
    expected = [loader.next() for _ in range(3)]
    other = make(filled_voc, workers=workers)
    other.next()
    for each in (other, loader):
        each.seek(**state)
        for batch in expected:
            assert_equal(each.next(), batch)
    assert other.state() == {"batches": 9}
    with pytest.raises(ConfigError, match="batches is -1"):
        loader.seek(-1)


@pytest.mark.parametrize("workers", [0, 2])
def test_error_in_a_worker_surfaces_and_the_batch_is_not_lost(filled_voc, workers):
    expected = make(filled_voc).next()
    loader = make(filled_voc, workers=workers)
    images = {i: filled_voc.image(f"a{i:02d}").read_bytes() for i in range(20)}
    for i, data in images.items():
        filled_voc.image(f"a{i:02d}").write_bytes(data[:300])
    for _ in range(2):
        with pytest.raises(DataError, match=r"cannot decode the image .*a\d\d\.jpg"):
            loader.next()
    for i, data in images.items():
        filled_voc.image(f"a{i:02d}").write_bytes(data)
    assert_equal(loader.next(), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_time_that_training_waits_for_batches_is_counted(filled_voc, monkeypatch, workers):
    loader = make(filled_voc, workers=workers)
    assert loader.waited == 0
    clock = iter([10.0, 10.5, 20.0, 20.25])  # before and after each batch
    monkeypatch.setattr("nnabla_detofa.data.stream.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    loader.next()
    loader.next()
    assert loader.waited == 0.75


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_meets_every_image_once(voc, workers):
    loader = make(shades(shades(voc, 3), 8, "test"), False, False, 3, workers=workers)
    batches = list(loader.batches())
    assert [batch.n_valid for batch in batches] == [3, 3, 2]
    assert [batch.indices.tolist() for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 7, 7]]
    assert [numbers(batch.images) for batch in batches] == [[0, 1, 2], [3, 4, 5], [6, 7, 7]]
    assert batches[2].matrix.shape == (3, 2, 3)
    assert all(len(target) == 3 for target in batches[2].targets)
    shares = [make(voc, False, False, 2, communicator=one).batches() for one in ranks(3)]
    seen = [i for share in shares for batch in share for i in batch.indices[: batch.n_valid]]
    assert sorted(seen) == list(range(8))


@pytest.mark.parametrize(
    ("part", "options", "error", "said"),
    [
        ((True, False), {"held_out": 0}, DataError, "held_out is 0: no image of VOC2007 trainval is left"),
        ((True, False), {"communicator": ranks(3)[0]}, DataError, "VOC2007 trainval gives 2 images for 3 processes"),
        ((False, False), {"classes": ["cow", "owl"]}, DataError, "VOC2007 test has no object of the classes cow, owl"),
        *(((True, True), {"batch_size": n}, ConfigError, "batch_size is") for n in (0, -2, 1.5, None)),
    ],
)
def test_what_no_loader_can_have(filled_voc, part, options, error, said):
    with pytest.raises(error, match=said):
        make(filled_voc, *part, **options)


def test_a_test_split_with_nothing_to_find_is_said_before_training(voc):
    shades(shades(voc, 3), 2, "test")
    make(voc, False, False)
    for i in range(2):
        voc.annotation(f"test{i:02d}").write_text(voc.xml([("thing", (5, 5, 60, 50), True)], (64, 64)))
    with pytest.raises(DataError, match="VOC2007 test has no object to find"):
        make(voc, False, False)


@pytest.mark.parametrize("workers", [0, 2])
def test_chosen_images_come_without_augmentation(voc, workers):
    loader = make(shades(voc, 9), searching=False, batch_size=2, workers=workers)
    whole = [int(image.id[-2:]) for image in loader.dataset.images]
    chosen = [4, 1, 7]
    images = loader.images(chosen)
    assert numbers(images) == [whole[i] for i in chosen]
    assert (images == images[:, :, :1, :1]).all()
    batches = list(loader.batches(chosen))
    assert [batch.n_valid for batch in batches] == [2, 1]
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches])[:3], images)
    without = list(loader.batches(chosen, targets=False))
    assert [batch.targets for batch in without] == [[], []]
    for mine, whole in zip(without, batches, strict=True):
        np.testing.assert_array_equal(mine.images, whole.images)
        np.testing.assert_array_equal(mine.matrix, whole.matrix)
    loader.next()
    np.testing.assert_array_equal(loader.images(chosen), images)


def test_flaws_are_told_once(voc, caplog):
    tell.cache_clear()
    shades(voc, 6).add("trainval", "bad", [("thing", (9, 9, 9, 9))])
    voc.add("trainval", "full", [("thing", (x, 2, x + 9, 40)) for x in range(6)])
    with caplog.at_level(logging.WARNING):
        make(voc)
        make(voc, training=False)
        make(voc, communicator=ranks(2)[1])
    assert [record.getMessage() for record in caplog.records] == [
        "VOC2007 trainval: 1 x box of zero size: left out (COCO's AP keeps it) (bad.xml object 0)",
        "VOC2007 trainval: 1 x image with more than max_objects objects: trained on the largest of them (full.jpg)",
        "VOC2007 trainval: 1 x image without boxes: kept: all of it is background (bad.xml)",
    ]


def test_stills_are_what_batches_are_made_of(filled_voc):
    loader = make(filled_voc, False, False, workers=2)
    (batches, stills), options = (list(loader.batches()), list(loader.stills())), loader.options
    images = np.concatenate([batch.images[: batch.n_valid] for batch in batches])
    matrices = np.concatenate([batch.matrix[: batch.n_valid] for batch in batches])
    assert len(stills) == len(images) == 5
    for (pixels, matrix), image, own in zip(stills, images, matrices, strict=True):
        assert (pixels.dtype, pixels.shape, pixels.flags.c_contiguous) == (np.uint8, (64, 64, 3), True)
        np.testing.assert_allclose((pixels[..., 0] / 255 - MEAN) / DEVIATION, image[0], atol=1e-5)
        np.testing.assert_array_equal(matrix / options.output_stride, own)
    loader.close()
