"""Shim."""

from .errors import ConfigError, unknown
from .training.evaluation import COCO, TASKS, figure, is_defined


class Task:
    def __init__(self, name):
        self.name = name
        self.metrics = TASKS[name]

    def figure(self, metric, network, loader):
        return figure(metric, network, loader)

    def is_defined(self, loader):
        return is_defined(loader)

    def require_metric(self, metric, loader):
        if metric not in self.metrics:
            raise unknown("metric", metric, self.metrics)
        if metric == COCO and getattr(loader.dataset, "category_ids", None) == ():
            raise ConfigError(
                f"metric is '{COCO}', which needs COCO's instances json; {loader.dataset.name} has none; take voc07",
                key="hparams.metric",
            )
