"""AP on backgrounds of training and on those of the test split, of the same detectors (generated pictures).

    OMP_NUM_THREADS=1 python -m experiments.backgrounds log/RUN … --out FOLDER [--pictures 1500]

The test split of generated pictures lies on parts of the photographs that no training picture shows. How much of the
gap between a run's held-out AP and its test AP is that? As many new pictures are drawn on the parts of either split,
with a seed of their own, and the run's exported detectors are judged on them. The table goes to FOLDER/backgrounds.md.
"""

import argparse
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from experiments.paper.estimates import estimate, shown, table
from experiments.rebuilt_run import RebuiltRun
from nnabla_detofa.deploy import Detector
from nnabla_detofa.deploy.evaluation import evaluated
from nnabla_detofa.ranking import FOLDER, ranked
from nnabla_detofa.search_stages import EVALUATED
from nnabla_detofa.search_stages import evaluated as detectors_of
from nnabla_detofa.storage.files import read_json, write_text

SEED = 7  # of the pictures; runs of the miniature have 0


class Judged(NamedTuple):
    """One detector of a run; AP in 0..1. `held_out`: None where nothing was searched."""

    run: str
    detector: str
    trained: dict[str, Any]  # on new pictures over the parts of training, as `evaluated` says it
    unseen: dict[str, Any]  # over those of the test split
    held_out: float | None
    test: float

    @property
    def lost(self) -> float:
        """By the test split's parts."""
        return self.trained["ap"] - self.unseen["ap"]


def judged(folder: Path, pictures: Path, n: int) -> Iterator[Judged]:
    """The detectors of a finished run on `n` new pictures of both kinds, which are kept in the folder `pictures`."""
    run = RebuiltRun(folder)
    metric = run.stages["evaluate"]["inputs"]["metric"]
    drawn = {"n_train": n, "n_test": n, "seed": SEED}
    new = partial(run.loader, 1, generated=drawn, held_out=0, root=pictures)
    loaders = [new(training=training) for training in (True, False)]
    for one in ranked(detectors_of(read_json(folder / EVALUATED))):
        detector = Detector.load(folder / FOLDER / one.folder)
        bar = partial(tqdm, desc=f"{folder.name}: {one.folder}", unit="picture")
        trained, unseen = (evaluated(detector, loader, metric, progress=bar) for loader in loaders)
        yield Judged(folder.name, one.folder, trained, unseen, one.detector.held_out_ap, one.detector.ap)


def page(rows: Sequence[Judged]) -> list[str]:
    """Lines of a Markdown table, a detector each, and what the test split's parts cost on average, by runs."""
    cells = [["run", "detector", "new, training's parts", "new, test split's parts", "held out", "test split"]]
    for one in rows:
        new = (_percent(found["ap"], *found["ap_interval"]) for found in (one.trained, one.unseen))
        held_out = np.nan if one.held_out is None else one.held_out
        cells.append([one.run, one.detector, *new, _percent(held_out), _percent(one.test)])
    by_run = [np.mean([one.lost for one in rows if one.run == run]) for run in dict.fromkeys(one.run for one in rows)]
    told, runs = _percent(*map(float, estimate(by_run))), f"{len(by_run)} run{'s' * (len(by_run) > 1)}"
    return [
        *table(cells),
        "",
        f"AP (%), in brackets 95 % by the bootstrap; lost by the test split's parts: {told}, {runs}.",
    ]


def _percent(*shares: float) -> str:
    return shown(*(100 * one for one in shares), digits=1)


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of finished runs on generated pictures")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures and the table")
    parser.add_argument("--pictures", type=int, default=1500, help="of each kind")
    options = parser.parse_args(given)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Judged] = []
    for run in options.runs:
        rows += judged(run, options.out / "pictures", options.pictures)
        write_text(options.out / "backgrounds.md", "\n".join(page(rows)) + "\n")
    print("\n".join(page(rows)))


if __name__ == "__main__":
    main()
