"""Several path filters as one."""

import numpy as np

from nnabla_detofa.path_filter import AveragedFilter, PathFilter, TokenLayout, fit

LAYOUT = TokenLayout(vocabulary=3, layer=[0, 1, 2, 3, 4], block=[0, 0, 1, 1, 1])
DRAWS = np.random.default_rng(1)
PATHS = DRAWS.integers(0, 3, (40, 5)), np.arange(40) % 2, DRAWS.random(40)


def several(k):
    rng = np.random.default_rng(0)
    sizes = {"dim": 8, "heads": 2, "layers": 1, "hidden": 8}
    return [PathFilter(LAYOUT, 2, rng=rng, main_effects=False, **sizes) for _ in range(k)]


def test_one_is_the_filter_itself_to_the_bit():
    alone, averaged = several(1)[0], AveragedFilter(several(1))
    fit(alone, *PATHS, rng=np.random.default_rng(3), epochs=2)
    averaged.fit(*PATHS, rng=np.random.default_rng(3), epochs=2)
    for dtype in (np.float32, np.float64):
        expected, found = (one.score(*PATHS[:2], dtype=dtype) for one in (alone, averaged))
        assert found.dtype == dtype and np.array_equal(found, expected)


def test_scores_are_means_of_filters_that_saw_other_splits():
    averaged = AveragedFilter(several(3))
    reports = averaged.fit(*PATHS, rng=np.random.default_rng(3), epochs=2)
    assert len({one.valid.tobytes() for one in reports}) == 3
    each = [one.score(*PATHS[:2], dtype=np.float64) for one in averaged.filters]
    assert np.ptp(each, axis=0).max() > 0
    np.testing.assert_allclose(averaged.score(*PATHS[:2], dtype=np.float64), sum(each) / 3, rtol=1e-12)
