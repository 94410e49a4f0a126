"""A network that answers with its targets has an AP of 1, whatever the metric."""

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import cv2
import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np
import pytest
from nnabla.ext_utils import get_extension_context

from nnabla_detofa.data.coco import DataLoader as CocoLoader
from nnabla_detofa.errors import ConfigError, DataError
from nnabla_detofa.tasks import CenterNet, centernet
from nnabla_detofa.tasks.centernet import average_precision, detect
from nnabla_detofa.tasks.peaks import PeakGraph

TASK = CenterNet(n_classes=3)


class Echo:
    """Takes its input for logits, sizes and offsets, each as a map."""

    def __init__(self, n_classes):
        self.n_classes, self.training = n_classes, True

    def apply(self, *, training):
        self.training = training

    def __call__(self, maps):
        assert not self.training
        batch, n, *sides = maps.shape
        bounds = [(0, self.n_classes), (n - 4, n - 2), (n - 2, n)]
        return tuple(F.slice(maps, (0, low, 0, 0), (batch, high, *sides)) for low, high in bounds)


def as_maps(rows, index, mask, shape):
    """Values (B, M, 2) of objects at their cells of maps (B, 2, h, w)."""
    maps = np.zeros((*shape, 2))
    image, row = np.nonzero(mask)
    maps[(image, *np.divmod(index[image, row].astype(int), shape[2]))] = rows[image, row]
    return maps.transpose(0, 3, 1, 2)


def perfect(loader):
    """The loader's batches with what a perfect network would say of the images in their place."""
    for batch in loader.batches():
        heatmap, size, offset, index, mask = batch.targets
        shape = (len(heatmap), *heatmap.shape[2:])
        maps = [12 * heatmap - 6, *(as_maps(rows, index, mask, shape) for rows in (size, offset))]
        yield batch._replace(images=np.concatenate(maps, axis=1).astype(np.float32))


def blurred(loader):
    """Answers that are wrong in every second image."""
    for batch in perfect(loader):
        batch.images[1::2] = np.roll(batch.images[1::2], 3, axis=2)
        yield batch


@pytest.fixture
def coco(tmp_path):
    """Builds a loader of five images in the COCO layout, their ids and those of the two classes with gaps."""
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for i in range(5):
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), np.full((64, 64, 3), 40 * i, np.uint8))
        images.append({"id": 7 * i + 2, "file_name": f"{i}.png", "width": 64, "height": 64})
        for j, box in enumerate([[5, 6, 12 + i, 9], [30, 28, 17, 20.5]][: i + 1]):
            one = {"id": len(annotations) + 1, "image_id": 7 * i + 2, "category_id": (3, 9)[(i + j) % 2], "bbox": box}
            annotations.append({**one, "iscrowd": 0, "area": box[2] * box[3]})
    categories = [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "test.json").write_text(json.dumps(content))
    split = ["images", "test.json"]
    options = {"root": tmp_path, "train": split, "test": split, "image_size": 64, "workers": 0, "held_out": 2}
    return lambda searching, training: CocoLoader(searching, training, 2, **options)


@pytest.mark.parametrize("held_out", [False, True], ids=["test split", "held out"])
@pytest.mark.parametrize("metric", TASK.metrics)
def test_perfect_answers(loader, coco, metric, held_out):
    """Of held-out images the objects of those that are trained on are not to be found."""
    build = coco if metric == "coco" else partial(loader, batch_size=5)  # whose last batch is filled up
    images = build(held_out, False)
    assert not held_out or 0 < len(images.dataset) < len(build(False, True).dataset)
    found = detect(Echo(images.n_classes), perfect(images))
    assert average_precision(metric, found, images.dataset) == pytest.approx(1)
    assert TASK.is_defined(images)


def test_without_an_object_that_counts_there_is_no_figure(loader):
    held_out = loader(True, False)
    nobody = [image._replace(difficult=np.ones(len(image.labels), bool)) for image in held_out.dataset.images]
    crowds = [image._replace(crowd=np.ones(len(image.labels), bool)) for image in held_out.dataset.images]
    for images in (nobody, crowds, [], [*crowds[:-1], nobody[-1]]):
        some = SimpleNamespace(dataset=replace(held_out.dataset, images=tuple(images)))
        assert not TASK.is_defined(some)
    with pytest.raises(DataError, match="no object to find"):
        average_precision("voc", detect(Echo(3), perfect(held_out)), some.dataset)
    images = (*nobody[:-1], held_out.dataset.images[-1])
    assert TASK.is_defined(SimpleNamespace(dataset=replace(held_out.dataset, images=images)))


def test_empty_answers(loader):
    test_split = loader(False, False)
    nothing = (batch._replace(images=np.full((4, 7, 8, 8), -9, np.float32)) for batch in test_split.batches())
    found = detect(Echo(3), nothing, top=10)
    assert len(found.score) == 10 * len(test_split.dataset)
    assert average_precision("voc", found, test_split.dataset) < 0.2


def test_unknown_metric(loader):
    test_split = loader(False, False)
    assert set(TASK.metrics) == {"voc07", "voc", "coco"}
    with pytest.raises(ConfigError, match="voc12"):
        average_precision("voc12", detect(Echo(3), perfect(test_split)), test_split.dataset)


@pytest.mark.parametrize("context", ["float", "half"])
def test_detections_are_the_same_in_memory_and_on_the_device(loader, tiny, context):
    network = tiny()
    test_split = loader(False, False, batch_size=5)
    with nn.context_scope(get_extension_context("cpu", type_config=context)):
        in_memory, on_device = (
            detect(network, test_split.batches(), top=20, on_device=on_device) for on_device in (False, True)
        )
        assert len(in_memory.score) == 20 * len(test_split.dataset)
        for ours, theirs in zip(on_device, in_memory, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_kernels_decide_where_peaks_are_looked_for(loader, tiny, monkeypatch):
    asked = []
    monkeypatch.setattr(centernet, "PeakGraph", lambda *maps, top: asked.append(top) or PeakGraph(*maps, top=top))
    networks = [tiny(kernels=kernels) for kernels in ("numpy", "nnabla")]
    figures = [network.task.figure("voc", network, loader(False, False)) for network in networks]
    assert asked == [100]
    assert figures[0] == pytest.approx(figures[1], abs=0.02)


@pytest.mark.parametrize("metric", TASK.metrics)
def test_one_answer_gives_the_figure_its_classes_and_its_resamples(loader, coco, metric, monkeypatch):
    images = coco(False, False) if metric == "coco" else loader(False, False)
    figure = TASK.figure_of(metric, found := detect(Echo(images.n_classes), blurred(images)), images)
    asked, judged = [], []
    monkeypatch.setattr(CenterNet, "answers", lambda _self, *given: asked.append(given) or found)
    monkeypatch.setattr(centernet, "judge", lambda *given, judge=centernet.judge: judged.append(given) or judge(*given))
    ours, again = (TASK.assess(metric, None, images, rng=np.random.default_rng(1)) for _ in range(2))
    assert asked == [(None, images)] * 2 and len(judged) == 2  # once each: COCO's matching is what takes long
    assert ours.figure == TASK.figure(metric, None, images) == figure
    assert 0.1 < figure < 1 and ours.per_class.shape == (images.n_classes,)
    assert np.nanmean(ours.per_class) == pytest.approx(figure, abs=1e-12)
    assert ours.resampled.shape == (1000,) and np.nanmin(ours.resampled) < figure < np.nanmax(ours.resampled)
    np.testing.assert_array_equal(ours.resampled, again.resampled)


def test_a_loader_of_another_grid_is_said(loader, tiny):
    tiny().require_fit(loader())
    with pytest.raises(ConfigError, match="stride"):
        tiny(neck=[8]).require_fit(loader())
