"""DetOFA for NNablaNAS: one training run, a Pareto front of CenterNet detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from .deploy import Detector as Detector

__version__ = "0.1.0"


def register() -> None:
    """Make our network, runner and data sets known to nnabla_nas; idempotent.

    Raises HostError where one of the names belongs to someone else. nnabla is imported here, and not before.
    """
    from .launch.plugin import register as register_all

    register_all()


def run(config: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A run as the command does it, from a notebook or a script; returns the content of its `summary.json`.

    Args:
        config: a configuration's file, the name of a shipped one, or a mapping: one that was composed, or what such a
            file would hold.
        overrides: as on the command line, without a shell's quotes: "pruning.path_ratio=0.4".

    Results go to log/NAME below the current folder, and the same call goes on from there. No Hydra job has to be live;
    working folder, arguments, signal handlers and Hydra's state are as before afterwards. In the main thread Ctrl-C (a
    notebook's "interrupt") finishes the step, saves and raises KeyboardInterrupt. Raises the exceptions of `errors`.
    """
    from .launch.notebook import run as run_once

    return run_once(config, overrides)


def __getattr__(name: str) -> Any:
    """`Detector`, imported late: it needs OpenCV, which registering does not."""
    if name == "Detector":
        from .deploy import Detector

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
