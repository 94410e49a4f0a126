"""Pruning stages: operations leave the search space, and paths the training stream (Section 3.2; lines 5 and 6)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .filter_stages import PathScore
from .pruning import (
    AcceptedPaths,
    PathThresholds,
    PruningResult,
    path_thresholds,
    prune_operations,
    pruning_score,
)
from .space import PROPOSALS, Score, SearchSpace
from .storage.files import write_text
from .storage.tables import as_csv, read_column
from .training import FINETUNE, PathSampler, Run

TABLE, SPACE, NEAR = "operations.csv", "pruned_space.json", "near_threshold"
SHOWN = 3  # operations that a line names


class Pruned(NamedTuple):
    """𝒜̃, and its near-ties as rows of TABLE; None where one filter alone scored, which tells of none."""

    space: SearchSpace
    near: list[dict[str, Any]] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it: the space's own description, and the near-ties beside it."""
        return self.space.to_dict() | ({} if self.near is None else {NEAR: self.near})


def prune(run: Run, space: SearchSpace, score: PathScore) -> SearchSpace:
    """𝒜̃: the space without the operations that the strategy drops."""
    options = run.options.pruning.operations

    def work(**changed: int) -> PruningResult:
        flops = None if run.cost is run.flops else run.flops
        rng = run.rng("operations" if not changed else "rehearsal")
        own = {"flops": flops, "each": score.each, "rng": rng}
        return prune_operations(space, score, run.cost, run.budgets, **own, **{**options, **changed})

    def left() -> Pruned:
        result = work()
        rows = result.rows()
        if run.folder.writes:
            write_text(run.folder / TABLE, as_csv(rows, rows[0]))
        return Pruned(result.space, None if result.votes is None else [row for row in rows if row[NEAR]])

    def rehearsed() -> Pruned:
        work(paths_per_operation=1)  # by random scores, which says what is wrong with its options
        return Pruned(space)

    kept = run.folder.json(
        SPACE,
        Pruned.to_dict,
        lambda given: Pruned(SearchSpace.from_dict(given, within=space), given.get(NEAR)),
        TABLE,
    )
    pruned, near = run.stages.run("operations", options, kept, left, rehearsed=rehearsed)
    if pruned is not space:
        guarded = sum(why.startswith("kept") for why in read_column(run.folder / TABLE, "reason"))
        operations = f"{pruned.n_operations} of {space.n_operations} kept, {guarded} of them by guards"
        run.say(f"operations: {operations}; {pruned.size():,} of {space.size():,} paths")
    if near:
        names = space.family.operation_columns
        run.say(f"operations: {len(near)} of {space.n_operations} are near the threshold: {near_ties(near, names)}")
    return pruned


def near_ties(near: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """The first of the operations on which filters do not agree, by these `names` of what they are."""
    each = [
        f"{' '.join(f'{name} {row[name]}' for name in ('stage', 'layer', *names) if row[name] != '')}"
        f" ({'kept' if row['kept'] else 'pruned'}, {row[NEAR]})"
        for row in near[:SHOWN]
    ]
    return ", ".join(each) + (f" and {len(near) - SHOWN} more" if len(near) > SHOWN else "")


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
