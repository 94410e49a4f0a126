"""A detector that left its run on a test split: AP as a run measures it, and latency here (Section 4.1)."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from ..data import DetectionLoader
from ..data.class_masks import SegmentationLoader
from ..data.data_check import LOADERS, options_of, table
from ..data.flaws import Flaw
from ..detection import Detections, interval, resampling, to_detections
from ..errors import ConfigError, DataError
from ..figure_names import figure_name
from ..options import IMAGE_SIZE
from ..segmentation import Overlap, class_map, to_cells
from ..tasks import CenterNet, MapTask, Segmentation
from .detector import Detector
from .exported import Exported
from .segmenter import Segmenter

WARM_UP, PASSES = 2, 10  # of one image, to time it


class Kind(NamedTuple):
    """The evaluation of a task's files: its loader, the task, and `answers(detector, loader, progress)`."""

    loader: type[DetectionLoader] | type[SegmentationLoader]
    task: type[MapTask]
    answers: Callable[..., Any]


def test_loader(detector: Exported, dataloader: Mapping[str, Any]) -> Any:
    """The images of the test split that a configuration's `dataloader` names, at the detector's own size.

    Where the configuration gives no classes they are the detector's, and no object may be of another one. DataError
    for a set with classes that the detector lacks; those that the set lacks are no matter.
    """
    options = options_of(dataloader, image_size=detector.image_size)
    name = next(iter(dataloader))
    if LOADERS[name].task != detector.task:
        those = " or ".join(one for one, loader in LOADERS.items() if loader.task == detector.task)
        raise ConfigError(
            f"dataloader is {name}, whose images are not for {detector.task}; take {those}", key="dataloader"
        )
    given = options.classes
    if given is None:
        options = options.model_copy(update={"classes": detector.classes})
    dataset = options.read("test", options.classes)
    others = [one.detail for one in dataset.findings if given is None and one.flaw is Flaw.CLASS_LEFT_OUT]
    if lacking := [*dict.fromkeys(others), *(repr(one) for one in dataset.classes if one not in detector.classes)]:
        known = ", ".join(detector.classes)
        raise DataError(
            f"{dataset.name} has the classes {', '.join(lacking)}, which the detector lacks; it knows {known}:"
            f" {options.where}.classes=[...] of these leaves other objects out"
        )
    return KINDS[detector.task].loader(dataset, searching=False, training=False, batch_size=1, options=options)


def evaluated(
    detector: Exported, loader: Any, metric: str, *, progress: Callable[[Iterable], Iterable] = iter
) -> dict[str, Any]:
    """The figure by the `metric`, its 95 % bootstrap interval, those of classes, and seconds for one image.

    All as JSON holds it. On the test split of a detector's own run they are what the run says, as the resamples are.
    """
    kind = KINDS[detector.task]
    task = kind.task(n_classes=loader.n_classes)
    task.require_metric(metric, loader)
    answers = kind.answers(detector, loader, progress)
    found = task.assessed(metric, answers, loader, rng=resampling(loader.split_digest))
    return {
        "detector": str(detector.file),
        "runtime": detector.runtime,
        "dataset": loader.dataset.name,
        "images": len(loader.dataset),
        "image_size": IMAGE_SIZE.plain(detector.image_size),
        "metric": metric,
        "ap": found.figure,
        "ap_interval": [*interval(found.resampled, about=found.figure)],
        "classes": [*loader.classes],
        "ap_per_class": [None if np.isnan(one) else one for one in found.per_class.tolist()],
        "latency": latency(detector, loader.still(0)[0]),
    }


def _boxes(detector: Detector, loader: DetectionLoader, progress: Callable[[Iterable], Iterable]) -> Detections:
    """Boxes in all images of a loader, as labels of its classes."""
    found, stills = [], loader.stills()
    for number in progress(range(len(loader.dataset))):
        pixels, matrix = next(stills)
        found.append(to_detections(detector.answer(pixels[None]), np.array([number]), matrix[None]))
    every = Detections(*(np.concatenate(column) for column in zip(*found, strict=True)))
    labels = {name: label for label, name in enumerate(loader.classes)}
    label = np.array([labels.get(name, -1) for name in detector.classes])[every.label]
    return Detections(*(column[label >= 0] for column in every._replace(label=label)))


def _classes(segmenter: Segmenter, loader: SegmentationLoader, progress: Callable[[Iterable], Iterable]) -> Overlap:
    """How much of the images of a loader is of the class that it should be; what the loader does not have is
    background."""
    labels = {name: label for label, name in enumerate(loader.classes)}
    label = np.array([labels.get(name, 0) for name in segmenter.classes], np.uint8)
    stills = loader.stills()

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number in progress(range(len(loader.dataset))):
            (pixels, matrix), image = next(stills), loader.dataset.images[number]
            logits = segmenter.answer(pixels[None])[0]
            yield label[class_map(logits, to_cells(matrix, segmenter.stride), image.size)], image.classes()

    return Segmentation(n_classes=loader.n_classes).overlap(pairs())


KINDS = {
    Detector.task: Kind(DetectionLoader, CenterNet, _boxes),
    Segmenter.task: Kind(SegmentationLoader, Segmentation, _classes),
}


def latency(detector: Exported, pixels: np.ndarray) -> float:
    """The median of the seconds from the pixels (h, w, 3) of one image, of the detector's own size, to its answer."""
    seconds = []
    for _ in range(WARM_UP + PASSES):
        start = time.perf_counter()
        detector.answer(pixels[None])
        seconds.append(time.perf_counter() - start)
    return median(seconds[WARM_UP:])


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A table of what `evaluated` found."""
    name = figure_name(found["metric"])
    low, high = (_percent(one) for one in found["ap_interval"])
    yield from table(
        [
            ("detector", f"{found['detector']}, by {found['runtime']}"),
            ("test split", f"{found['dataset']}: {found['images']:,} images, {found['image_size']} px"),
            (f"{name}, {found['metric']}", f"{_percent(found['ap'])} %, 95 % interval {low} – {high}"),
            ("latency", f"{1000 * found['latency']:.4g} ms for one image, the median of {PASSES}"),
        ]
    )
    yield ""
    aps = [f"{'–' if one is None else _percent(one):>6}" for one in found["ap_per_class"]]
    yield from table([("class", f"{name} (%)"), *zip(found["classes"], aps, strict=True)])


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"
