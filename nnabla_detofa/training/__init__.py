"""Supernet training on the host (Algorithm 1): path samplers, the runner, measuring, checkpoints, the report."""

from .runner import SupernetRunner
from .samplers import DrawnPaths, PathSampler, path_sampler
from .tables import MeasuredPaths
from .trainer import FINETUNE

__all__ = ["FINETUNE", "DrawnPaths", "MeasuredPaths", "PathSampler", "SupernetRunner", "path_sampler"]
