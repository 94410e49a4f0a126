"""Rankers that need no path filter: the yardsticks for the figures of Table 2."""

import numpy as np

_PENALTIES = 10.0 ** np.arange(-3, 4.5, 0.5)


def ridge_score(
    tokens: np.ndarray,
    buckets: np.ndarray,
    losses: np.ndarray,
    test_tokens: np.ndarray,
    basis: np.ndarray | None = None,
) -> np.ndarray:
    """Scores (n_test,) from ridge regression of the losses on one-hot tokens, higher is better.

    Parameters:
        tokens, test_tokens: (n, L) and (n_test, L) int.
        buckets, losses: (n,).
        basis: (L · vocabulary, F), see `ridge_weights`.
    """
    vocabulary = int(max(tokens.max(), test_tokens.max())) + 1 if basis is None else len(basis) // tokens.shape[1]
    return -(one_hot(test_tokens, vocabulary) @ ridge_weights(tokens, buckets, losses, vocabulary, basis))


def ridge_weights(
    tokens: np.ndarray, buckets: np.ndarray, losses: np.ndarray, vocabulary: int, basis: np.ndarray | None = None
) -> np.ndarray:
    """Ridge coefficients: the loss that each token at each position adds, (L · vocabulary,).

    Tokens and losses are centred within each bucket, as only the order inside a bucket counts; the penalty is the one
    of smallest leave-one-out error, in closed form. What is penalised are the coefficients of the columns of `basis`
    (L · vocabulary, F), see `gene_basis`; those of the tokens themselves where there is none.
    """
    features = one_hot(tokens, vocabulary)
    if basis is not None:
        features = features @ basis
    features, target = _centred(features, buckets), _centred(losses, buckets)
    left, size, right = np.linalg.svd(features, full_matrices=False)
    errors = leave_one_out_errors(left, size, target, buckets, _PENALTIES)
    penalty = _PENALTIES[np.argmin((errors**2).mean(axis=1))]
    found = right.T @ (size / (size**2 + penalty) * (left.T @ target))
    return found if basis is None else basis @ found


def leave_one_out_errors(
    left: np.ndarray, size: np.ndarray, target: np.ndarray, buckets: np.ndarray, penalties: np.ndarray
) -> np.ndarray:
    """Differences of each path's loss from the prediction of ridge regression on all others, (penalties, n).

    `left` (n, r) and `size` (r,) decompose the centred features; `target` (n,) is centred. A path's leverage includes
    its part in the mean of its bucket: without it, a fit that goes through every point would look like the best one.
    """
    _, bucket, paths = np.unique(buckets, return_inverse=True, return_counts=True)
    kept = size**2 / (size**2 + penalties[:, None])
    residual = target - (kept * (left.T @ target)) @ left.T
    leverage = kept @ (left**2).T + 1 / paths[bucket]
    return residual / np.maximum(1 - leverage, 1e-9)


def main_effects(
    tokens: np.ndarray,
    buckets: np.ndarray,
    losses: np.ndarray,
    vocabulary: int,
    prior: np.ndarray,
    basis: np.ndarray | None = None,
) -> np.ndarray:
    """Ridge regression as logits of a path filter, (L · vocabulary,): paths of a bucket differ by 1 on average.

    It is of what a multiple of the `prior` logits (L · vocabulary,), those of an earlier fit, leaves of the losses.
    """
    features = one_hot(tokens, vocabulary)
    expected, measured = (_centred(x, buckets) for x in (-features @ prior, losses))
    share = max(0.0, expected @ measured / max(expected @ expected, 1e-12))
    rest = np.asarray(losses, np.float64) + share * (features @ prior)
    weights = share * prior - ridge_weights(tokens, buckets, rest, vocabulary, basis)
    logits = features @ weights
    spread = np.mean([logits[buckets == bucket].std() for bucket in np.unique(buckets)])
    return weights / max(spread, 1e-12)


def _centred(values: np.ndarray, buckets: np.ndarray) -> np.ndarray:
    """`values` (n, …) without the mean of each bucket."""
    centred = np.array(values, np.float64)
    for bucket in np.unique(buckets):
        centred[buckets == bucket] -= centred[buckets == bucket].mean(axis=0)
    return centred


def one_hot(tokens: np.ndarray, vocabulary: int) -> np.ndarray:
    """Tokens (n, L) as 0 and 1, (n, L · vocabulary), in the order of `encoding.table_rows`."""
    return (np.asarray(tokens)[:, :, None] == np.arange(vocabulary)).reshape(len(tokens), -1).astype(np.float64)
