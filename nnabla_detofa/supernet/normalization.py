"""Batch normalisation on a CPU, with shortcut and activation in one pass over channel-major maps (C, B, H, W)."""

import nnabla as nn
import numpy as np

from .kernels import Kernel, store, store_corner
from .parallel import run, split


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
        channels, batch = inputs[0].shape[:2]
        x, y, *shortcut = (v.d.reshape(channels, -1) for v in (inputs[0], outputs[0], *inputs[3:]))
        beta, gamma, *running = (array.reshape(-1)[:channels] for array in self._parameters(inputs))
        means, inverses, variances = (np.empty(channels, np.float32) for _ in range(3))

        def work(part: slice) -> None:
            if self._batch_stat:
                means[part] = x[part].mean(axis=1)
                centred = np.subtract(x[part], means[part, None], out=y[part])
                by_image = centred.reshape(len(centred), batch, -1)  # float32 sums stay exact over an image's pixels
                variances[part] = np.einsum("cbn,cbn->cb", by_image, by_image).sum(axis=1) / np.float32(x.shape[1])
            else:
                means[part], variances[part] = (array[part] for array in running)
            inverses[part] = 1 / np.sqrt(variances[part] + np.float32(self._eps))
            scale = gamma[part] * inverses[part]
            np.multiply(x[part], scale[:, None], out=y[part])
            y[part] += (beta[part] - means[part] * scale)[:, None]
            if shortcut:
                y[part] += shortcut[0][part]
            if self._ceiling is not None:
                np.clip(y[part], 0, None if np.isinf(self._ceiling) else self._ceiling, out=y[part])

        run(work, split(channels, x.size))
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
        dx = np.empty_like(x)
        dshortcut = np.empty_like(x) if len(inputs) == 4 and propagate_down[3] else None

        def work(part: slice) -> None:
            gradient = self._before_activation(y[part], dy[part])
            dbeta[part] = gradient.sum(axis=1)
            dgamma[part] = np.einsum("cn,cn->c", gradient, x[part]) - means[part] * dbeta[part]
            dgamma[part] *= inverses[part]
            if dshortcut is not None:
                dshortcut[part] = gradient
            if propagate_down[0]:
                scale = scales[part]
                np.multiply(gradient, scale[:, None], out=dx[part])
                if self._batch_stat:
                    slope = -scale * dgamma[part] * inverses[part] / np.float32(x.shape[1])
                    dx[part] += slope[:, None] * x[part]
                    dx[part] -= (scale * dbeta[part] / np.float32(x.shape[1]) + slope * means[part])[:, None]

        run(work, split(channels, x.size))
        for i, value in ((1, dbeta), (2, dgamma)):
            if propagate_down[i]:
                store_corner(inputs[i], value.reshape(1, channels, 1, 1), accum[i])
        if dshortcut is not None:
            store(inputs[3], dshortcut.reshape(inputs[3].shape), accum[3])
        if propagate_down[0]:
            store(inputs[0], dx.reshape(inputs[0].shape), accum[0])

    def _before_activation(self, y, dy):
        """Gradient at the activation's input, (c, n)."""
        if self._ceiling is None:
            return dy
        active = y > 0
        if np.isfinite(self._ceiling):
            active &= y < self._ceiling
        return dy * active
