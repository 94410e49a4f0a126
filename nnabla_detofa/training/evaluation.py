"""How good the active path of a network is on some images: average precision, or top-1 accuracy (Section 4.1)."""

from collections.abc import Iterable, Iterator

import nnabla as nn
import numpy as np

from ..detection import Detections, coco_ap, decode, to_coco, to_detections, voc_ap
from ..errors import DataError, unknown
from ..supernet import OFAResNet50


def answers(network: OFAResNet50, batches: Iterable) -> Iterator[tuple]:
    """Each batch of a loader with what the network's active path says of its images, one array an output."""
    network.apply(training=False)
    graph = None
    for batch in batches:
        if graph is None or graph[0].shape != batch.images.shape:
            placeholder = nn.Variable(batch.images.shape)
            outputs = network(placeholder)
            graph = placeholder, list(outputs) if isinstance(outputs, tuple) else [outputs]
        placeholder, outputs = graph
        placeholder.d = batch.images
        nn.forward_all(outputs, clear_buffer=True)
        yield batch, [output.d[: batch.n_valid] for output in outputs]


def top1(network: OFAResNet50, batches: Iterable) -> float:
    """The share of images whose own class gets the largest logit."""
    right = images = 0
    for batch, (logits,) in answers(network, batches):
        right += int((logits.argmax(axis=1) == batch.targets[0][: batch.n_valid, 0]).sum())
        images += batch.n_valid
    return right / images


def detect(network: OFAResNet50, batches: Iterable, *, top: int = 100) -> Detections:
    """What the network's active path finds in the batches of a loader, in the images' own pixels."""
    found: list[Detections] = []
    for batch, (logits, size, offset) in answers(network, batches):
        peaks = decode(0.5 + 0.5 * np.tanh(0.5 * logits), size, offset, top=top)
        found.append(to_detections(peaks, batch.indices[: batch.n_valid], batch.matrix[: batch.n_valid]))
    return Detections(*(np.concatenate(column) for column in zip(*found, strict=True)))


def voc_metric(interpolation: str):
    """Mean AP at IoU 0.5 over the classes that the images have."""

    def mean_ap(detections: Detections, dataset) -> float:
        aps = voc_ap(
            detections, dataset.ground_truth(), n_classes=len(dataset.classes), iou=0.5, interpolation=interpolation
        )
        return float(aps[~np.isnan(aps)].mean()) if not np.isnan(aps).all() else np.nan

    return mean_ap


def coco_metric(detections: Detections, dataset) -> float:
    """COCO's AP, IoU .5 to .95."""
    results = to_coco(detections, dataset.image_ids, dataset.category_ids)
    return float(coco_ap(results, dataset.annotation_file, image_ids=dataset.image_ids)["AP"])


COCO = "coco"
METRICS = {"voc07": voc_metric("11-point"), "voc": voc_metric("area"), COCO: coco_metric}


TASKS = {"detection": tuple(METRICS), "classification": ("top1",)}  # the names of each task's figures


def is_defined(loader) -> bool:
    """Whether paths have a figure on a loader's images: to a detector's, these must show an object that counts."""
    return loader.task == "classification" or not loader.dataset.ground_truth().difficult.all()


def figure(name: str, network: OFAResNet50, loader) -> float:
    """The named figure, in 0–1, of the active path on all images of a loader of the network's task."""
    batches = loader.batches(np.arange(len(loader.dataset)))
    if loader.task == "classification":
        return top1(network, batches)
    return average_precision(name, detect(network, batches), loader.dataset)


def average_precision(name: str, detections: Detections, dataset) -> float:
    """The named metric, in 0–1; ConfigError for an unknown name, DataError where there is no object to find."""
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    value = METRICS[name](detections, dataset)
    if not 0 <= value <= 1:
        raise DataError(f"{dataset.name} has no object to find, so average precision is not defined; check the split")
    return value
