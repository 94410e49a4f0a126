"""Elastic layers on a CPU: matrix products over channel-major feature maps (C, B, H, W), as NNabla functions.

NNabla's CPU slice of a weight is far slower than the copy it stands for, and its convolution runs on one thread. With
channels first and the batch second, a convolution is one matrix product over all pixels of all images, and the active
corner of a shared weight is a view. Gradients are written to the active corner alone.
"""

from typing import NamedTuple

import nnabla as nn
import numpy as np
from nnabla.function import PythonFunction

_CHUNK_BYTES = 1 << 24  # of unfolded pixels at a time: stays in the last-level cache


class Window(NamedTuple):
    """A square sliding window: side, stride and zero padding in pixels."""

    kernel: int
    stride: int
    pad: int

    def output(self, side: int) -> int:
        """Number of window positions along an image side of `side` pixels."""
        return (side + 2 * self.pad - self.kernel) // self.stride + 1

    @property
    def pointwise(self) -> bool:
        """Whether unfolding is the identity."""
        return self == (1, 1, 0)


def unfold(x: np.ndarray, window: Window) -> np.ndarray:
    """Every window of x (C, B, H, W) as a column: (C·k·k, B·H'·W')."""
    channels, batch, height, width = x.shape
    if window.pointwise:
        return x.reshape(channels, -1)
    kernel, stride, pad = window
    rows, columns = window.output(height), window.output(width)
    padded = np.zeros((channels, batch, height + 2 * pad, width + 2 * pad), x.dtype)
    padded[:, :, pad : pad + height, pad : pad + width] = x
    out = np.empty((channels, kernel, kernel, batch, rows, columns), x.dtype)
    for i in range(kernel):
        for j in range(kernel):
            out[:, i, j] = padded[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
    return out.reshape(channels * kernel * kernel, -1)


def fold(columns: np.ndarray, shape: tuple[int, ...], window: Window) -> np.ndarray:
    """The adjoint of `unfold`: columns added back into a map of `shape` (C, B, H, W)."""
    if window.pointwise:
        return columns.reshape(shape)
    channels, batch, height, width = shape
    kernel, stride, pad = window
    n_rows, n_columns = window.output(height), window.output(width)
    taps = columns.reshape(channels, kernel, kernel, batch, n_rows, n_columns)
    padded = np.zeros((channels, batch, height + 2 * pad, width + 2 * pad), columns.dtype)
    for i in range(kernel):
        for j in range(kernel):
            padded[:, :, i : i + stride * n_rows : stride, j : j + stride * n_columns : stride] += taps[:, i, j]
    return padded[:, :, pad : pad + height, pad : pad + width]


def _batches(channels: int, batch: int, pixels: int, window: Window):
    """Slices of the batch whose unfolded pixels fit the chunk size."""
    per_image = 4 * channels * window.kernel**2 * pixels
    step = batch if window.pointwise else max(1, min(batch, _CHUNK_BYTES // max(per_image, 1)))
    return [slice(start, min(start + step, batch)) for start in range(0, batch, step)]


def _matrix(weight: np.ndarray, n_out: int, n_in: int) -> np.ndarray:
    """Active corner of a (O, I, k, k) weight as a matrix (o, i·k·k): a view, whose long rows BLAS takes as they are."""
    return weight.reshape(len(weight), -1)[:n_out, : n_in * weight.shape[2] * weight.shape[3]]


def _store(variable, value: np.ndarray, accumulate: bool) -> None:
    """Write or add a gradient that has the variable's whole shape."""
    if accumulate:
        variable.g += value
    else:
        variable.g = value


def _store_corner(variable, value: np.ndarray, accumulate: bool) -> None:
    """Write or add a gradient to the leading corner of a shared parameter; the rest of it gets none."""
    if not accumulate:
        variable.grad.zero()
    variable.g[tuple(slice(n) for n in value.shape)] += value


class _WeightGradient:
    """Adds products to the active corner of a weight's gradient, where it lies."""

    def __init__(self, variable, n_out: int, n_in: int, accumulate: bool):
        if not accumulate:
            variable.grad.zero()
        self._corner = _matrix(variable.g, n_out, n_in)
        self._empty = not accumulate

    def add(self, left: np.ndarray, right: np.ndarray) -> None:
        """+= left · right."""
        if self._empty:
            np.matmul(left, right, out=self._corner)
            self._empty = False
        else:
            self._corner += left @ right


class _Kernel(PythonFunction):
    """What the kernels share: float32 maps in and out, gradients that need the inputs."""

    @property
    def name(self):
        return type(self).__name__

    def min_outputs(self):
        return 1

    def grad_depends_input_data(self, i, j):  # noqa: ARG002 - NNabla's signature
        return True

    def grad_depends_output_data(self, i, o):  # noqa: ARG002
        return False


class Convolution(_Kernel):
    """y = W[:o, :i] ∗ x, with i the channels of x. Inputs: x (i, B, H, W), W (O, I, k, k), optionally b (O,)."""

    def __init__(self, n_out: int, window: Window):
        super().__init__(nn.get_current_context())
        self._n_out, self._window = n_out, window

    def setup_impl(self, inputs, outputs):
        _, batch, height, width = inputs[0].shape
        output = self._window.output
        outputs[0].reset_shape((self._n_out, batch, output(height), output(width)), True)

    def _chunks(self, x, y):
        return _batches(x.shape[0], x.shape[1], y.shape[2] * y.shape[3], self._window)

    def forward_impl(self, inputs, outputs):
        x, y = inputs[0].d, outputs[0].d
        matrix = _matrix(inputs[1].d, self._n_out, x.shape[0])
        chunks = self._chunks(x, y)
        for part in chunks:
            columns = unfold(x[:, part], self._window)
            if len(chunks) == 1:
                np.matmul(matrix, columns, out=y.reshape(self._n_out, -1))
            else:
                y[:, part] = (matrix @ columns).reshape(y[:, part].shape)
        if len(inputs) == 3:
            y += inputs[2].d[: self._n_out, None, None, None]

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        x, dy = inputs[0].d, outputs[0].g
        n_in, window = x.shape[0], self._window
        matrix = _matrix(inputs[1].d, self._n_out, n_in)
        dweight = _WeightGradient(inputs[1], self._n_out, n_in, accum[1]) if propagate_down[1] else None
        dx = np.empty_like(x) if propagate_down[0] else None
        for part in self._chunks(x, dy):
            dy_part = dy[:, part].reshape(self._n_out, -1)
            if dweight is not None:
                dweight.add(dy_part, unfold(x[:, part], window).T)
            if dx is not None:
                dx[:, part] = fold(matrix.T @ dy_part, x[:, part].shape, window)
        if dx is not None:
            _store(inputs[0], dx, accum[0])
        if len(inputs) == 3 and propagate_down[2]:
            _store_corner(inputs[2], dy.sum(axis=(1, 2, 3)), accum[2])


class Deconvolution(_Kernel):
    """The adjoint of a convolution: x (i, B, H, W) and W (I, O, k, k) give (O, B, s·H, s·W) where k = s + 2·pad."""

    def __init__(self, window: Window):
        super().__init__(nn.get_current_context())
        self._window = window

    def setup_impl(self, inputs, outputs):
        _, batch, height, width = inputs[0].shape
        kernel, stride, pad = self._window
        sides = [(side - 1) * stride + kernel - 2 * pad for side in (height, width)]
        outputs[0].reset_shape((inputs[1].shape[1], batch, *sides), True)

    def _chunks(self, x, y):
        return _batches(y.shape[0], x.shape[1], x.shape[2] * x.shape[3], self._window)

    def forward_impl(self, inputs, outputs):
        x, y = inputs[0].d, outputs[0].d
        matrix = _matrix(inputs[1].d, x.shape[0], y.shape[0])
        for part in self._chunks(x, y):
            y[:, part] = fold(matrix.T @ x[:, part].reshape(x.shape[0], -1), y[:, part].shape, self._window)

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        x, dy = inputs[0].d, outputs[0].g
        n_in, n_out = x.shape[0], dy.shape[0]
        matrix, dx = _matrix(inputs[1].d, n_in, n_out), np.empty_like(x)
        dweight = _WeightGradient(inputs[1], n_in, n_out, accum[1]) if propagate_down[1] else None
        for part in self._chunks(x, dy):
            columns = unfold(dy[:, part], self._window)
            if dweight is not None:
                dweight.add(x[:, part].reshape(n_in, -1), columns.T)
            dx[:, part] = (matrix @ columns).reshape(x[:, part].shape)
        if propagate_down[0]:
            _store(inputs[0], dx, accum[0])


class BatchNormalization(_Kernel):
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
        shape = inputs[0].shape
        x, y = inputs[0].d.reshape(shape[0], -1), outputs[0].d.reshape(shape[0], -1)
        beta, gamma = (inputs[i].d.reshape(-1)[: shape[0]] for i in (1, 2))
        mean, inverse = self._statistics(x, y)
        scale = gamma * inverse
        np.multiply(x, scale[:, None], out=y)
        y += (beta - mean * scale)[:, None]
        if len(inputs) == 4:
            y += inputs[3].d.reshape(shape[0], -1)
        if self._ceiling is not None:
            np.clip(y, 0, self._ceiling, out=y) if np.isfinite(self._ceiling) else np.maximum(y, 0, out=y)
        self._saved = mean, inverse

    def _statistics(self, x, scratch):
        """Mean and 1/√(variance + ε), each (c,), of the batch or the running ones."""
        channels, count = x.shape
        mean, variance = (parameter.d.reshape(-1)[:channels] for parameter in self._running)
        if self._batch_stat:
            batch_mean = x.mean(axis=1)
            np.subtract(x, batch_mean[:, None], out=scratch)
            batch_variance = np.einsum("cn,cn->c", scratch, scratch) / np.float32(count)
            if self._record is not None:
                self._record(batch_mean, batch_variance)
            else:
                decay = self._decay_rate
                mean[:] = decay * mean + (1 - decay) * batch_mean
                variance[:] = decay * variance + (1 - decay) * batch_variance * count / max(count - 1, 1)
            mean, variance = batch_mean, batch_variance
        return mean.copy(), 1 / np.sqrt(variance + np.float32(self._eps))

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        channels = inputs[0].shape[0]
        x, y, dy = (array.reshape(channels, -1) for array in (inputs[0].d, outputs[0].d, outputs[0].g))
        mean, inverse = self._saved
        gradient = self._before_activation(y, dy)
        dbeta = gradient.sum(axis=1)
        dgamma = (np.einsum("cn,cn->c", gradient, x) - mean * dbeta) * inverse
        for i, value in ((1, dbeta), (2, dgamma)):
            if propagate_down[i]:
                _store_corner(inputs[i], value.reshape(1, channels, 1, 1), accum[i])
        if len(inputs) == 4 and propagate_down[3]:
            _store(inputs[3], gradient.reshape(inputs[3].shape), accum[3])
        if propagate_down[0]:
            scale = inputs[2].d.reshape(-1)[:channels] * inverse
            dx = gradient * scale[:, None]
            if self._batch_stat:
                slope = -scale * dgamma * inverse / x.shape[1]
                dx += slope[:, None] * x
                dx -= (scale * dbeta / x.shape[1] + slope * mean)[:, None]
            _store(inputs[0], dx.reshape(inputs[0].shape), accum[0])

    def _before_activation(self, y, dy):
        """Gradient at the activation's input, (c, n)."""
        if self._ceiling is None:
            return dy
        active = y > 0
        if np.isfinite(self._ceiling):
            active &= y < self._ceiling
        return dy * active
