"""Supernet training, measuring and evaluation, as stages of a run (Algorithm 1, lines 2, 3 and 7 to 16)."""

from .costs import cost_summary
from .identity import run_identity
from .measured_stages import (
    HELD_OUT,
    Assessed,
    assessed,
    evaluation_work,
    figure_inputs,
    figures,
    held_out_figures,
    kept_bytes,
    measured,
    measurer,
    preparer,
    say_fewer_images,
)
from .path_statistics import STATISTICS, Taken
from .run import Run
from .samplers import PathSampler
from .schedule import Schedule, learning_rate
from .stages import FINETUNE, WARMUP, WEIGHTS, drawn_paths, schedule, train
from .trainer import sampler_state

__all__ = [
    "FINETUNE",
    "HELD_OUT",
    "STATISTICS",
    "WARMUP",
    "WEIGHTS",
    "Assessed",
    "PathSampler",
    "Run",
    "Schedule",
    "Taken",
    "assessed",
    "cost_summary",
    "drawn_paths",
    "evaluation_work",
    "figure_inputs",
    "figures",
    "held_out_figures",
    "kept_bytes",
    "learning_rate",
    "measured",
    "measurer",
    "preparer",
    "run_identity",
    "sampler_state",
    "say_fewer_images",
    "schedule",
    "train",
]
