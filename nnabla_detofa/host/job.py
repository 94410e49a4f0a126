"""The Hydra job that the host asks for its folders, where none is live too (an addition; not in the paper).

The host's Runner takes the run's folder and the name of its log from Hydra's global configuration. A notebook has
none, and `hydra.output_subdir` may be null or a path, of which the host would make no file's name.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, read_write


@contextmanager
def live_job(config: dict[str, Any], *, kept: bool = True, folder: Path | None = None) -> Iterator[None]:
    """The job that is live, or one that writes into the `folder`, else log/NAME below the current one; as before
    afterwards.

    What the latter writes is not `kept` where a folder that is gone afterwards will do.
    """
    state: Any = HydraConfig.instance()
    before = state.cfg
    with TemporaryDirectory(prefix="nnabla_detofa_") as elsewhere:
        if before is None:
            state.set_config(
                _job(folder or Path("log", str(config.get("name", "detofa"))) if kept else Path(elsewhere))
            )
        hydra = state.cfg.hydra
        subdir = hydra.output_subdir
        try:
            with read_write(hydra):
                hydra.output_subdir = "." + Path(subdir or f"{datetime.now():%Y-%m-%d.%H-%M-%S}").name.lstrip(".")
            yield
        finally:
            with read_write(hydra):
                hydra.output_subdir = subdir
            state.cfg = before


def _job(folder: Path) -> DictConfig:
    """A job in `folder` as Hydra's global configuration holds it, as far as the host reads it."""
    job = OmegaConf.create({"hydra": OmegaConf.structured(HydraConf)})
    job.hydra.run.dir = str(folder)
    job.hydra.runtime.cwd = os.getcwd()  # noqa: PTH109 - as Hydra has it
    return job
