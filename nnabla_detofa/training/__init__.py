"""Supernet training on the host (Algorithm 1): path samplers, the runner, measuring, checkpoints, the report."""

from .runner import FINETUNE, SupernetRunner
from .samplers import PathSampler, UniformPaths, path_sampler
from .tables import MeasuredPaths

__all__ = ["FINETUNE", "MeasuredPaths", "PathSampler", "SupernetRunner", "UniformPaths", "path_sampler"]
