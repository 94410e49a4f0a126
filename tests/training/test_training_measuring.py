"""A path's validation loss depends on the path and on nothing that was measured before it."""

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.training import measurer as measurer_of
from nnabla_detofa.training import measuring, say_fewer_images
from nnabla_detofa.training.measured_stages import IMAGES, n_images
from nnabla_detofa.training.measuring import FixedImages, PathMeasurer

WEIGHTS = [1.0, 0.1, 1.0]


@pytest.fixture
def measurer(tiny, loader):
    """Builds a measurer of a network on held-out images; BN statistics from eight others."""

    def build(indices, network=None):
        bn_images = FixedImages(loader(), np.arange(8))
        validation_images = FixedImages(loader(training=False), np.asarray(indices))
        return PathMeasurer(network or tiny(), WEIGHTS, bn_images=bn_images, validation_images=validation_images)

    return build


def test_a_path_has_one_loss_whatever_was_measured_before_and_weights_stay(measurer, tiny):
    network = tiny()
    small, large = network.space.smallest(), network.space.largest()
    before = {name: p.d.copy() for name, p in network.get_parameters(grad_only=True).items()}
    one = measurer(range(8), network)
    first = one.loss(small)
    assert one.loss(large) != first
    assert one.loss(small) == first
    assert measurer(range(8)).loss(small) == first
    assert measurer(range(8, 16)).loss(small) != first
    for name, values in before.items():
        np.testing.assert_array_equal(network.get_parameters()[name].d, values, err_msg=name)


def test_each_image_counts_once(measurer, tiny):
    path = tiny().space.largest()
    first, second = measurer(range(4)).loss(path), measurer(range(4, 6)).loss(path)
    assert measurer(range(6)).loss(path) == pytest.approx((4 * first + 2 * second) / 6, rel=1e-6)


def test_a_network_that_diverged_has_no_finite_loss(measurer, tiny):
    network = tiny()
    network.get_parameters()["heads/size/output/conv/_b"].d = np.nan
    assert np.isnan(measurer(range(4), network).loss(network.space.smallest()))


PICTURES = 5 * 3 * 32 * 32 * 4  # bytes of five images
HEAT_MAPS = 5 * 3 * 8 * 8 * 4  # and of the largest part of their targets


@pytest.mark.parametrize(
    ("limit", "targets", "kept"),
    [
        (0, True, False),
        (PICTURES - 1, False, False),
        (PICTURES, False, True),
        (PICTURES + HEAT_MAPS, True, False),
        (1 << 30, True, True),
    ],
)
def test_fixed_images_are_the_same_every_time(loader, monkeypatch, limit, targets, kept):
    monkeypatch.setattr(measuring, "CACHE_BYTES", limit)
    one, reads = loader(training=False), []
    assert one.target_shapes()[0] == [3, 8, 8]
    batches = one.batches
    monkeypatch.setattr(one, "batches", lambda *given, **options: reads.append(1) or batches(*given, **options))
    images = FixedImages(one, np.array([5, 3, 0, 1, 9]), targets=targets)
    assert len(images) == 5
    first, second = (
        [(batch.n_valid, [a.copy() for a in (batch.indices, batch.images, *batch.targets)]) for batch in images]
        for _ in range(2)
    )
    assert [n_valid for n_valid, _ in first] == [4, 1]
    assert [len(arrays) for _, arrays in first] == [7 if targets else 2] * 2
    np.testing.assert_array_equal(first[0][1][0], [5, 3, 0, 1])
    for (_, ours), (_, theirs) in zip(first, second, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert len(reads) == (1 if kept else 2)
    size = sum(array[: batch.n_valid].nbytes for batch in images for array in (batch.images, *batch.targets))
    assert images.kept_bytes == (size if kept else 0)


@pytest.fixture
def asking(run):
    """Makes the run ask for other numbers of images, of at most so many that are held out."""

    def ask(*, held_out=None, **options):
        run.options = run.options.model_copy(update={"path_filter": run.options.path_filter.model_copy(update=options)})
        if held_out is not None:
            valid = run.data["valid"]
            run.data = {**run.data, "valid": type("Part", (), {"dataset": valid.dataset.subset(range(held_out))})}
        return run

    return ask


@pytest.mark.parametrize(
    ("asked", "second", "n", "said"),
    [
        (1000, True, [22, 8, 44], ["of which each measurement uses 22", "which are all used"]),
        (1000, False, [44, 8, 44], ["which are all used"] * 2),
        (30, True, [22, 8, 30], ["of which each measurement uses 22"]),
        (22, True, [22, 8, 22], []),
    ],
)
def test_images_that_are_not_there_are_not_asked_for(asking, asked, second, n, said):
    images = {"bn_images": asked, "validation_images": 8, "evaluation_bn_images": asked}
    run, lines = asking(**images, second_measurement=second), []
    run.say = lines.append
    assert [n_images(run, key) for key in images] == n
    assert set(images) == set(IMAGES)
    say_fewer_images(run)
    assert [line.rpartition(" has 44, ")[2] for line in lines] == said
    assert all(f" is {asked}; the train part of" in line for line in lines)


def test_two_measurements_share_no_image(asking):
    run = asking(bn_images=1000, validation_images=1000, second_measurement=True)
    first, second = (measurer_of(run, part) for part in range(2))
    for images in ("_bn_images", "_validation_images"):
        one, other = (getattr(measurer, images)._indices for measurer in (first, second))
        assert len(one) == len(other) > 0
        assert not set(one) & set(other)


@pytest.mark.parametrize(
    ("held_out", "second", "said"), [(1, True, "2 disjoint sets"), (0, True, "no image"), (0, False, "no image")]
)
def test_too_few_held_out_images_are_said(asking, held_out, second, said):
    """Nothing held out is not the second measurement's fault."""
    run = asking(held_out=held_out, second_measurement=second)
    with pytest.raises(ConfigError, match=f"valid part .* {said}"):
        n_images(run, "validation_images")
