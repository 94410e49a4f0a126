"""Filter stages: paths are measured and a path filter learns to order them (Section 3.1; lines 3 and 4)."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .path_filter import (
    AUTO,
    FLOPS,
    RIDGE,
    TOKENS,
    TRANSFORMER,
    AveragedFilter,
    PathFilter,
    cross_validate,
    gene_basis,
    place_in_bucket,
    require_main_effects,
    ridge_filter,
    score_of_paths,
    scored_space,
    start_from_costs,
)
from .space import Score, SearchSpace
from .storage import Kept, MeasuredPaths
from .storage.files import checksum
from .training import Run, measured

TABLE_2 = {"network": ("budget_condition", "block_encoding"), "fit": ("bounded",)}  # what its ablation switches off
# whether a filter that starts from none has main effects, and why, where the configuration says "auto"
FEW_PATHS = (True, "no filter is given that was fitted to thousands of paths, and few are measured here")
MANY_PATHS = (False, "pre-training measures the paths that the paper's filter needs")
PRICED = 1000  # random paths that say what their parts cost
SHOWN = 500  # of every bucket, that say which genes a token is of
MainEffects = tuple[bool | Literal["auto"], str]


@dataclass(frozen=True)
class PathScore:
    """The score of paths (n, genes) by the run's filters, (n,), higher is better inside a bucket.

    each: the score by each of several filters, whose mean it is; none where there is one.
    """

    mean: Score
    each: tuple[Score, ...] = ()

    def __call__(self, paths: np.ndarray) -> np.ndarray:
        return self.mean(paths)


def measure_paths(run: Run, name: str, space: SearchSpace) -> MeasuredPaths:
    """m paths drawn uniformly from every bucket of the space, or all where it has fewer, with their validation losses,
    in `name`.csv."""
    m, each = run.options.path_filter.paths_per_bucket, _measured_a_bucket(run, space)

    def paths() -> np.ndarray:
        reachable = [bucket for bucket, n in enumerate(each) if n]
        drawn = run.budgets.sample(space, run.cost, m, run.rng(name), reachable, distinct=True)
        return np.unique(np.concatenate(drawn), axis=0)

    inputs = {"paths_per_bucket": m, "cost": run.cost_inputs}
    return measured(run, name, paths, inputs, n_paths=sum(each))


def _measured_a_bucket(run: Run, space: SearchSpace) -> list[int]:
    """How many paths of the space are measured in each bucket."""
    return [min(run.options.path_filter.paths_per_bucket, n) for n in run.budgets.counts(space, run.cost)]


def fit_path_filter(run: Run, name: str, paths: MeasuredPaths, *, auto: tuple[bool, str] = FEW_PATHS) -> PathScore:
    """The score of path filters fitted to measured paths, which are left in `name`.h5, and NAME_2.h5 and so on; or of
    the ranker in their place, of which cost needs no fit and leaves no file."""
    options = run.options.path_filter
    if options.ranker == FLOPS:
        run.say(f"{name}: none is fitted; the dearer path of a bucket is held to be better (path_filter.ranker)")
        return PathScore(lambda paths: _cost_score(run, paths))
    space = scored_space(run.space, run.options.cost.name)
    names = [f"{name}.h5", *(f"{name}_{number + 1}.h5" for number in range(1, options.filters))]
    if options.ranker == RIDGE:
        inputs, fit = _added(run), partial(_ridge, run, paths)
    else:
        filters = new_path_filters(run, auto)
        inputs, fit = _filter_inputs(run, filters), partial(_fitted, run, name, paths, filters, auto)

    def work() -> AveragedFilter:
        fitted = fit()
        if run.folder.writes:
            for file, one in zip(names, fitted.filters, strict=True):
                one.save(run.folder / file, space=space)
        return fitted

    def load(file: str) -> PathFilter:
        return PathFilter.load(run.folder / file, layout=run.space.token_layout(), space=space)

    kept: Kept[AveragedFilter | None] = Kept(names, lambda: AveragedFilter([*map(load, names)]))
    fitted = run.stages.run(name, inputs, kept, work, rehearsed=lambda: None)
    if fitted is None:
        rng = run.rng("rehearsal")
        return PathScore(lambda paths: rng.random(len(paths)))
    judge = partial(score_of_paths, space=run.space, cost=run.cost, budgets=run.budgets)
    return PathScore(judge(fitted), tuple(map(judge, fitted.filters)) if options.filters > 1 else ())


def _fitted(
    run: Run, name: str, paths: MeasuredPaths, filters: AveragedFilter, auto: tuple[bool, str]
) -> AveragedFilter:
    """The new filters, fitted."""
    options, (_, why) = run.options.path_filter, main_effects(run, auto)
    if options.pretrained is not None:
        run.say(f"{name}: starting from {options.pretrained}")
    if why:
        run.say(f"{name}: main_effects auto is {'on' if filters.filters[0].design.main_effects else 'off'}: {why}")
    with run.session.bar(name, total=options.filters * options.fit.epochs) as step:
        own: dict[str, Any] = {**dict(options.fit), "progress": step}
        own["agree"] = run.processes.of_first  # or processes wait for each other
        filters.fit(*ranked(run, paths), rng=run.rng(name), basis=_basis(run), **own)
    return filters


def _ridge(run: Run, paths: MeasuredPaths) -> AveragedFilter:
    """Ridge regression in the filter's place, as a filter."""
    layout, n_buckets = run.space.token_layout(), run.options.path_filter.n_buckets
    return AveragedFilter([ridge_filter(layout, n_buckets, *ranked(run, paths), basis=_basis(run))])


def _basis(run: Run) -> np.ndarray | None:
    """In which main effects are sought; None where each token stands for itself.

    Paths of every bucket, which need no measuring, show which genes a token is of.
    """
    if run.options.path_filter.effects_of == TOKENS:
        return None
    paths = np.concatenate(run.budgets.sample(run.space, run.cost, SHOWN, run.rng("basis")))
    return gene_basis(run.space, paths)


def _cost_score(run: Run, paths: np.ndarray) -> np.ndarray:
    """Scores by cost alone, (n,)."""
    costs = run.cost(paths)
    return place_in_bucket(costs, run.budgets.edges, run.budgets.bucket(costs))


def new_path_filters(run: Run, auto: tuple[bool, str] = FEW_PATHS) -> AveragedFilter:
    """`path_filter.filters` of them with fresh weights, or with those in the file that `path_filter.pretrained` names;
    the first is the one that there would be alone."""
    options, rng = run.options.path_filter, run.rng("path_filter")
    network = {**dict(options.network), "main_effects": main_effects(run, auto)[0]}
    layout = run.space.token_layout()
    filters = [PathFilter(layout, options.n_buckets, rng=rng, **network) for _ in range(options.filters)]
    priced = _priced(run) if options.prior is not None else ()
    for one in filters:
        if options.pretrained is not None:
            one.start_from(options.pretrained, space=scored_space(run.space, run.options.cost.name))
        if priced:
            start_from_costs(one, *priced)
        if options.effects_of != TOKENS and options.ranker == TRANSFORMER:
            require_main_effects(one, "effects_of")
    return AveragedFilter(filters)


def _priced(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (n, positions), buckets (n,) and costs (n,) of random paths, which need no measuring."""
    paths = run.space.sample(PRICED, run.rng("prior"))
    costs = run.cost(paths)
    return run.space.tokenize(paths), run.budgets.bucket(costs), costs


def _filter_inputs(run: Run, filters: AveragedFilter) -> dict[str, Any]:
    """Those of a stage that fits filters, beside the paths."""
    options = run.options.path_filter
    network = {**dict(options.network), "main_effects": filters.filters[0].design.main_effects}
    pretrained = options.pretrained and checksum(Path(options.pretrained))
    return {"network": network, "fit": dict(options.fit), "pretrained": pretrained, **_added(run)}


def _added(run: Run) -> dict[str, Any]:
    """Options that are younger than some runs, and so inputs only where they are on."""
    options = run.options.path_filter
    return options.model_dump(include={"filters", "prior", "ranker", "effects_of"}, exclude_defaults=True)


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


def ranked(run: Run, paths: MeasuredPaths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (n, positions), buckets (n,) and losses (n,) of measured paths."""
    return run.space.tokenize(paths.paths), paths.bucket, paths.loss


def assess_path_filter(
    run: Run, name: str, paths: MeasuredPaths, *, auto: tuple[bool, str] = FEW_PATHS
) -> dict[str, Any]:
    """Quality of filters fitted to the paths in `name`.csv on those they have not seen, beside simpler rankers."""
    options, after = run.options.path_filter, [name]
    again: MeasuredPaths | None = None
    if options.second_measurement:  # on other images: an order that these do not confirm is theirs alone
        n_paths = sum(_measured_a_bucket(run, run.space))
        after.append(f"{name}_again")
        again = measured(run, after[-1], lambda: paths.paths, {"part": 1}, n_paths=n_paths, part=1, after=[name])

    def work() -> dict[str, Any]:
        epochs, basis = options.fit.epochs, _basis(run)
        with run.session.bar("filter_quality", total=options.folds * options.filters * epochs) as step:
            return cross_validate(
                lambda: new_path_filters(run, auto),
                *ranked(run, paths),
                costs=paths.flops,
                again=None if again is None else again.loss,
                folds=options.folds,
                ranker=options.ranker,
                rng=run.rng("filter_quality"),
                basis=basis,
                progress=step,
                agree=run.processes.of_first,
                **dict(options.fit),
            )

    inputs = {"folds": options.folds, **_filter_inputs(run, new_path_filters(run, auto))}
    kept: Kept[dict[str, Any]] = run.folder.json("filter_quality.json")
    return run.stages.run("filter_quality", inputs, kept, work, rehearsed=dict, after=after)
