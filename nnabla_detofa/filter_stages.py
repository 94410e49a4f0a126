"""Filter stages: paths are measured and a path filter learns to order them (Section 3.1; lines 3 and 4)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .path_filter import AUTO, PathFilter, cross_validate, fit
from .space import SearchSpace
from .storage import Kept, MeasuredPaths
from .storage.files import checksum
from .training import Run, measured

TABLE_2 = {"network": ("budget_condition", "block_encoding"), "fit": ("bounded",)}  # what its ablation switches off
# whether a filter that starts from none has main effects, and why, where the configuration says "auto"
FEW_PATHS = (True, "no filter is given that was fitted to thousands of paths, and few are measured here")
MANY_PATHS = (False, "pre-training measures the paths that the paper's filter needs")
Score = Callable[[np.ndarray], np.ndarray]  # paths (n, genes) -> (n,), higher is better inside a bucket
MainEffects = tuple[bool | Literal["auto"], str]


def measure_paths(run: Run, name: str, space: SearchSpace) -> MeasuredPaths:
    """m paths drawn uniformly from every bucket of the space, with their validation losses, in `name`.csv."""
    m, reachable = run.options.path_filter.paths_per_bucket, run.budgets.reachable(space, run.cost)

    def paths() -> np.ndarray:
        drawn = run.budgets.sample(space, run.cost, m, run.rng(name), reachable)
        return np.unique(np.concatenate(drawn), axis=0)

    inputs = {"paths_per_bucket": m, "cost": run.cost_inputs}
    return measured(run, name, paths, inputs, n_paths=m * len(reachable))


def fit_path_filter(run: Run, name: str, paths: MeasuredPaths, *, auto: tuple[bool, str] = FEW_PATHS) -> Score:
    """The score of a path filter fitted to measured paths, which is left in `name`.h5."""
    file, pretrained, options = (
        run.folder / f"{name}.h5",
        run.options.path_filter.pretrained,
        run.options.path_filter.fit,
    )
    path_filter, (_, why) = new_path_filter(run, auto), main_effects(run, auto)
    network = {**dict(run.options.path_filter.network), "main_effects": path_filter.design.main_effects}

    def work() -> PathFilter | None:
        if pretrained is not None:
            run.say(f"{name}: starting from {pretrained}")
        if why:
            run.say(f"{name}: main_effects auto is {'on' if network['main_effects'] else 'off'}: {why}")
        with run.session.bar(name, total=options.epochs) as step:
            own: dict[str, Any] = {**dict(options), "progress": step}
            own["agree"] = run.processes.of_first  # or processes wait for each other
            fit(path_filter, *filter_inputs(run, paths), rng=run.rng(name), **own)
        if run.folder.writes:
            path_filter.save(file, space=scored_space(run))
        return path_filter

    inputs = {"network": network, "fit": dict(options), "pretrained": pretrained and checksum(Path(pretrained))}
    kept: Kept[PathFilter | None] = Kept(
        [file.name], lambda: PathFilter.load(file, layout=run.space.token_layout(), space=scored_space(run))
    )
    fitted = run.stages.run(name, inputs, kept, work, rehearsed=lambda: None)
    if fitted is None:
        rng = run.rng("rehearsal")
        return lambda paths: rng.random(len(paths))

    def score(paths: np.ndarray) -> np.ndarray:
        return fitted.score(run.space.tokenize(paths), run.budgets.bucket(run.cost(paths)), dtype=np.float64)

    return score


def new_path_filter(run: Run, auto: tuple[bool, str] = FEW_PATHS) -> PathFilter:
    """A path filter with fresh weights, or with those in the file that `path_filter.pretrained` names."""
    options, rng = run.options.path_filter, run.rng("path_filter")
    network = {**dict(options.network), "main_effects": main_effects(run, auto)[0]}
    path_filter = PathFilter(run.space.token_layout(), options.n_buckets, rng=rng, **network)
    if options.pretrained is not None:
        path_filter.start_from(options.pretrained, space=scored_space(run))
    return path_filter


def main_effects(run: Run, auto: tuple[bool, str]) -> MainEffects:
    """`path_filter.network.main_effects`; where it is "auto" what that means here, and why.

    A filter that is given keeps its own setting, and the ablation of Table 2 is of the paper's filter.
    """
    options = run.options.path_filter
    if options.network.main_effects != AUTO:
        return options.network.main_effects, ""
    if options.pretrained is not None:
        return AUTO, f"as {options.pretrained} has it"
    for part, switches in TABLE_2.items():
        for switch in switches:
            if getattr(getattr(options, part), switch) is False:
                return False, f"{part}.{switch} is false, an ablation of the paper's filter"
    return auto


def scored_space(run: Run) -> dict[str, Any]:
    """Description of what scores are of: the choices that paths are made of, and the cost that divides the buckets."""
    return {**run.space.family.to_dict(), "cost": run.options.cost.name}


def filter_inputs(run: Run, paths: MeasuredPaths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (n, positions), buckets (n,) and losses (n,) of measured paths."""
    return run.space.tokenize(paths.paths), paths.bucket, paths.loss


def assess_path_filter(
    run: Run, name: str, paths: MeasuredPaths, *, auto: tuple[bool, str] = FEW_PATHS
) -> dict[str, Any]:
    """Quality of filters fitted to the paths in `name`.csv on those they have not seen, beside simpler rankers."""
    options, after = run.options.path_filter, [name]
    again: MeasuredPaths | None = None
    if options.second_measurement:  # on other images: an order that these do not confirm is theirs alone
        n_paths = options.paths_per_bucket * len(run.budgets.reachable(run.space, run.cost))
        after.append(f"{name}_again")
        again = measured(run, after[-1], lambda: paths.paths, {"part": 1}, n_paths=n_paths, part=1, after=[name])

    def work() -> dict[str, Any]:
        epochs = options.fit.epochs
        with run.session.bar("filter_quality", total=epochs and options.folds * epochs) as step:
            return cross_validate(
                lambda: new_path_filter(run, auto),
                *filter_inputs(run, paths),
                costs=paths.flops,
                again=None if again is None else again.loss,
                folds=options.folds,
                rng=run.rng("filter_quality"),
                progress=step,
                agree=run.processes.of_first,
                **dict(options.fit),
            )

    network = {**dict(options.network), "main_effects": new_path_filter(run, auto).design.main_effects}
    inputs = {"folds": options.folds, "network": network, "fit": dict(options.fit)}
    inputs["pretrained"] = options.pretrained and checksum(Path(options.pretrained))
    kept: Kept[dict[str, Any]] = run.folder.json("filter_quality.json")
    return run.stages.run("filter_quality", inputs, kept, work, rehearsed=dict, after=after)
