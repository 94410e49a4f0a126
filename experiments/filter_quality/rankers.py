"""Rankers of paths: yardsticks that need no transformer, and the path filter in its variants."""

import importlib.util

import numpy as np

from nnabla_detofa.path_filter import AveragedFilter, PathFilter, TokenLayout, ridge_score, start_from_costs

from ..measured_tables import Table

FILTERS = 5  # k of the averaged filter
TRANSFORMER, AVERAGED = "path filter", f"path filter, mean of {FILTERS}"
PRIOR = "path filter, prior of cost"
OF_GENES = " on genes"  # in the table's own basis
BY_VALUE = {TRANSFORMER: "path filter by value", AVERAGED: f"path filter by value, mean of {FILTERS}"}
BY_VALUE[PRIOR] = "path filter by value, prior of cost"
LIGHTGBM = "LightGBM"
HAS_LIGHTGBM = importlib.util.find_spec("lightgbm") is not None


def scores(table: Table, seen: np.ndarray, held_out: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Scores of the held-out paths by every ranker but averages, fitted to those that were seen; both are indices."""
    tokens, buckets, losses = table.tokens[seen], table.buckets[seen], table.losses[seen]
    found = {
        "FLOPs": table.flops[held_out],
        "ridge regression": ridge_score(tokens, buckets, losses, table.tokens[held_out]),
    }
    if table.basis is not None:
        found["ridge regression on genes"] = ridge_score(tokens, buckets, losses, table.tokens[held_out], table.basis)
    found["MLP 3 x 400"] = _mlp(table, seen, held_out, seed)
    if HAS_LIGHTGBM:
        found[LIGHTGBM] = _lightgbm(table, seen, held_out, seed)
    return found | _filters(table, seen, held_out, seed, TRANSFORMER)


def averaged_scores(table: Table, seen: np.ndarray, held_out: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """As `scores`, by the mean of FILTERS path filters, of which the first is that of `scores`."""
    return _filters(table, seen, held_out, seed, AVERAGED, k=FILTERS)


def prior_scores(table: Table, seen: np.ndarray, held_out: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """As `scores`, by the path filter of the same start and split whose main effects begin with what the parts of a
    path cost; costs are known of all paths."""
    return _filters(table, seen, held_out, seed, PRIOR)


def by_value(table: Table) -> bool:
    """Whether any gene of the table has so many levels that it is embedded by value."""
    return "value" in PathFilter(table.layout, 1, rng=np.random.default_rng(0), dim=4).parameters


def _filters(
    table: Table, seen: np.ndarray, held_out: np.ndarray, seed: int, name: str, k: int = 1
) -> dict[str, np.ndarray]:
    """k filters of the table's settings as one; once more by value where a gene has as many levels as that needs, and
    once more with main effects of genes where the table has a basis for them."""
    plain = table.layout._replace(values=())
    variants: dict[str, tuple[TokenLayout, dict]] = {name: (plain, {})}
    if by_value(table):
        variants[BY_VALUE[name]] = table.layout, {}
    if table.basis is not None and name != PRIOR:
        variants[name + OF_GENES] = plain, {"basis": table.basis}
    known = table.tokens[seen], table.buckets[seen], table.losses[seen]
    found = {}
    for each, (layout, more) in variants.items():
        rng, own = np.random.default_rng(seed), table.options["network"]
        filters = [PathFilter(layout, table.n_buckets, rng=np.random.default_rng((seed, i)), **own) for i in range(k)]
        for one in filters if name == PRIOR else ():
            start_from_costs(one, table.tokens, table.buckets, table.flops)
        averaged = AveragedFilter(filters)
        averaged.fit(*known, rng=rng, **table.options["fit"], **more)
        found[each] = averaged.score(table.tokens[held_out], table.buckets[held_out], dtype=np.float64)
    return found


def _relative(table: Table, seen: np.ndarray) -> np.ndarray:
    """The seen losses without the mean of their bucket, standardised: only the order in a bucket counts."""
    losses, buckets = table.losses[seen].astype(float), table.buckets[seen]
    for bucket in np.unique(buckets):
        losses[buckets == bucket] -= losses[buckets == bucket].mean()
    return losses / losses.std()


def _mlp(table: Table, seen: np.ndarray, held_out: np.ndarray, seed: int) -> np.ndarray:
    """Three hidden layers of 400 on one-hot genes."""
    from sklearn.neural_network import MLPRegressor

    genes = np.concatenate([column[:, None] == np.unique(column) for column in table.genes.T], axis=1).astype(float)
    mlp = MLPRegressor(hidden_layer_sizes=(400, 400, 400), max_iter=1000, random_state=seed)
    return -mlp.fit(genes[seen], _relative(table, seen)).predict(genes[held_out])


def _lightgbm(table: Table, seen: np.ndarray, held_out: np.ndarray, seed: int) -> np.ndarray:
    """Boosted trees on the genes as numbers and the bucket, default settings."""
    import lightgbm

    genes = np.column_stack([table.genes, table.buckets])
    trees = lightgbm.LGBMRegressor(random_state=seed, n_jobs=1, verbosity=-1)
    return -trees.fit(genes[seen], _relative(table, seen)).predict(genes[held_out])
