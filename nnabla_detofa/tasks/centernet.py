"""Detection by CenterNet (Sections 2.1 and 4.1): up-convolutions, three heads, and boxes from their peaks."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import nnabla as nn
import numpy as np

from ..detection import (
    Detections,
    JudgedDetections,
    Peaks,
    decode,
    judge_coco,
    judge_voc,
    to_coco,
    to_detections,
    voc_ap_of,
)
from ..errors import ConfigError, DataError, unknown
from ..precision import single_precision
from ..space import DetectorLayers, Family, SearchSpace
from .losses import centre_l1_loss, focal_loss
from .peaks import PeakGraph
from .task import MapTask, answers

HEATMAP_BIAS = -2.19  # σ(−2.19) ≈ 0.1: a fresh network predicts few centres
LOSS_WEIGHTS = (1.0, 0.1, 1.0)  # of the heads


COCO = "coco"
INTERPOLATIONS = {"voc07": "11-point", "voc": "area"}
METRICS = (*INTERPOLATIONS, COCO)


class CenterNet(MapTask):
    """Boxes of objects. Outputs are heat-map logits (B, n_classes, h, w), sizes and offsets (B, 2, h, w)."""

    name: ClassVar[str] = "detection"
    metrics: ClassVar[tuple[str, ...]] = METRICS
    outputs: ClassVar[tuple[str, ...]] = ("heatmap", "size", "offset")
    weighs_losses: ClassVar[bool] = True

    def layers(self, space: SearchSpace, **backbone: Any) -> DetectorLayers:
        """See `Task`."""
        return DetectorLayers(space, n_classes=self.n_classes, neck=self.neck, head=self.head, **backbone)

    def places(self, family: Family) -> list[tuple[str, dict[str, Any]]]:
        """See `Task`; the heat map alone has a prior."""
        places = super().places(family)
        places[len(self.neck)][1]["prior"] = HEATMAP_BIAS
        return places

    def target_shapes(self, sides: tuple[int, int], max_objects: int) -> list[list[int]]:
        """See `Task`."""
        return [[self.n_classes, *sides], [max_objects, 2], [max_objects, 2], [max_objects], [max_objects]]

    @single_precision()
    def loss(self, outputs, targets, *, weights=None, terms=None, training: bool):  # noqa: ARG002
        """Weighted sum of the three losses."""
        terms = terms or self.curves(outputs, targets)
        return sum(weight * term for weight, term in zip(weights or LOSS_WEIGHTS, terms.values(), strict=True))

    def curves(self, outputs, targets) -> dict[str, nn.Variable]:
        """The three losses."""
        logits, sizes, offsets = outputs
        heatmap, size, offset, index, mask = targets
        return {
            "heatmap": focal_loss(logits, heatmap),
            "size": centre_l1_loss(sizes, size, index, mask),
            "offset": centre_l1_loss(offsets, offset, index, mask),
        }

    def require_metric(self, metric: str, loader) -> None:
        """As every task's; COCO's needs its own annotation."""
        super().require_metric(metric, loader)
        if metric == COCO and getattr(loader.dataset, "category_ids", None) == ():  # a plan's has none to ask
            raise ConfigError(
                f"metric is '{COCO}', which needs COCO's instances json; {loader.dataset.name} has none: take voc07",
                key="hparams.metric",
                given=metric,
            )

    def is_defined(self, loader) -> bool:
        """Whether the images show an object that counts."""
        return not loader.dataset.ground_truth().difficult.all()

    def answers(self, network, loader) -> Detections:
        """Detections, in the images' own pixels."""
        batches = loader.batches(np.arange(len(loader.dataset)), targets=False)
        return detect(network, batches, on_device=not network.works_channel_major())

    def judged(self, metric: str, answers: Detections, loader) -> JudgedDetections:
        """Which of them are right."""
        return judge(metric, answers, loader.dataset)

    def figure_judged(self, metric: str, judged: JudgedDetections, loader) -> float:
        """Average precision."""
        return mean_precision(metric, judged, loader.dataset.name)


def detect(network, batches: Iterable, *, top: int = 100, on_device: bool = False) -> Detections:
    """Detections of the network's active path in the batches of a loader, in the images' own pixels.

    Peaks are looked for `on_device`, so that maps need not leave it, or in memory.
    """

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


def average_precision(metric: str, detections: Detections, dataset) -> float:
    """The named metric, in 0–1; ConfigError for an unknown name, DataError where there is no object to find."""
    return mean_precision(metric, judge(metric, detections, dataset), dataset.name)


def judge(metric: str, detections: Detections, dataset) -> JudgedDetections:
    """Which of the detections are right, as the named metric has it; ConfigError for an unknown name."""
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    if metric == COCO:
        ids = {"image_ids": dataset.image_ids, "category_ids": dataset.category_ids}
        return judge_coco(to_coco(detections, *ids.values()), dataset.annotation_file, **ids)
    sizes = {"n_images": len(dataset), "n_classes": len(dataset.classes)}
    return judge_voc(detections, dataset.ground_truth(), interpolation=INTERPOLATIONS[metric], **sizes)


def mean_precision(metric: str, judged: JudgedDetections, name: str) -> float:
    """The named metric of judged detections: the mean over the classes that have an object of VOC's AP at IoU 0.5, or
    COCO's AP at IoU .5 to .95. DataError where the data set, called `name`, has no object to find."""
    if metric == COCO:
        value = float(np.minimum(judged.figure(np.ones((1, judged.n_images), int))[0], 1))  # sums round
    else:
        aps = voc_ap_of(judged, interpolation=INTERPOLATIONS[metric])
        value = float(aps[~np.isnan(aps)].mean()) if not np.isnan(aps).all() else np.nan
    if not 0 <= value <= 1:
        raise DataError(f"{name} has no object to find, so average precision is not defined; check the split")
    return value
