"""Pruning stages: operations leave the search space, and paths the training stream (Section 3.2; lines 5 and 6)."""

import numpy as np

from .filter_stages import Score
from .pruning import (
    AcceptedPaths,
    PathThresholds,
    PruningResult,
    path_thresholds,
    prune_operations,
    pruning_score,
)
from .space import PROPOSALS, SearchSpace
from .storage.files import write_text
from .storage.tables import read_column
from .training import FINETUNE, PathSampler, Run

TABLE, SPACE = "operations.csv", "pruned_space.json"


def prune(run: Run, space: SearchSpace, score: Score) -> SearchSpace:
    """𝒜̃: the space without the operations that the strategy drops."""
    options = run.options.pruning.operations

    def work(**changed: int) -> PruningResult:
        flops = None if run.cost is run.flops else run.flops
        rng = run.rng("operations" if not changed else "rehearsal")
        return prune_operations(space, score, run.cost, run.budgets, flops=flops, rng=rng, **{**options, **changed})

    def left() -> SearchSpace:
        result = work()
        if run.folder.writes:
            write_text(run.folder / TABLE, result.to_csv())
        return result.space

    def rehearsed() -> SearchSpace:
        work(paths_per_operation=1)  # by random scores, which says what is wrong with its options
        return space

    kept = run.folder.json(SPACE, SearchSpace.to_dict, lambda given: SearchSpace.from_dict(given, within=space), TABLE)
    pruned = run.stages.run("operations", options, kept, left, rehearsed=rehearsed)
    if pruned is not space:
        guarded = sum(why.startswith("kept") for why in read_column(run.folder / TABLE, "reason"))
        operations = f"{pruned.n_operations} of {space.n_operations} kept, {guarded} of them by guards"
        run.say(f"operations: {operations}; {pruned.size():,} of {space.size():,} paths")
    return pruned


def accepted_paths(run: Run, space: SearchSpace, score: Score) -> PathSampler:
    """Drawn paths of 𝒜̃ that reach their bucket's threshold δ."""
    options = run.options.pruning
    score = pruning_score(options.path_strategy, score, space, run.rng("path_strategy"))

    def work() -> PathThresholds:
        n, rng = options.paths_per_threshold, run.rng("thresholds")
        return path_thresholds(space, score, run.cost, run.budgets, paths_per_bucket=n, rng=rng)

    kept = run.folder.json(
        "thresholds.json",
        lambda found: [scores.tolist() for scores in found.scores],
        lambda given: PathThresholds(tuple(np.array(scores) for scores in given)),
    )
    inputs = {"path_strategy": options.path_strategy, "paths_per_threshold": options.paths_per_threshold}
    none = PathThresholds((np.empty(0),) * len(run.budgets))
    found = run.stages.run("thresholds", inputs, kept, work, rehearsed=lambda: none)
    draw = PROPOSALS[run.options.sampler.name](space, run.cost, run.budgets)
    thresholds = found.at(options.path_ratio)
    return AcceptedPaths(space, score, run.cost, run.budgets, thresholds=thresholds, draw=draw, rng=run.rng(FINETUNE))


def rejected_shares(run: Run, state: dict | None) -> dict:
    """Of fine-tuning, by its sampler's last state: the share of its time that drawing and scoring paths took, and of
    the drawn paths that their thresholds rejected, of all and in each bucket; None where none was drawn."""
    if state is None:
        return {"path_pruning_share": 0.0, "rejected_share": None, "rejected_share_per_bucket": None}
    rejected = [[sum(state["rejected"]), *state["rejected"]], [sum(state["drawn"]), *state["drawn"]]]
    in_all, *per_bucket = [lost / drawn if drawn else None for lost, drawn in zip(*rejected, strict=True)]
    share = state["seconds"] / max(run.folder.seconds[FINETUNE], 1e-9)
    return {"path_pruning_share": share, "rejected_share": in_all, "rejected_share_per_bucket": per_bucket}
