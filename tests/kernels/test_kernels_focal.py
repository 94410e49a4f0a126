"""Laws of the focal loss in one pass: that of NNabla's functions, in value and slope, however the maps are cut."""

import nnabla as nn
import numpy as np
import pytest

from nnabla_detofa.kernels import FocalLoss, focal
from nnabla_detofa.tasks.losses import focal_loss, focal_loss_of_functions

SHAPE = (5, 3, 6, 7)


def maps(seed=0, n_centres=9):
    rng = np.random.default_rng(seed)
    heatmap = rng.uniform(0, 0.99, SHAPE).astype(np.float32)
    heatmap.ravel()[rng.choice(heatmap.size, n_centres, replace=False)] = 1
    return 4 * rng.standard_normal(SHAPE, np.float32), heatmap


def evaluated(build, logits, heatmap, before=0.0, scale=1.0):
    """Loss, and what its slope in the logits, times a scale, adds to what is there `before`."""
    x, h = nn.Variable.from_numpy_array(logits, need_grad=True), nn.Variable.from_numpy_array(heatmap)
    loss = build(x, h)
    loss.forward()
    x.g = before
    loss.backward(scale)
    return float(loss.d), x.g.copy()


@pytest.mark.parametrize("piece", [1, 50, 126, 300, 1 << 16])
@pytest.mark.parametrize("n_centres", [0, 1, 40])
def test_it_is_the_loss_of_functions(piece, n_centres, monkeypatch):
    monkeypatch.setattr(focal, "PIECE", piece)
    given = maps(n_centres=n_centres)
    ways = (lambda *of: FocalLoss()(*of)), focal_loss_of_functions
    (value, slope), (expected, other) = (evaluated(one, *given, before=0.25, scale=3.0) for one in ways)
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(slope, other, rtol=1e-5, atol=1e-6)


def test_threads_change_nothing(monkeypatch):
    given = maps()
    alone = evaluated(focal_loss, *given)
    monkeypatch.setattr("nnabla_detofa.kernels.parallel._LEAST_WORK", 1)
    monkeypatch.setattr("nnabla_detofa.kernels.parallel.THREADS", 3)  # whatever the machine has
    shared = evaluated(focal_loss, *given)
    assert shared[0] == alone[0] and np.array_equal(shared[1], alone[1])


def test_a_logit_that_is_no_number_reaches_the_loss():
    logits, heatmap = maps()
    logits[1, 2, 3, 4] = np.nan
    assert np.isnan(evaluated(focal_loss, logits, heatmap)[0])
