"""CenterNet's focal loss on a CPU, as an NNabla function: from scalar functions it takes longer than a small network.

NNabla's powers, exponentials and logarithms take a number at a time, and every function goes through the maps again.
Here a piece of a map stays in the cache, and NumPy's functions take a vector at a time.
"""

import numpy as np

from .convolution import Kernel
from .parallel import over
from .passes import ZERO

PIECE = 1 << 16  # floats: what is between stays in the cache
COST = 20  # of an element, beside one that is passed over


class FocalLoss(Kernel):
    """The penalty-reduced focal loss, α = 2 and β = 4, over the number of centres (at least 1): a scalar.

    Inputs: logits x and heat map h, of one shape (B, …), as `tasks.losses.focal_loss` has them. With p = sigmoid(x) and
    q = 1 - p, a centre (h = 1) adds q² log p and another cell (1 - h)⁴ p² log q.
    """

    def setup_impl(self, inputs, outputs):  # noqa: ARG002 - NNabla's signature
        outputs[0].reset_shape((), True)

    def forward_impl(self, inputs, outputs):
        x, h = _images(inputs)
        sums, centres = np.zeros(len(x)), np.zeros(len(x), np.int64)

        def work(part: slice) -> None:
            for rows, cells in _pieces(x[part], part.start):  # an image's sum is its own, however many threads
                terms, at = _terms(x[rows, cells], h[rows, cells])
                sums[rows] += terms.sum(axis=1, dtype=np.float64)
                centres[rows.start] += np.count_nonzero(at)

        over(len(x), work, work=COST * x.size)
        outputs[0].d = -sums.sum() / max(centres.sum(), 1)

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        if not propagate_down[0]:
            return
        x, h = _images(inputs)
        dx = inputs[0].g.reshape(x.shape)
        scale = np.float32(-float(outputs[0].g) / max(np.count_nonzero(h == 1), 1))

        def work(part: slice) -> None:
            for rows, cells in _pieces(x[part], part.start):
                slope = _slopes(x[rows, cells], h[rows, cells])
                slope *= scale
                dx[rows, cells] = dx[rows, cells] + slope if accum[0] else slope

        over(len(x), work, work=COST * x.size)


def _images(inputs):
    """Logits and heat map as (B, cells), in single precision."""
    return (one.d.reshape(one.shape[0], -1).astype(np.float32, copy=False) for one in inputs)


def _pieces(x, first):
    """Slices of rows and columns that cut x (B, cells) into pieces of at most PIECE, the first row being `first`."""
    images, cells = x.shape
    height = max(1, PIECE // cells)
    for row in range(first, first + images, height):
        for start in range(0, cells, PIECE):
            yield slice(row, min(row + height, first + images)), slice(start, start + PIECE)


def _logs(x):
    """log p and log q of logits, to a relative error of some units in the last place, and finite for any."""
    e = np.abs(x)
    np.exp(np.negative(e, out=e), out=e)
    log_q = np.negative(np.log1p(e, out=e), out=e)
    log_p = np.minimum(x, ZERO)
    log_p += log_q
    log_q -= np.maximum(x, ZERO)
    return log_p, log_q


def _weights(heat):
    """(1 - h)⁴, which is 0 at centres, and which cells these are."""
    weight = 1 - heat
    weight *= weight
    weight *= weight
    return weight, heat == 1


def _terms(x, heat):
    """Addends of the sum, one a cell, and which cells are centres."""
    log_p, log_q = _logs(x)
    terms, at = _weights(heat)
    centres = np.exp(2 * log_q[at]) * log_p[at]
    log_p += log_p
    terms *= np.exp(log_p, out=log_p)
    terms *= log_q
    terms[at] = centres
    return terms, at


def _slopes(x, heat):
    """Those of `_terms` in the logits."""
    log_p, log_q = _logs(x)
    slopes, at = _weights(heat)
    q = np.exp(log_q)
    centres = q[at] ** 2 * (q[at] - 2 * np.exp(log_p[at]) * log_p[at])
    p = np.exp(log_p, out=log_p)
    slopes *= p
    slopes *= p
    log_q *= q
    log_q += log_q
    log_q -= p
    slopes *= log_q
    slopes[at] = centres
    return slopes
