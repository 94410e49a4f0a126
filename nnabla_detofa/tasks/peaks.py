"""Decoding on the device of the network (2.1): 100 peaks an image leave it, not a heat map."""

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np

from ..detection import Peaks, decode
from ..detection.decode import as_peaks, sigmoid
from ..precision import single_precision


class PeakGraph:
    """The `top` best peaks of a graph's three outputs, as `decode` finds and orders them.

    Args:
        logits: (B, C, h, w). size, offset: (B, 2, h, w).
    """

    def __init__(self, logits: nn.Variable, size: nn.Variable, offset: nn.Variable, *, top: int = 100):
        batch, _, *sides = logits.shape
        self._sides = tuple(sides)
        self._maps, self._top = [one.apply(persistent=True) for one in (logits, size, offset)], top
        n_places = int(np.prod(logits.shape[1:]))
        k = min(top, n_places)
        self._all_in = k == n_places  # and what is no peak among them
        self._cells = nn.Variable((batch, k))
        with single_precision():
            highest = F.max_pooling(logits, (3, 3), (1, 1), pad=(1, 1))
            below = F.broadcast(F.reshape(F.min(logits) - 1.0, (1,) * 4), logits.shape)
            scores = F.reshape(F.where(F.equal(logits, highest), logits, below), (batch, -1))
            best = F.top_k_data(scores, k, with_index=True)
            enough = F.greater_equal(scores, F.broadcast(F.min(best[0], axis=1, keepdims=True), scores.shape))
            self._found = [one.apply(persistent=True) for one in (*best, F.sum(enough, axis=1))]
            values = [one.get_unlinked_variable(need_grad=False) for one in (size, offset)]  # or all would run again
            values = F.reshape(F.concatenate(*values, axis=1), (batch, 4, -1))
            self._values = F.gather(F.transpose(values, (0, 2, 1)), self._cells, axis=1, batch_dims=1)

    def __call__(self) -> Peaks:
        """The peaks of what the graph's inputs hold now."""
        nn.forward_all([*self._maps, *self._found], clear_buffer=True)
        scores, index, reaching = (one.d for one in self._found)
        # of equals at the end some are in and some are not, in whatever order
        if self._all_in or (reaching != scores.shape[1]).any():
            return decode(*(one.d for one in self._maps), top=self._top, logits=True)
        index = index.astype(np.int64)
        order = np.lexsort((index, -scores), axis=1)
        scores, index = (np.take_along_axis(one, order, axis=1) for one in (scores, index))
        self._cells.d = index % (self._sides[0] * self._sides[1])
        self._values.forward()
        size, offset = np.split(self._values.d, 2, axis=2)
        return as_peaks(index, sigmoid(scores), size, offset, self._sides)
