"""Supernet training on the host (Algorithm 1): path samplers, the runner, measuring, checkpoints, the report."""

from .runner import SupernetRunner
from .samplers import PathSampler, UniformPaths, path_sampler
from .tables import MeasuredPaths
from .trainer import FINETUNE

__all__ = ["FINETUNE", "MeasuredPaths", "PathSampler", "SupernetRunner", "UniformPaths", "path_sampler"]
