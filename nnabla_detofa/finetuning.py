"""Fine-tuning of one detector: its worth before (an addition; the paper evaluates without it, Section 4.1).

Training normalises by each batch's own statistics, as that of a supernet does, and those of the detector are estimated
anew behind it: so weights and statistics fit, whatever the size of a batch, and figures compare with those of the run.
"""

from typing import Any

import numpy as np

from .deploy.maps import DESCRIPTION
from .storage import Kept, Work
from .storage.files import write_array
from .training import Assessed, Run, assessed, figure_inputs

BEFORE, FILE = "before", "before.npy"


def assess_before(run: Run, inputs: dict[str, Any]) -> Assessed | None:
    """The figures of the detector that the run begins with, as a stage; None where a part of it begins anew, and so
    there is nothing to be judged.

    An exported detector is judged with its own BN statistics, a path of a supernet with estimated ones. The network is
    afterwards as it was.
    """
    transfer, images = run.model.transfer, len(run.data["test"].dataset)
    if transfer is None or transfer.new:
        return None

    def as_exported(path: np.ndarray) -> None:
        run.model.activate(path)
        run.model.apply(training=False)

    def work() -> Assessed:
        statistics = {name: one for name, one in run.model.get_parameters().items() if not one.need_grad}
        values = {name: one.d.copy() for name, one in statistics.items()}
        exported = transfer.file.with_name(DESCRIPTION).is_file()
        found = assessed(run, BEFORE, run.model.only[None], prepare=as_exported if exported else None)
        for name, one in statistics.items():
            one.d = values[name]
        return found

    return run.stages.run(
        BEFORE,
        {**inputs, **figure_inputs(run, "test")},
        Kept([FILE], lambda: _read(run), lambda found: _write(run, found)),
        work,
        rehearsed=lambda: Assessed(*np.full((3, 1, 1), np.nan)),
        takes=Work(f"1 path, {images:,} images", images=images, paths=1),
    )


def _write(run: Run, found: Assessed) -> None:
    """One row: the figure, those of classes, and those on resampled images."""
    if run.folder.writes:
        write_array(run.folder / FILE, np.hstack([found.figure[:, None], found.per_class, found.resampled]))


def _read(run: Run) -> Assessed:
    figure, *rest = np.split(np.load(run.folder / FILE), [1, 1 + run.data["test"].n_classes], axis=1)
    return Assessed(figure[:, 0], *rest)
