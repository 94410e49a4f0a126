"""Batch normalisation on a CPU, with shortcut and activation in one pass over channel-major maps (C, B, H, W)."""

from contextlib import ExitStack

import nnabla as nn
import numpy as np

from .convolution import Kernel, gradient, store_corner
from .parallel import over

_RUN = 256  # floats that are summed one after the other
_BLOCK = 1 << 21  # floats of a map at a time, which bounds the memory of what lies between; smaller blocks are slower


class BatchNormalization(Kernel):
    """y = act(γ (x − μ)/√(σ² + ε) + β [+ shortcut]). Inputs: x (c, B, H, W), β, γ (1, C, 1, 1), and any shortcut.

    Args:
        mean, variance: running statistics (1, C, 1, 1). Used where `batch_stat` is false; otherwise their first c
            values move towards the batch's own (with Bessel's correction for the variance, as NNabla does).
        ceiling: None without activation, infinity for ReLU, 6 for ReLU6.
        record: called with the batch's (mean, variance), each (c,), where it is given: BN re-estimation.
    """

    def __init__(self, mean, variance, *, batch_stat, decay_rate, eps, ceiling, record=None):
        super().__init__(nn.get_current_context())
        self._running = mean, variance
        self._batch_stat, self._decay_rate, self._eps = batch_stat, decay_rate, eps
        self._ceiling, self._record = ceiling, record

    def grad_depends_output_data(self, i, o):  # noqa: ARG002
        return self._ceiling is not None

    def setup_impl(self, inputs, outputs):
        outputs[0].reset_shape(inputs[0].shape, True)

    def forward_impl(self, inputs, outputs):
        channels = inputs[0].shape[0]
        x, y, *shortcut = (v.d.reshape(channels, -1) for v in (inputs[0], outputs[0], *inputs[3:]))
        beta, gamma, *running = (array.reshape(-1)[:channels] for array in self._parameters(inputs))
        means, inverses, variances = (np.empty(channels, np.float32) for _ in range(3))
        floor = np.zeros(x.shape[1], np.float32)  # NumPy compares two arrays five times faster than one with a number

        def work(part: slice) -> None:
            if self._batch_stat:
                means[part] = _sums(x[part]) / np.float32(x.shape[1])
            else:
                means[part], variances[part] = (array[part] for array in running)
            out = np.subtract(x[part], means[part, None], out=y[part])
            if self._batch_stat:
                variances[part] = _sums(out, out) / np.float32(x.shape[1])
            inverses[part] = 1 / np.sqrt(variances[part] + np.float32(self._eps))
            out *= (gamma[part] * inverses[part])[:, None]
            out += beta[part, None]
            if shortcut:
                out += shortcut[0][part]
            if self._ceiling is not None:
                np.maximum(out, floor, out=out)
                if np.isfinite(self._ceiling):
                    np.minimum(out, floor + np.float32(self._ceiling), out=out)

        over(channels, work, work=x.size, most=_BLOCK // x.shape[1])
        if self._batch_stat:
            self._note(means, variances, x.shape[1], running)
        self._saved = means, inverses

    def _parameters(self, inputs):
        return inputs[1].d, inputs[2].d, *(parameter.d for parameter in self._running)

    def _note(self, means, variances, count: int, running) -> None:
        """Hand the batch's statistics on, or move the running ones towards them."""
        if self._record is not None:
            self._record(means, variances)
            return
        for kept, new in zip(running, (means, variances * np.float32(count / max(count - 1, 1))), strict=True):
            kept *= self._decay_rate
            kept += np.float32(1 - self._decay_rate) * new

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        channels = inputs[0].shape[0]
        x, y, dy = (array.reshape(channels, -1) for array in (inputs[0].d, outputs[0].d, outputs[0].g))
        means, inverses = self._saved
        scales = inputs[2].d.reshape(-1)[:channels] * inverses
        dbeta, dgamma = (np.empty(channels, np.float32) for _ in range(2))
        with ExitStack() as stack:

            def destination(i: int) -> np.ndarray | None:
                if i >= len(inputs) or not propagate_down[i]:
                    return None
                return stack.enter_context(gradient(inputs[i], accum[i])).reshape(channels, -1)

            dx, dshortcut = destination(0), destination(3)

            def work(part: slice) -> None:
                before = self._before_activation(y[part], dy[part], None if dshortcut is None else dshortcut[part])
                dbeta[part] = _sums(before)
                dgamma[part] = _sums(before, x[part]) - means[part] * dbeta[part]
                dgamma[part] *= inverses[part]
                if dx is not None and self._batch_stat:  # the gradient through the batch's mean and variance
                    slope = -dgamma[part] * inverses[part] / np.float32(x.shape[1])
                    out = np.multiply(x[part], slope[:, None], out=dx[part])
                    out += before
                    out -= (dbeta[part] / np.float32(x.shape[1]) + slope * means[part])[:, None]
                    out *= scales[part, None]
                elif dx is not None:
                    np.multiply(before, scales[part, None], out=dx[part])

            over(channels, work, work=x.size, most=_BLOCK // x.shape[1])
        for i, value in ((1, dbeta), (2, dgamma)):
            if propagate_down[i]:
                store_corner(inputs[i], value.reshape(1, channels, 1, 1), accum[i])

    def _before_activation(self, y, dy, out):
        """Gradient at the activation's input, (c, n), in `out` where it is given."""
        if self._ceiling is None:
            if out is None:
                return dy
            out[...] = dy
            return out
        active = y > 0
        if np.isfinite(self._ceiling):
            active &= y < self._ceiling
        return np.multiply(dy, active, out=out)


def _sums(*maps: np.ndarray) -> np.ndarray:
    """Sums (c,) over each channel of the product of maps (c, n), by halves down to short runs.

    Equal pixels, of which photographs have many, make one long float32 sum err in one direction, by 1e-5 for 4,096.
    """
    channels, run = maps[0].shape
    while run > _RUN and run % 2 == 0:
        run //= 2
    runs = [each.reshape(channels, -1, run) for each in maps]
    return np.einsum(",".join(["crn"] * len(runs)) + "->cr", *runs).sum(axis=1)
