"""Are paths that are good after k epochs good at the end? Pruning after a warm-up helps only if so (Section 3.3).

    python -m experiments.warmup_ranks keep log/RUN …             # beside the runs, until each has left weights.h5
    python -m experiments.warmup_ranks measure log/RUN … --out FOLDER [--paths 20]

A run of OFA trains as DetOFA's warm-up does, however long that is. `keep` links the weights of every epoch's end into
log/RUN/epochs/. `measure` draws the same paths of every bucket from the whole space, measures them with the weights
of every epoch (BN statistics of their own, as everywhere) and compares their order with that under the run's last
weights, on the same images: Kendall's tau inside buckets, tau over all, and how many of the weakest quarter of a
bucket are among the weakest quarter at the end. The losses are in losses.csv, which the same command goes on with;
figures in ranks.md.
"""

import argparse
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.paper.estimates import estimate, shown, table
from experiments.rebuilt_run import RebuiltRun
from nnabla_detofa.path_filter import evaluate, kendall_tau
from nnabla_detofa.storage import NumberTable
from nnabla_detofa.storage.files import write_text
from nnabla_detofa.supernet import load_weights

EPOCHS = "epochs"  # a folder in the run's
COLUMNS = ("run", "epoch", "path", "loss", "cost", "bucket")
FIGURES = (
    "tau inside buckets",
    "tau over all",
    "of the weakest quarter, in that of the end",
    "tau of cost and quality",
)
IMAGES = {"bn": 256, "validation": 768}
BATCH, SEED = 128, 7
EVERY = 5  # seconds between two looks


def keep(runs: Sequence[Path]) -> None:
    """Link the weights of the checkpoints that come and go; ends when every run has its last ones."""
    while True:
        done = all((run / "weights.h5").is_file() for run in runs)
        for file in (file for run in runs for file in run.glob("checkpoint_*/[0-9]*/weights.h5")):
            run, step = file.parents[2], int(file.parent.name)
            link = run / EPOCHS / f"{step:09d}-{file.parents[1].name}.h5"
            link.parent.mkdir(exist_ok=True)
            with suppress(FileExistsError, FileNotFoundError):  # linked before, or already deleted for a later one
                os.link(file, link)
        if done:
            return
        time.sleep(EVERY)


class Run(RebuiltRun):
    """Its network, held-out images in the places of both sets, and paths of every bucket."""

    def __init__(self, folder: Path, root: Path, n: int):
        super().__init__(folder)
        settings = self.settings
        self.epochs = settings["epochs"][1] + settings["finetune"]
        self.steps = max(1, settings["dataloader"]["images"] // settings["batch_size_train"])  # as a run counts them
        train, test = (self.loader(BATCH, training=of, root=root) for of in (True, False))
        self.measures = self.measurer((train, range(IMAGES["bn"])), (test, range(IMAGES["validation"])))
        drawn = self.budgets.sample(self.network.space, self.cost, n, np.random.default_rng(SEED))
        self.paths = np.unique(np.concatenate(drawn), axis=0)
        self.costs = self.cost(self.paths)
        self.buckets = self.budgets.bucket(self.costs)

    def weights(self) -> dict[int, Path]:
        """The weights at the ends of the epochs that were kept, and of the last one; with weight averages where a stage
        ended, for another begins with these."""
        found: dict[int, Path] = {}
        for file in sorted((self.folder / EPOCHS).glob("*.h5")):  # of two stages, fine-tuning's comes first
            epoch, rest = divmod(int(file.stem.split("-")[0]), self.steps)
            if epoch and not rest:
                found.setdefault(epoch, file)
        return {**found, self.epochs: self.folder / "weights.h5"}


def measure(run: Run, losses: NumberTable, number: int) -> None:
    """Losses of the paths after every epoch, as far as `losses` lacks them."""
    known = {(int(row[0]), int(row[1]), int(row[2])) for row in losses.read()}
    for epoch, file in tqdm(sorted(run.weights().items()), desc=str(run.folder), unit="epoch"):
        open_ = [path for path in range(len(run.paths)) if (number, epoch, path) not in known]
        if open_:
            load_weights(run.network, file)
        for path in open_:
            loss = run.measures.loss(run.paths[path])
            losses.append([(number, epoch, path, loss, run.costs[path], run.buckets[path])])


def compared(rows: np.ndarray) -> dict[int, list[list[float]]]:
    """{epoch: for each run the FIGURES}, of the rows of a table whose runs all have their last epoch."""
    found: dict[int, list[list[float]]] = {}
    for number in np.unique(rows[:, 0]):
        own = rows[rows[:, 0] == number]
        own = own[np.lexsort((own[:, 2], own[:, 1]))]
        epochs, buckets = np.unique(own[:, 1]).astype(int), own[own[:, 1] == own[:, 1].max(), 5].astype(int)
        losses = {int(epoch): own[own[:, 1] == epoch, 3] for epoch in epochs}
        last = losses[int(epochs[-1])]
        for epoch, one in losses.items():
            judged = evaluate(-one, last, buckets)
            found.setdefault(epoch, []).append(
                [judged["kendall_tau"], kendall_tau(one, last), judged["precision"], _by_cost(own, epoch)]
            )
    return found


def _by_cost(rows: np.ndarray, epoch: int) -> float:
    """Kendall's tau of cost and the negative loss: above 0 where larger paths are better."""
    own = rows[rows[:, 1] == epoch]
    return kendall_tau(own[:, 4], -own[:, 3])


def page(rows: np.ndarray) -> list[str]:
    """Lines of a Markdown table: means over the runs, with Student's 95 % intervals where there are several."""
    cells = [["epochs", "runs", *FIGURES]]
    for epoch, each in sorted(compared(rows).items()):
        cells.append([str(epoch), str(len(each)), *(shown(*one) for one in zip(*estimate(each), strict=True))])
    return table(cells)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["keep", "measure"])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="the folder of a run of OFA")
    parser.add_argument("--out", type=Path, help="the folder of losses.csv and ranks.md")
    parser.add_argument("--paths", type=int, default=20, help="drawn in every bucket")
    parser.add_argument("--root", type=Path, default=Path("data/letters"), help="where the runs' data set lies")
    given = parser.parse_args(arguments)
    if given.what == "keep":
        return keep(given.runs)
    if given.out is None:
        parser.error("measure needs --out FOLDER")
    given.out.mkdir(parents=True, exist_ok=True)
    losses = NumberTable(given.out / "losses.csv", COLUMNS)
    if not len(losses.read()):
        losses.start([])
    for number, folder in enumerate(given.runs):
        measure(Run(folder, given.root, given.paths), losses, number)
    lines = page(losses.read())
    write_text(given.out / "ranks.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    return None


if __name__ == "__main__":
    main()
