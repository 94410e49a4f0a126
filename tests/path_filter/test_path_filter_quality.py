"""Cross-validation of path filters."""

import numpy as np

from nnabla_detofa.path_filter import PathFilter, TokenLayout, cross_validate


def test_fewer_paths_a_bucket_than_folds_leave_fewer_folds():
    """Four paths a bucket are what the settings allow at least, and five folds their default."""
    rng = np.random.default_rng(0)
    layout = TokenLayout(vocabulary=4, layer=[0, 1, 2], block=[0, 0, 1])
    tokens, buckets = rng.integers(4, size=(8, 3)), np.repeat([0, 1], 4)
    quality = cross_validate(
        lambda: PathFilter(layout, n_buckets=2, dim=8, heads=2, layers=1, hidden=8, rng=np.random.default_rng(1)),
        tokens,
        buckets,
        rng.random(8),
        costs=rng.random(8),
        folds=5,
        rng=rng,
        epochs=1,
    )
    assert set(quality["same_images"]) == {"path filter", "FLOPs", "ridge regression"}
    assert all(np.isfinite(value) for value in quality["filter"].values())
