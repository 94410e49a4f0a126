"""The summary of a run, in its contract's form (Section 4.2)."""

from collections.abc import Iterator
from typing import Any

from ..options import IMAGE_SIZE
from ..pruning_stages import rejected_shares
from ..ranking import folders
from ..search_stages import Detector
from ..space import SearchSpace
from ..training import FINETUNE, Run, cost_summary, sampler_state
from .lines import gain_lines, pareto_lines, pruning_line, quality_lines
from .pareto import write_pareto


def report(run: Run, space: SearchSpace, quality: dict[str, Any] | None, detectors: list[Detector]) -> dict[str, Any]:
    """`summary.json`, `pareto.csv` and `pareto.png`; the last of the detectors is the largest path."""

    def work() -> dict[str, Any]:
        if run.folder.writes:
            write_pareto(run.folder, run.space, detectors, run.cost, run.options.metric)
        return summary(run, space, quality, detectors)

    kept = run.folder.json("summary.json", lambda found: found, lambda given: given, "pareto.csv", "pareto.png")
    return run.stages.run("report", {"filter_quality": quality}, kept, work, rehearsed=dict)


def summary(run: Run, space: SearchSpace, quality: dict[str, Any] | None, detectors: list[Detector]) -> dict[str, Any]:
    """Content of `summary.json`."""
    options = run.options
    *pareto, largest = [
        {**one.to_dict(), "file": file} for one, file in zip(detectors, folders(detectors), strict=True)
    ]
    *parts, largest_parts = [_parts(run, one) for one in detectors]
    state = sampler_state(run.folder, FINETUNE) if options.pruning.prunes else None
    return {
        "seed": options.seed,
        **data_set(run),
        "strategy": options.pruning.strategy,
        "sampler": options.sampler.name,
        "space_size": run.space.size(),
        "pruned_space_size": space.size(),
        "seconds": run.folder.seconds,
        **rejected_shares(run, state),
        "filter": quality and quality["filter"],
        "filter_quality": quality,
        "metric": options.metric,
        "classes": list(run.data["test"].classes),
        "cost": cost_summary(run.cost, run.folder),
        "pareto": pareto,
        "largest": largest,
        "parts": {"pareto": parts, "largest": largest_parts},
    }


def data_set(run: Run) -> dict[str, Any]:
    """The data sets of training and test."""
    test = run.data["test"]
    shown = {"dataset": test.dataset.name, "images": len(test.dataset), "image_size": IMAGE_SIZE.plain(run.image_size)}
    return {"dataset": run.data["train"].dataset.name, "test": shown}


def _parts(run: Run, one: Detector) -> dict[str, int]:
    """Cost of the backbone, and of neck and heads."""
    backbone, tail = run.cost.parts(one.genes[None])
    return {"backbone": int(backbone[0]), "neck_and_heads": int(tail[0])}


def summary_lines(found: dict[str, Any]) -> Iterator[str]:
    """The tables for the user."""
    if found["filter_quality"] is not None:
        yield from quality_lines(found["filter_quality"])
    if found["rejected_share_per_bucket"] is not None:
        yield pruning_line(found)
    yield from pareto_lines(found)
    yield from gain_lines(found)
