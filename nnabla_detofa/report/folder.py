"""README.txt of a run's folder: a line for each thing in it (an addition; not in the paper)."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from ..storage import Stages
from ..storage.files import write_text
from .links import PAGE

README = "README.txt"
KNOWN = {
    PAGE: "the run on one page, for a browser; needs no network",
    "summary.json": "the run's results and settings that decide them, for programs",
    "pareto.csv": "the found detectors, one row a budget",
    "pareto.png": "AP over cost",
    "detectors": "a folder for each found detector, with its files to be used elsewhere",
    "detectors.json": "the found detectors and the largest path, as they were evaluated",
    "resampled.npy": "AP of each detector on resampled test images, from which intervals come",
    "before.npy": "AP of the detector before fine-tuning, of its classes and on resampled test images",
    "statistics.h5": "BN statistics of each evaluated detector",
    "weights.h5": "the trained supernet, or the one path",
    "teacher.h5": "the trained largest network, which teaches others",
    "paths_warmup.csv": "paths measured after warm-up: bucket, FLOPs, validation loss, genes",
    "paths_final.csv": "paths measured on the trained supernet",
    "paths_final_again.csv": "the same paths measured on other images",
    "paths.csv": "measured paths: bucket, FLOPs, validation loss, genes",
    "paths_again.csv": "the same paths measured on other images",
    "winners.csv": "the best path of each bucket by score, and its figure on held-out images",
    "path_filter*.h5": "a fitted path filter",
    "filter_quality.json": "how well path filter, FLOPs and ridge regression rank paths that they have not seen",
    "operations.csv": "all operations with cost and score: which were pruned, and why",
    "pruned_space.json": "the search space without the pruned operations",
    "thresholds.json": "scores from which the thresholds of path pruning are read",
    "search.json": "what the search chose for each budget, before it was evaluated",
    "top1*.json": "top-1 accuracy of some paths",
    "latency*": "measured latencies of layers, or how well they predict those of networks",
    "data.json": "what the examination of the data set found",
    "stages.json": "digest, inputs, checksums and seconds of each stage; decides what is done again",
    "checkpoint_*": "where a training stage goes on from",
    "debug_step_*": "a step that diverged; python -m nnabla_detofa.training.replay shows it again",
    "previous": "results that a changed setting replaced",
    "tensorboard": "training curves, for tensorboard --logdir",
    "log*.txt": "what a session said",
    "*.log": "what a session logged",
}


def explain(folder: Stages) -> Iterator[str]:
    """Write README.txt, of what is there; the line that says where the page is, if there is one."""
    if folder.writes:
        write_text(
            folder / README, "".join(f"{line}\n" for line in readme_lines(one.name for one in folder.path.iterdir()))
        )
    if (folder / PAGE).is_file():
        yield f"report: {folder / PAGE}"


def readme_lines(names: Iterator[str]) -> Iterator[str]:
    """A line for each name that a run leaves, in the order of the table above; hidden ones are nobody's business."""
    there = {name for name in names if not name.startswith(".")} - {README}
    yield f"What this run of nnabla_detofa left; begin with {PAGE if PAGE in there else 'summary.json'}."
    yield ""
    for pattern, meaning in KNOWN.items():
        for name in sorted(name for name in there if fnmatchcase(name, pattern)):
            there.remove(name)
            yield f"{name:<24} {meaning}"
