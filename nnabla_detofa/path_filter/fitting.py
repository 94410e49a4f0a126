"""Fitting the path filter (section 3.1.2): the FLOPs-bounded pairwise loss of Eq. 4 and 5, 80/20, best epoch kept."""

from collections.abc import Callable
from dataclasses import dataclass

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import nnabla.solvers as S  # noqa: N812
import numpy as np

from ..errors import ConfigError, NumericError, require_ratio
from .baselines import main_effects
from .metrics import evaluate
from .model import PathFilter
from .network import score_graph


@dataclass(frozen=True)
class FitReport:
    """How a fit went.

    train_loss, valid_loss: (epochs,), Eq. 5 on the two parts; best_epoch: the epoch whose weights were kept, -1 for
        the start.
    train, valid: indices of the paths of the two parts.
    metrics: Table 2 on the held-out part (`metrics.evaluate`).
    """

    train_loss: np.ndarray
    valid_loss: np.ndarray
    best_epoch: int
    train: np.ndarray
    valid: np.ndarray
    metrics: dict[str, float]


def fit(
    path_filter: PathFilter,
    tokens: np.ndarray,
    buckets: np.ndarray,
    losses: np.ndarray,
    *,
    rng: np.random.Generator,
    epochs: int = 100,
    learning_rate: float = 1e-3,
    batch: int = 256,
    patience: int | None = None,
    margin: float = 0.5,
    weight_decay: float = 0.0,
    valid_ratio: float = 0.2,
    bounded: bool = True,
    progress: Callable[[int], None] | None = None,
) -> FitReport:
    """Trains `path_filter` in place from the weights it has (so pre-training and fine-tuning are two calls).

    Parameters:
        tokens: (n, L) int. buckets: (n,) int. losses: (n,), the measured validation losses, lower is better.
        epochs, learning_rate, weight_decay: of Adam.
        margin: of the hinge; 1 is the paper's. Scores lie in (0, 1) and can never be 1 apart, so at 1 the best and the
            weakest quarter of a bucket are all pushed against the ends; at ½ the loss is least where the scores of a
            bucket are evenly spread over (0, 1), in their order.
        batch: paths a step at most; a step ranks the pairs inside its batch.
        patience: stop after so many epochs without a better validation loss; never where None.
        valid_ratio: share of every bucket held out to choose the epoch.
        bounded: pairs of one bucket only (the FLOPs-bounded loss); False compares all paths (Table 2's first row).
        progress: called with each finished epoch.

    Raises:
        ConfigError: input that does not fit, or no two paths of a bucket with different losses.
        NumericError: the loss is not finite.
    """
    _require_options(epochs=epochs, batch=batch, patience=patience, learning_rate=learning_rate, margin=margin)
    require_ratio("valid_ratio", valid_ratio)
    rows, buckets, losses = path_filter.rows(tokens, buckets), np.asarray(buckets), np.asarray(losses, np.float64)
    if losses.shape != buckets.shape or not np.isfinite(losses).all():
        raise ConfigError(f"losses have shape {losses.shape}; {len(rows)} paths need ({len(rows)},) finite numbers")
    groups = buckets if bounded else np.zeros_like(buckets)
    train, valid = split(buckets, valid_ratio, rng)
    if not pair_weights(groups[train], losses[train]).any():
        raise ConfigError(f"none of {len(train)} paths to fit to has another loss than the others of its bucket")
    judged = valid if pair_weights(groups[valid], losses[valid]).any() else train  # too few held out to rank
    judged_pairs = pair_weights(groups[judged], losses[judged])
    size = -(-len(train) // -(-len(train) // batch))  # the fewest batches of equal size
    main = path_filter.variables.get("main")
    if main is not None:
        prior = main.d.copy()
        start = _start_main_effects(path_filter, prior, np.asarray(tokens)[train], buckets[train], losses[train])
    step = _Step(path_filter, size, learning_rate, weight_decay, margin)
    history, best_epoch, kept = [], -1, path_filter.weights
    best = pair_loss(path_filter.score_rows(rows[judged]), judged_pairs, margin) if main is not None else np.inf
    try:
        for epoch in range(epochs):
            train_loss = np.mean([step(rows[i], groups[i], losses[i]) for i in _batches(train, size, rng)])
            history.append((train_loss, pair_loss(path_filter.score_rows(rows[judged]), judged_pairs, margin)))
            if not np.isfinite(np.array(history[-1])).all():
                raise NumericError(f"path filter: the loss is not finite in epoch {epoch}; lower learning_rate")
            if history[-1][1] < best:
                best, best_epoch, kept = history[-1][1], epoch, path_filter.weights
            if progress is not None:
                progress(epoch)
            if patience is not None and epoch - best_epoch >= patience:
                break
    finally:
        path_filter.weights = kept
    metrics = evaluate(path_filter.score_rows(rows[valid]), losses[valid], buckets[valid])
    if main is not None:  # the held-out paths have said which epoch; now they say what they can of the main effects
        learned = main.d - start
        main.d = _start_main_effects(path_filter, prior, np.asarray(tokens), buckets, losses) + learned
    train_losses, valid_losses = np.array(history).T
    return FitReport(train_losses, valid_losses, best_epoch, train, valid, metrics)


def _start_main_effects(
    path_filter: PathFilter, prior: np.ndarray, tokens: np.ndarray, buckets: np.ndarray, losses: np.ndarray
) -> np.ndarray:
    """Let the main effects say what ridge regression says beyond those of an earlier fit, and return them.

    The transformer learns what is beyond both.
    """
    main, vocabulary = path_filter.variables["main"], path_filter.layout.vocabulary
    n = len(path_filter.layout.layer) * vocabulary  # budgets, which come behind, have no effect inside a bucket
    main.d[:n, 0] = main_effects(tokens, buckets, losses, vocabulary, prior[:n, 0])
    return main.d.copy()


def _require_options(*, epochs: int, batch: int, patience: int | None, **positive: float) -> None:
    for name, value, least in (("epochs", epochs, 1), ("batch", batch, 2), ("patience", patience or 1, 1)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise ConfigError(f"path filter: {name} is {value!r}; it must be a whole number of at least {least}")
    for name, number in positive.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not number > 0:
            raise ConfigError(f"path filter: {name} is {number!r}; it must be a number above 0")


def split(buckets: np.ndarray, valid_ratio: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and the held-out paths, ascending; `valid_ratio` of every bucket, rounded."""
    held_out = np.zeros(len(buckets), bool)
    for bucket in np.unique(buckets):
        own = rng.permutation(np.flatnonzero(buckets == bucket))
        held_out[own[: int(valid_ratio * len(own) + 0.5)]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def pair_weights(groups: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The weight of each ordered pair (a, a') in the mean of Eq. 5, (n, n) float32: 1 / pairs where t = 1 (Eq. 4).

    Those are the pairs of one group with the strictly lower loss on the left. Pairs with t = 0 have a constant loss.
    """
    counted = (groups[:, None] == groups) & (losses[:, None] < losses)
    return (counted / max(counted.sum(), 1)).astype(np.float32)


def pair_loss(scores: np.ndarray, weights: np.ndarray, margin: float) -> float:
    """Eq. 5: the mean squared hinge of the score differences; scores (n,), weights (n, n)."""
    return float(np.vdot(weights, np.maximum(0, margin - np.subtract.outer(scores, scores)) ** 2))


def _batches(members: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A shuffled epoch, (batches, size); a short last batch is filled up with members of the first."""
    return np.resize(rng.permutation(members), (-(-len(members) // size), size))


class _Step:
    """One step of Adam on a batch of fixed size; the graph is built once."""

    def __init__(
        self, path_filter: PathFilter, size: int, learning_rate: float, weight_decay: float, margin: float
    ) -> None:
        with nn.auto_forward(False):
            self._rows = nn.Variable((size, path_filter.row_length))
            self._weights = nn.Variable((size, size))
            scores = score_graph(path_filter.variables, path_filter.design, path_filter.positions, self._rows)
            shortfall = F.relu(margin - (scores - F.transpose(scores, (1, 0))))
            self._loss = F.sum(self._weights * shortfall * shortfall)  # Eq. 5
        self._decay = weight_decay
        self._solver = S.Adam(learning_rate)
        self._solver.set_parameters(path_filter.variables)

    def __call__(self, rows: np.ndarray, groups: np.ndarray, losses: np.ndarray) -> float:
        self._rows.d, self._weights.d = rows, pair_weights(groups, losses)
        self._solver.zero_grad()
        self._loss.forward(clear_no_need_grad=True)
        self._loss.backward(clear_buffer=True)
        if self._decay:
            self._solver.weight_decay(self._decay)
        self._solver.update()
        return float(self._loss.d)
