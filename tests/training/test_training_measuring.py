"""A path's validation loss depends on the path and on nothing that was measured before it."""

import numpy as np
import pytest

from nnabla_detofa.errors import ConfigError
from nnabla_detofa.training import measuring
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


def ends(network):
    return network.space.smallest(), network.space.largest()


def test_a_path_has_one_loss_whatever_was_measured_before(measurer, tiny):
    network = tiny()
    small, large = ends(network)
    one = measurer(range(8), network)
    first = one.loss(small)
    assert one.loss(large) != first
    assert one.loss(small) == first
    assert measurer(range(8)).loss(small) == first


def test_measuring_leaves_the_weights_as_they_are(measurer, tiny):
    network = tiny()
    before = {name: p.d.copy() for name, p in network.get_parameters(grad_only=True).items()}
    measurer(range(4), network).loss(network.space.largest())
    for name, values in before.items():
        np.testing.assert_array_equal(network.get_parameters()[name].d, values, err_msg=name)


def test_each_image_counts_once(measurer, tiny):
    path = tiny().space.largest()
    first, second = measurer(range(4)).loss(path), measurer(range(4, 6)).loss(path)
    assert measurer(range(6)).loss(path) == pytest.approx((4 * first + 2 * second) / 6, rel=1e-6)


def test_other_images_other_loss(measurer, tiny):
    path = tiny().space.largest()
    assert measurer(range(8)).loss(path) != measurer(range(8, 16)).loss(path)


def test_a_network_that_diverged_has_no_finite_loss(measurer, tiny):
    network = tiny()
    small, _ = ends(network)
    network.get_parameters()["heads/size/output/conv/_b"].d = np.nan
    assert np.isnan(measurer(range(4), network).loss(small))


def arrays(batches):
    return [(batch.images.copy(), [t.copy() for t in batch.targets], batch.indices, batch.n_valid) for batch in batches]


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_fixed_images_are_the_same_every_time(loader, monkeypatch, limit):
    monkeypatch.setattr(measuring, "CACHE_BYTES", limit)
    one, reads = loader(training=False), []
    batches = one.batches
    monkeypatch.setattr(one, "batches", lambda indices: reads.append(1) or batches(indices))
    images = FixedImages(one, np.array([5, 3, 0, 1, 9]))
    assert len(images) == 5
    first, second = arrays(images), arrays(images)
    assert [n_valid for *_, n_valid in first] == [4, 1]
    np.testing.assert_array_equal(first[0][2], [5, 3, 0, 1])
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        for x, y in zip(a[1], b[1], strict=True):
            np.testing.assert_array_equal(x, y)
    assert len(reads) == (1 if limit else 2)


def test_images_that_are_not_there_are_not_asked_for(ready, monkeypatch):
    said, options = [], ready.hparams["path_filter"]
    monkeypatch.setattr(ready, "say", said.append)
    asked = {"bn_images": 1000, "validation_images": 8, "evaluation_bn_images": 1000}
    for second, images in ((True, [22, 8, 44]), (False, [44, 8, 44])):  # a second measurement is on others
        monkeypatch.setitem(ready.hparams, "path_filter", {**options, **asked, "second_measurement": second})
        assert [ready.n_images(key) for key in asked] == images
    ready.say_fewer_images()
    assert said == [
        "path_filter.bn_images is 1000; the train part of VOC2007 trainval has 44, which are all used",
        "path_filter.evaluation_bn_images is 1000; the train part of VOC2007 trainval has 44, which are all used",
    ]


def test_a_line_about_fewer_images_counts_those_that_are_there(ready, monkeypatch):
    said, asked = [], {"bn_images": 30, "validation_images": 8, "evaluation_bn_images": 30, "second_measurement": True}
    monkeypatch.setattr(ready, "say", said.append)
    monkeypatch.setitem(ready.hparams, "path_filter", {**ready.hparams["path_filter"], **asked})
    ready.say_fewer_images()
    line = "path_filter.bn_images is 30; the train part of VOC2007 trainval has 44, of which each measurement uses 22"
    assert said == [line]


def test_two_measurements_share_no_image(ready, monkeypatch):
    options = {"bn_images": 1000, "validation_images": 1000, "second_measurement": True}
    monkeypatch.setitem(ready.hparams, "path_filter", {**ready.hparams["path_filter"], **options})
    first, second = (ready.measurer(part) for part in range(2))
    for images in ("_bn_images", "_validation_images"):
        one, other = (getattr(measurer, images)._indices for measurer in (first, second))
        assert len(one) == len(other) > 0
        assert not set(one) & set(other)


def test_one_image_makes_no_two_measurements(ready, monkeypatch):
    monkeypatch.setattr(ready.dataloader["valid"], "dataset", ready.dataloader["valid"].dataset.subset([0]))
    with pytest.raises(
        ConfigError, match="valid part of VOC2007 trainval has 1 image, and .* asks for 2 disjoint sets"
    ):
        ready.n_images("validation_images")


@pytest.mark.parametrize("second", [False, True])
def test_nothing_held_out_is_not_the_second_measurements_fault(ready, monkeypatch, second):
    monkeypatch.setitem(ready.hparams["path_filter"], "second_measurement", second)
    monkeypatch.setattr(ready.dataloader["valid"], "dataset", ready.dataloader["valid"].dataset.subset([]))
    with pytest.raises(ConfigError, match="has no image, and path_filter.validation_images asks for some; hold out"):
        ready.n_images("validation_images")
