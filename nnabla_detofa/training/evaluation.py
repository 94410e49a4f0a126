"""How good the active path of a network is on some images: average precision, or top-1 accuracy (Section 4.1)."""

from collections.abc import Callable, Iterable, Iterator

import nnabla as nn
import numpy as np

from ..detection import Detections, Peaks, coco_ap, decode, to_coco, to_detections, voc_ap
from ..errors import DataError, unknown
from ..supernet import OFAResNet50
from .peaks import PeakGraph


def answers(network: OFAResNet50, batches: Iterable, read: Callable) -> Iterator[tuple]:
    """Each batch of a loader with what the network's active path says of its images.

    `read` makes of the network's outputs for a batch a callable, which runs the graph and gives what it says.
    """
    network.apply(training=False)
    graph = None
    for batch in batches:
        if graph is None or graph[0].shape != batch.images.shape:
            placeholder = nn.Variable(batch.images.shape)
            graph = placeholder, read(network(placeholder))
        placeholder, answer = graph
        placeholder.d = batch.images
        yield batch, answer()


def top1(network: OFAResNet50, batches: Iterable) -> float:
    """The share of images whose own class gets the largest logit."""

    def read(logits: nn.Variable) -> Callable[[], np.ndarray]:
        def answer() -> np.ndarray:
            logits.forward(clear_buffer=True)
            return logits.d

        return answer

    right = images = 0
    for batch, logits in answers(network, batches, read):
        n = batch.n_valid
        right += int((logits[:n].argmax(axis=1) == batch.targets[0][:n, 0]).sum())
        images += n
    return right / images


def detect(network: OFAResNet50, batches: Iterable, *, top: int = 100, on_device: bool | None = None) -> Detections:
    """Detections of the network's active path in the batches of a loader, in the images' own pixels.

    Peaks are looked for `on_device`, so that maps need not leave it, or in memory; where it is None, in memory on a CPU
    alone.
    """
    if on_device is None:
        on_device = not nn.get_current_context().backend[0].startswith("cpu")

    def read(outputs: tuple[nn.Variable, ...]) -> Callable[[], Peaks]:
        def answer() -> Peaks:
            nn.forward_all(outputs, clear_buffer=True)
            return decode(*(output.d for output in outputs), top=top, logits=True)

        return PeakGraph(*outputs, top=top) if on_device else answer

    found: list[Detections] = []
    for batch, peaks in answers(network, batches, read):
        n = batch.n_valid
        found.append(to_detections(Peaks(*(one[:n] for one in peaks)), batch.indices[:n], batch.matrix[:n]))
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
    some = {"image_ids": dataset.image_ids, "category_ids": dataset.category_ids}
    return float(coco_ap(results, dataset.annotation_file, **some)["AP"])


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
    found = detect(network, batches, on_device=not network.works_channel_major())
    return average_precision(name, found, loader.dataset)


def average_precision(name: str, detections: Detections, dataset) -> float:
    """The named metric, in 0–1; ConfigError for an unknown name, DataError where there is no object to find."""
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    value = METRICS[name](detections, dataset)
    if not 0 <= value <= 1:
        raise DataError(f"{dataset.name} has no object to find, so average precision is not defined; check the split")
    return value
