"""Do the loader's threads scale: where the time of an image goes with one worker and with two.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m experiments.loader_threads [--seconds 30]

512 px, full augmentation, CenterNet's targets, batches of 8 that are taken as soon as they are there. Linux counts how
long each thread ran and how long it queued for a core that others had. What is left of a worker's time it was blocked:
by the interpreter's lock, or by files. Queueing is the machine's load and not the loader's, so images/s are told as
they were and without it. One worker and two take turns; medians of all turns.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from experiments.benchmarks.workloads.images import BATCH, dataset
from nnabla_detofa.data import DetectionDataset, DetectionLoader, LoaderOptions

BATCHES = 16  # a turn
COLUMNS = ("images/s", "without queueing", "running, ms an image", "queueing", "blocked")


def turn(loader: DetectionLoader, workers: int) -> list[float]:
    """Make some batches; the figures of `COLUMNS`."""
    loader.next()  # the workers are there and busy
    start, before = time.perf_counter(), scheduled()
    for _ in range(BATCHES):
        loader.next()
    wall, (running, queueing) = time.perf_counter() - start, scheduled() - before
    loader.seek(**loader.state())  # nothing is made ahead during the other's turn
    images = BATCHES * BATCH
    blocked = workers * wall - running - queueing
    rates = images / wall, images / (wall - queueing / workers)
    return [*rates, *(1e3 * seconds / images for seconds in (running, queueing, blocked))]


def scheduled() -> np.ndarray:
    """Seconds that the threads besides the main one have run together, and queued for a core, (2,)."""
    files = Path("/proc/self/task").glob("*/schedstat")
    counts = [file.read_text().split()[:2] for file in files if file.parent.name != str(os.getpid())]
    return np.array(counts, float).sum(axis=0) / 1e9


def compare(data: DetectionDataset, seconds: float) -> dict[int, np.ndarray]:
    """Figures by number of workers, (turns, 5)."""
    options = {workers: LoaderOptions(held_out=0, workers=workers) for workers in (1, 2)}
    loaders = {
        workers: DetectionLoader(data, searching=True, training=True, batch_size=BATCH, options=each)
        for workers, each in options.items()
    }
    found: dict[int, list] = {workers: [] for workers in loaders}
    end = time.monotonic() + seconds
    while time.monotonic() < end or not found[2]:
        for workers, loader in loaders.items():
            found[workers].append(turn(loader, workers))
    for loader in loaders.values():
        loader.close()
    return {workers: np.array(turns) for workers, turns in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = compare(dataset(Path(folder), 64), options.seconds)
    medians = {workers: np.median(turns, axis=0) for workers, turns in found.items()}
    print(f"| workers | {' | '.join(COLUMNS)} |\n|---:{'|---:' * len(COLUMNS)}|")
    for workers, figures in medians.items():
        print(f"| {workers} | {' | '.join(f'{figure:.3g}' for figure in figures)} |")
    whole, corrected = (medians[2] / medians[1])[:2]
    print(f"\n{len(found[1])} turns each; two workers for one: {whole:.2f}, {corrected:.2f} without queueing")


if __name__ == "__main__":
    main()
