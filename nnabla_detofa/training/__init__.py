"""Supernet training on the host (Algorithm 1): path samplers, the runner, measuring, checkpoints, the report."""

from .runner import SupernetRunner
from .samplers import FULLNET, DrawnPaths, PathSampler, path_sampler
from .shrinking import ShrinkingRunner
from .tables import MeasuredPaths
from .trainer import FINETUNE

__all__ = [
    "FINETUNE",
    "FULLNET",
    "DrawnPaths",
    "MeasuredPaths",
    "PathSampler",
    "ShrinkingRunner",
    "SupernetRunner",
    "path_sampler",
]
