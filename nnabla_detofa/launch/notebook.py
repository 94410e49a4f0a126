"""Runs from a notebook or a script (an addition; not in the paper)."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import open_dict

from ..errors import ConfigError, refusals_of_the_disk
from .arguments import split_plan
from .cli import launch
from .composition import compose, plain


def run(config: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """See `nnabla_detofa.run`."""
    if split_plan([*overrides])[0]:
        raise ConfigError("plan=true is the command's alone: nnabla_nas -c FILE OVERRIDES plan=true", key="plan")
    composed = compose(config, overrides)
    if composed.hydra.mode is RunMode.MULTIRUN:
        raise ConfigError("hydra.mode is MULTIRUN; run makes one run: call it for each, or use the command's -m")
    with _as_job(composed), refusals_of_the_disk(), _warnings_alone("nnabla"):
        folder = launch(plain(composed, Path.cwd()))
    summary = folder / "summary.json"
    return json.loads(summary.read_text()) if summary.is_file() else {}


@contextmanager
def _as_job(composed: Any) -> Iterator[None]:
    """The job of a composed configuration is Hydra's live one; its own part is taken out of the configuration."""
    state = HydraConfig.instance()
    before = state.cfg
    state.set_config(composed.copy())
    with open_dict(composed):
        del composed["hydra"]
    try:
        yield
    finally:
        state.cfg = before


@contextmanager
def _warnings_alone(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
