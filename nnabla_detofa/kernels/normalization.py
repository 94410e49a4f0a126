"""Batch normalisation on a CPU, with shortcut and activation in one pass over channel-major maps (C, B, H, W)."""

import numpy as np

from . import passes
from .convolution import Kernel, store_corner
from .parallel import over

_INFINITY = np.float32(np.inf)
_NOTHING = np.empty((0, 0), np.float32)  # in place of a map that is not there


class BatchNormalization(Kernel):
    """y = act(γ (x − μ)/√(σ² + ε) + β [+ shortcut]). Inputs: x (c, B, H, W), β, γ (1, C, 1, 1), and any shortcut.

    Args:
        mean, variance: running statistics (1, C, 1, 1). Used where `batch_stat` is false; otherwise their first c
            values move towards the batch's own (with Bessel's correction for the variance, as NNabla does).
        ceiling: None without activation, infinity for ReLU, 6 for ReLU6.
        record: called with the batch's (mean, variance), each (c,), where it is given: BN re-estimation.
    """

    def __init__(self, mean, variance, *, batch_stat, decay_rate, eps, ceiling, record=None):
        super().__init__()
        self._running = mean, variance
        self._batch_stat, self._decay_rate, self._eps = batch_stat, decay_rate, eps
        self._bounds = (-_INFINITY, _INFINITY) if ceiling is None else (np.float32(0), np.float32(ceiling))
        self._record = record

    def grad_depends_output_data(self, i, o):  # noqa: ARG002
        return self._bounds[0] == 0

    def forward_impl(self, inputs, outputs):
        channels = inputs[0].shape[0]
        x, y, *shortcut = (v.d.reshape(channels, -1) for v in (inputs[0], outputs[0], *inputs[3:]))
        beta, gamma, *running = (array.reshape(-1)[:channels] for array in self._parameters(inputs))
        means, variances = (np.empty_like(beta) for _ in range(2)) if self._batch_stat else running
        scales = np.empty_like(beta)

        def work(part: slice) -> None:
            if self._batch_stat:
                passes.moments(x, part.start, part.stop, means, variances)
            scales[part] = gamma[part] / np.sqrt(variances[part] + np.float32(self._eps))
            more = shortcut[0] if shortcut else _NOTHING
            passes.normalise(x, part.start, part.stop, means, scales, beta, more, *self._bounds, y)

        over(channels, work, work=x.size)
        self._saved = (means, variances) if self._batch_stat else (means.copy(), variances.copy())
        if self._batch_stat:
            self._note(means, variances, x.shape[1], running)

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
        x, dy = (array.reshape(channels, -1) for array in (inputs[0].d, outputs[0].g))
        # without an activation nothing is clipped, and NNabla may have cleared the output
        y = outputs[0].d.reshape(channels, -1) if self.grad_depends_output_data(0, 0) else x
        means, variances = self._saved
        inverses = 1 / np.sqrt(variances + np.float32(self._eps))
        scales = inputs[2].d.reshape(-1)[:channels] * inverses
        dbeta, dgamma, by_x, constants = (np.zeros(channels, np.float32) for _ in range(4))
        dx, dshortcut = (
            inputs[i].g.reshape(channels, -1) if i < len(inputs) and propagate_down[i] else _NOTHING for i in (0, 3)
        )

        def work(part: slice) -> None:
            span = part.start, part.stop
            passes.slopes(x, y, dy, *span, means, *self._bounds, dbeta, dgamma, dshortcut, accum[-1])
            dgamma[part] *= inverses[part]
            if self._batch_stat:  # the gradient through the batch's mean and variance
                n = np.float32(x.shape[1])
                by_x[part] = -scales[part] * inverses[part] * dgamma[part] / n
                constants[part] = -scales[part] * dbeta[part] / n
            if dx.size:
                passes.normalise_back(x, y, dy, *span, means, scales, by_x, constants, *self._bounds, dx, accum[0])

        over(channels, work, work=2 * x.size)
        for i, value in ((1, dbeta), (2, dgamma)):
            if propagate_down[i]:
                store_corner(inputs[i], value.reshape(1, channels, 1, 1), accum[i])
