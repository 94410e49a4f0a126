"""Cross-validation of path filters: figures that nothing defines are None."""

import numpy as np

from nnabla_detofa.path_filter import PathFilter, TokenLayout, cross_validate
from nnabla_detofa.path_filter.metrics import METRICS


def quality(losses, **options):
    rng = np.random.default_rng(0)
    layout = TokenLayout(vocabulary=4, layer=[0, 1, 2], block=[0, 0, 1])
    n = len(losses)
    return cross_validate(
        lambda: PathFilter(layout, n_buckets=2, dim=8, heads=2, layers=1, hidden=8, rng=np.random.default_rng(1)),
        rng.integers(4, size=(n, 3)),
        np.arange(n) % 2,
        losses,
        costs=rng.random(n),
        rng=rng,
        epochs=1,
        **options,
    )


def test_fewer_paths_a_bucket_than_folds_leave_fewer_folds_and_nothing_to_rank():
    """Four paths a bucket are what the settings allow at least, and five folds their default."""
    found = quality(np.random.default_rng(1).random(8), folds=5)
    assert set(found["same_images"]) == {"path filter", "FLOPs", "ridge regression"}
    for row in (found["filter"], *found["same_images"].values()):
        assert row == dict.fromkeys(METRICS)  # undefined, which is not a tau of 0


def test_a_figure_is_the_mean_of_the_folds_that_define_it():
    """Of four paths a bucket in three folds, two are in the first, and one each in the others, which say nothing."""
    row = quality(np.random.default_rng(1).random(8), folds=3)["filter"]
    assert row["precision"] in (0, 0.5, 1) and row["kendall_tau"] in (-1, 0, 1)
