"""Cross-validation: the ranking of paths that a filter has not seen (Table 2), beside rankers that need no filter."""

from collections.abc import Callable

import numpy as np

from .averaging import AveragedFilter
from .baselines import ridge_score
from .metrics import evaluate
from .rankers import FLOPS, RANKERS, RIDGE, TRANSFORMER

RIDGE_OF_GENES = f"{RANKERS[RIDGE]} on genes"


def cross_validate(
    new_path_filters: Callable[[], AveragedFilter],
    tokens: np.ndarray,
    buckets: np.ndarray,
    losses: np.ndarray,
    *,
    costs: np.ndarray,
    again: np.ndarray | None = None,
    folds: int = 5,
    ranker: str = TRANSFORMER,
    basis: np.ndarray | None = None,
    rng: np.random.Generator,
    **fit_options,
) -> dict:
    """Metrics of held-out paths, averaged over folds that are stratified by bucket.

    Every ranker is fitted to the other folds' losses. A held-out path is judged by its loss, and by its loss `again`
    on other images where there is one: measured on the same images, paths also share what is theirs alone.

    Parameters:
        new_path_filters: gives one filter or several with fresh weights.
        tokens: (n, L) int. buckets: (n,) int. losses, costs, again: (n,).
        ranker: the one of RANKERS whose metrics stand under "filter".
        basis: in which the filters' main effects are sought, see `fit`; with it, RIDGE_OF_GENES is a yardstick more.
        fit_options: the keywords of `fit`.

    Returns:
        {"filter": metrics of `ranker` across measurements, or on the same images without `again`,
        "same_images": {ranker: metrics}, "other_images": the same against `again`, if it was given}. A metric is None
        where no fold defines it: where none has a bucket with two paths of different loss.
    """
    judges = {"same_images": losses} | ({} if again is None else {"other_images": again})
    figures: dict[str, dict[str, list]] = {images: {} for images in judges}
    fold = _folds(buckets, folds, rng)
    for k in np.unique(fold):  # fewer than `folds` where no bucket has so many paths
        rest, held_out = fold != k, fold == k
        path_filter = new_path_filters()
        seen = tokens[rest], buckets[rest], losses[rest]
        path_filter.fit(*seen, rng=rng, basis=basis, **fit_options)
        rankers = {
            RANKERS[TRANSFORMER]: path_filter.score(tokens[held_out], buckets[held_out], dtype=np.float64),
            RANKERS[FLOPS]: costs[held_out],  # of two paths the dearer is held to be the better one
            RANKERS[RIDGE]: ridge_score(*seen, tokens[held_out]),
        }
        if basis is not None:
            rankers[RIDGE_OF_GENES] = ridge_score(*seen, tokens[held_out], basis)
        for images, truth in judges.items():
            for name, scores in rankers.items():
                figures[images].setdefault(name, []).append(evaluate(scores, truth[held_out], buckets[held_out]))
    means = {images: {name: _mean(each) for name, each in rows.items()} for images, rows in figures.items()}
    own = RIDGE_OF_GENES if ranker == RIDGE and basis is not None else RANKERS[ranker]
    return {"filter": means.get("other_images", means["same_images"])[own], **means}


def _folds(buckets: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for every path, (n,); each bucket is spread evenly."""
    fold = np.empty(len(buckets), int)
    for bucket in np.unique(buckets):
        own = rng.permutation(np.flatnonzero(buckets == bucket))
        fold[own] = np.arange(len(own)) % folds
    return fold


def _mean(figures: list[dict[str, float]]) -> dict[str, float | None]:
    """Mean of each figure over the folds in which it is defined; None where it is in none."""
    columns = {name: np.array([one[name] for one in figures], float) for name in figures[0]}
    return {name: None if np.isnan(v).all() else float(np.nanmean(v)) for name, v in columns.items()}
