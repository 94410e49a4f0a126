"""Algorithm 1 of the paper, what it is compared with, and the search behind both (Sections 3.3 and 4.2)."""

from typing import Any

from .deploy.export import export
from .filter_stages import assess_path_filter, fit_path_filter, measure_paths
from .finetuning import assess_before
from .pruning_stages import accepted_paths, prune
from .report.page import write_page
from .report.summary import report
from .search_stages import Detector, evaluate, only_detector, require_affordable, search
from .shrinking import shrink
from .space import SearchSpace
from .training import FINETUNE, WARMUP, WEIGHTS, Run, drawn_paths, run_identity, train

IDENTITY = ("seed", "batch_size_train", "mini_batch_train", "loss_weights", "schedule", "finetune")


def train_and_search(run: Run) -> dict[str, Any]:
    """A supernet trained as the method says, and the best detector under each budget; returns the run's summary."""
    if run.model.only is not None:
        return fine_tune(run)
    space = train_pruned(run) if run.options.pruning.prunes else train_whole(run)
    if run.options.trains_one:
        return deliver(run, space, None, evaluate(run, space, [only_detector(run)], largest=run.space.largest()))
    measured = measure_paths(run, "paths_final", space)
    score = fit_path_filter(run, "path_filter_final", measured)
    quality = assess_path_filter(run, "paths_final", measured)
    found = search(run, space, score)  # Equation 2
    return deliver(run, space, quality, evaluate(run, space, found, largest=run.flops.argmax(space)))


def fine_tune(run: Run) -> dict[str, Any]:
    """The one path that the network holds, trained on from the weights that it was given; returns the run's summary."""
    inputs = run_identity(run, *IDENTITY)
    before = assess_before(run, inputs)
    train(run, FINETUNE, drawn_paths(run, FINETUNE, run.space), inputs, first=0, last=run.epochs, leaves=WEIGHTS)
    found = evaluate(run, run.space, [only_detector(run)], largest=run.model.only, before=before)
    return deliver(run, run.space, None, found)


def deliver(run: Run, space: SearchSpace, quality: dict[str, Any] | None, detectors: list[Detector]) -> dict[str, Any]:
    """The run's report, a folder of each detector, and the page of all that it left; returns the summary."""
    summary = report(run, space, quality, detectors)
    export(run, detectors)
    write_page(run, summary)
    return summary


def train_pruned(run: Run) -> SearchSpace:
    """Algorithm 1; the numbers are its lines. Returns 𝒜̃."""
    space, first, last = run.space, run.options.warmup, run.epochs  # 1
    inputs = run_identity(run, *IDENTITY)
    train(run, WARMUP, drawn_paths(run, WARMUP, space), inputs, first=0, last=first)  # 2
    measured = measure_paths(run, "paths_warmup", space)  # 3
    score = fit_path_filter(run, "path_filter_warmup", measured)  # 4
    pruned = prune(run, space, score)  # 5
    require_affordable(run, pruned)
    accepted = accepted_paths(run, pruned, score)  # 6, and the loop of 11–13
    inputs = {"path_ratio": run.options.pruning.path_ratio}
    train(run, FINETUNE, accepted, inputs, first=first, last=last, leaves=WEIGHTS)  # 7–16
    return pruned


def train_whole(run: Run) -> SearchSpace:
    """The methods that prune nothing (Section 4.2); without phases the warm-up is DetOFA's, to the last bit."""
    inputs, first, last = run_identity(run, *IDENTITY), run.options.warmup, run.epochs
    if run.options.phases is not None:
        shrink(run, inputs)
        return run.space
    train(run, WARMUP, drawn_paths(run, WARMUP, run.space), inputs, first=0, last=first)
    train(run, FINETUNE, drawn_paths(run, FINETUNE, run.space), {}, first=first, last=last, leaves=WEIGHTS)
    return run.space
