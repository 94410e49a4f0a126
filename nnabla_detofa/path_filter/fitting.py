"""Fitting the path filter (section 3.1.2): FLOPs-bounded pairs or answers, 80/20, best epoch kept."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np

from ..errors import ConfigError, NumericError
from ..options import Flag, Number, OneOf, Whole, checked, ratio
from .adam import Adam
from .baselines import main_effects
from .encoding import table_rows
from .metrics import evaluate
from .model import PathFilter
from .objectives import OBJECTIVES, Binary, Objective, Ranking, any_pairs
from .transformer import Slopes

# of the main effects, tried at the start of a fit; with more than 4, the paths of a bucket would differ in digits alone
# that a score no longer has
SCALES = 2.0 ** np.arange(-2, 2.5, 0.5)


@dataclass(frozen=True)
class FitReport:
    """Course and result of a fit."""

    train_loss: np.ndarray  # (epochs,), the objective on the paths that were fitted to
    valid_loss: np.ndarray  # (epochs,), and on those held out
    best_epoch: int  # whose weights were kept, -1 for the start
    train: np.ndarray  # indices of the paths that were fitted to
    valid: np.ndarray  # and of those held out
    metrics: dict[str, float]  # Table 2 on those held out (`metrics.evaluate`)


@checked("path_filter.fit", "rng", "basis", "progress", "agree")
def fit(
    path_filter: PathFilter,
    tokens: np.ndarray,
    buckets: np.ndarray,
    losses: np.ndarray,
    *,
    rng: np.random.Generator,
    epochs: Annotated[int, Whole(), "of Adam"] = 100,
    learning_rate: Annotated[float, Number(above=0), "of Adam"] = 1e-3,
    batch: Annotated[int, Whole(least=2), "paths a step at most, which ranks the pairs inside its batch"] = 256,
    patience: Annotated[int | None, Whole(null=True), "epochs without a better validation loss; then it stops"] = None,
    objective: Annotated[str, OneOf("path_filter.fit.objective", lambda: OBJECTIVES)] = "ranking",
    margin: Annotated[float, Number(above=0), "of the ranking's hinge, Eq. 5"] = 1.0,
    binary_ratio: Annotated[float, Number(above=0, below=1), "of a bucket's paths, the weak ones of `binary`"] = 0.25,
    weight_decay: Annotated[float, Number(least=0), "of Adam"] = 0.0,
    valid_ratio: Annotated[float, ratio(), "of every bucket's paths, held out to choose the epoch"] = 0.2,
    bounded: Annotated[bool, Flag(), "paths compare with those of their bucket; false: all (Table 2)"] = True,
    basis: np.ndarray | None = None,
    progress: Callable[[int], None] | None = None,
    agree: Callable[[bool], bool] = bool,
) -> FitReport:
    """Trains `path_filter` in place from the weights it has (so pre-training and fine-tuning are two calls).

    Parameters:
        tokens: (n, L) int. buckets: (n,) int. losses: (n,), the measured validation losses, lower is better.
        objective: "ranking", Eq. 4 and 5; or "binary", GreedyNASv2's filter: a classifier of the weakest `binary_ratio`
            of each bucket by cross-entropy, for that one ratio.
        margin: of the ranking's hinge, the paper's where 1. Scores lie in (0, 1) and can never be 1 apart, so at 1 the
            best and the weakest quarter of a bucket are all pushed against the ends; at ½ the loss is least where the
            scores of a bucket are evenly spread over (0, 1), in their order.
        basis: (L · vocabulary, F), in which main effects are sought, see `gene_basis`; None: each token by itself.
        progress: called with each finished epoch.
        agree: where `patience` is given, called behind each epoch with whether it is at its end here, for what then is
            done: several processes that fit side by side must all stop, or none.

    Raises:
        ConfigError: input that does not fit, or no two paths of a bucket with different losses.
        NumericError: the loss is not finite.
    """
    aim: Objective = Ranking(margin) if objective == "ranking" else Binary(binary_ratio)
    rows, losses = path_filter.rows(tokens, buckets), np.asarray(losses, np.float64)
    tokens, buckets = np.asarray(tokens), np.asarray(buckets)
    if losses.shape != buckets.shape or not np.isfinite(losses).all():
        raise ConfigError(f"losses have shape {losses.shape}; {len(rows)} paths need ({len(rows)},) finite numbers")
    groups = buckets if bounded else np.zeros_like(buckets)
    truth = aim.truth(groups, losses)
    train, valid = split(buckets, valid_ratio, rng)
    if not any_pairs(groups[train], truth[train]):
        raise ConfigError(
            f"none of {len(train)} paths to fit to differs from the others of its bucket; {aim} needs that"
        )
    judged = valid if any_pairs(groups[valid], truth[valid]) else train  # too few held out to rank
    targets = aim.targets(groups[judged], truth[judged])

    def judge() -> float:
        return aim.loss(path_filter.score(tokens[judged], buckets[judged]), targets)[0]

    main = path_filter.parameters.get("main")
    if main is not None:
        prior = main.copy()
        start_main_effects(path_filter, prior, tokens[train], buckets[train], losses[train], basis)
        scale = _best_scale(main, judge)
        start = main.copy()
    n_batches = -(-len(train) // batch)
    size = -(-len(train) // n_batches)  # the fewest batches of equal size
    step = _training_step(path_filter, aim, learning_rate=learning_rate, weight_decay=weight_decay)
    history, best_epoch, kept = [], -1, path_filter.weights
    best = judge()
    try:
        for epoch in range(epochs):
            shuffled = np.resize(rng.permutation(train), (n_batches, size))  # the last filled up from the first
            with np.errstate(over="ignore", invalid="ignore"):  # the loss shows it
                train_loss = np.mean([step(rows[i], groups[i], truth[i]) for i in shuffled])
                history.append((train_loss, judge()))
            if not np.isfinite(np.array(history[-1])).all():
                raise NumericError(f"path filter: the loss is not finite in epoch {epoch}; lower learning_rate")
            if history[-1][1] < best:
                best, best_epoch, kept = history[-1][1], epoch, path_filter.weights
            if progress is not None:
                progress(epoch)
            if patience is not None and agree(epoch - best_epoch >= patience):
                break
    finally:
        path_filter.weights = kept
    metrics = evaluate(path_filter.score(tokens[valid], buckets[valid]), losses[valid], buckets[valid])
    if main is not None:  # the held-out paths have said which epoch; now they say what they can of the main effects
        learned = main - start
        start_main_effects(path_filter, prior, tokens, buckets, losses, basis)
        main[:] = scale * main + learned
    train_losses, valid_losses = np.array(history).T
    return FitReport(train_losses, valid_losses, best_epoch, train, valid, metrics)


def start_main_effects(
    path_filter: PathFilter,
    prior: np.ndarray,
    tokens: np.ndarray,
    buckets: np.ndarray,
    losses: np.ndarray,
    basis: np.ndarray | None = None,
) -> None:
    """Let the main effects say what ridge regression says beyond those of an earlier fit.

    The transformer learns what is beyond both. Budgets, which come behind the tokens, have no effect inside a bucket;
    theirs moves each bucket's mean to a score of ½, where scores are furthest apart.
    """
    main, vocabulary = path_filter.parameters["main"], path_filter.layout.vocabulary
    n = len(path_filter.layout.layer) * vocabulary
    main[:n, 0] = main_effects(tokens, buckets, losses, vocabulary, prior[:n, 0], basis)
    logits = main[table_rows(path_filter.layout, tokens, None), 0].sum(axis=1)
    for bucket in np.unique(buckets) if len(main) > n else ():
        main[n + bucket, 0] = -logits[buckets == bucket].mean()


def start_from_costs(path_filter: PathFilter, tokens: np.ndarray, buckets: np.ndarray, costs: np.ndarray) -> None:
    """Let the main effects be what the parts of a path cost, for `fit` to go on from: of two, the dearer is better.

    Paths need no measuring to be priced: tokens (n, L), buckets (n,), costs (n,). How much of it holds, `fit` asks the
    measured ones, and learns what is beyond that.
    """
    require_main_effects(path_filter, "prior")
    start_main_effects(path_filter, np.zeros_like(path_filter.parameters["main"]), tokens, buckets, -costs)


def require_main_effects(path_filter: PathFilter, option: str) -> None:
    """ConfigError where an option of main effects is given, and the path filter has none."""
    if "main" not in path_filter.parameters:
        raise ConfigError(
            f"path_filter.{option} is about main effects, and this path filter has none:"
            " leave it out, or say path_filter.network.main_effects=true",
            key=f"path_filter.{option}",
        )


def _best_scale(main: np.ndarray, judge: Callable[[], float]) -> float:
    """The one of SCALES whose multiple of the main effects is judged best; they are left as that multiple.

    How far apart scores should lie is the margin's matter, and one number says it. Left to the transformer, it pulls
    the training paths apart one by one, learns them by heart and spoils the order of all others.
    """
    unit, judged = main.copy(), []
    for scale in SCALES:
        main[:] = scale * unit
        judged.append(judge())
    best = SCALES[np.argmin(judged)]
    main[:] = best * unit
    return best


def split(buckets: np.ndarray, valid_ratio: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and the held-out paths, ascending; `valid_ratio` of every bucket, rounded."""
    held_out = np.zeros(len(buckets), bool)
    for bucket in np.unique(buckets):
        own = rng.permutation(np.flatnonzero(buckets == bucket))
        held_out[own[: int(valid_ratio * len(own) + 0.5)]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _training_step(
    path_filter: PathFilter, aim: Objective, *, learning_rate: float, weight_decay: float
) -> Callable[[np.ndarray, np.ndarray, np.ndarray], float]:
    """One step of Adam on the rows, groups and truth of a batch, which is of one size at every call; gives its loss."""
    slopes, adam = Slopes(path_filter.design, path_filter.fixed), Adam(learning_rate, weight_decay)
    weights = path_filter.parameters

    def step(rows: np.ndarray, groups: np.ndarray, truth: np.ndarray) -> float:
        loss, found = slopes(weights, rows, partial(aim.loss, targets=aim.targets(groups, truth)))
        adam.step(weights, found)
        return loss

    return step
