"""Elastic layers on a CPU: matrix products over channel-major feature maps (C, B, H, W), as NNabla functions.

NNabla's CPU slice of a weight is far slower than the copy it stands for, and its convolution runs on one thread. With
channels first and the batch second, a convolution is one matrix product over all pixels of all images, and the active
corner of a shared weight is a view. Gradients are written to the active corner alone.
"""

from typing import NamedTuple

import nnabla as nn
import numpy as np
from nnabla.function import PythonFunction

from .parallel import run, split

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


POINTWISE = Window(1, 1, 0)


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


def _images(channels: int, batch: int, pixels: int, window: Window) -> list[slice]:
    """Slices of the batch for the threads, whose unfolded pixels fit the chunk size."""
    per_image = channels * window.kernel**2 * pixels
    most = None if window.pointwise else _CHUNK_BYTES // (4 * per_image)
    return split(batch, batch * per_image, most=most)


def _columns(x: np.ndarray, images: slice, window: Window) -> np.ndarray:
    """`unfold` of some images of x; a view where it is the identity."""
    if window.pointwise:
        pixels = x.shape[2] * x.shape[3]
        return x.reshape(len(x), -1)[:, images.start * pixels : images.stop * pixels]
    return unfold(x[:, images], window)


def _matrix(weight: np.ndarray, n_out: int, n_in: int) -> np.ndarray:
    """Active corner of a (O, I, k, k) weight as a matrix (o, i·k·k): a view, whose long rows BLAS takes as they are."""
    return weight.reshape(len(weight), -1)[:n_out, : n_in * weight.shape[2] * weight.shape[3]]


def store(variable, value: np.ndarray, accumulate: bool) -> None:
    """Write or add a gradient that has the variable's whole shape."""
    if accumulate:
        variable.g += value
    else:
        variable.g = value


def store_corner(variable, value: np.ndarray, accumulate: bool) -> None:
    """Write or add a gradient to the leading corner of a shared parameter; the rest of it gets none."""
    if not accumulate:
        variable.grad.zero()
    variable.g[tuple(slice(n) for n in value.shape)] += value


def _store_products(variable, n_out: int, n_in: int, products: list[np.ndarray], accumulate: bool) -> None:
    """Write or add a sum of matrices (n_out, n_in·k·k) to the active corner of a weight's gradient, where it lies."""
    if not accumulate:
        variable.grad.zero()
    corner = _matrix(variable.g, n_out, n_in)
    for product in products:
        corner += product


class Kernel(PythonFunction):
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


class Convolution(Kernel):
    """y = W[:o, :i] ∗ x, with i the channels of x. Inputs: x (i, B, H, W), W (O, I, k, k), optionally b (O,)."""

    def __init__(self, n_out: int, window: Window):
        super().__init__(nn.get_current_context())
        self._n_out, self._window = n_out, window

    def setup_impl(self, inputs, outputs):
        _, batch, height, width = inputs[0].shape
        output = self._window.output
        outputs[0].reset_shape((self._n_out, batch, output(height), output(width)), True)

    def _parts(self, x, y) -> list[slice]:
        return _images(x.shape[0], x.shape[1], y.shape[2] * y.shape[3], self._window)

    def forward_impl(self, inputs, outputs):
        x, y = inputs[0].d, outputs[0].d
        matrix = _matrix(inputs[1].d, self._n_out, x.shape[0])
        bias = inputs[2].d[: self._n_out, None] if len(inputs) == 3 else None

        def work(images: slice) -> None:
            out = _columns(y, images, POINTWISE)
            np.matmul(matrix, _columns(x, images, self._window), out=out)
            if bias is not None:
                out += bias

        run(work, self._parts(x, y))

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        x, dy = inputs[0].d, outputs[0].g
        n_in, window = x.shape[0], self._window
        matrix = _matrix(inputs[1].d, self._n_out, n_in)
        dx = np.empty_like(x) if propagate_down[0] else None

        def work(images: slice) -> np.ndarray | None:
            dy_part = _columns(dy, images, POINTWISE)
            if dx is not None:
                dx[:, images] = fold(matrix.T @ dy_part, x[:, images].shape, window)
            return dy_part @ _columns(x, images, window).T if propagate_down[1] else None

        products = run(work, self._parts(x, dy))
        if dx is not None:
            store(inputs[0], dx, accum[0])
        if propagate_down[1]:
            _store_products(inputs[1], self._n_out, n_in, products, accum[1])
        if len(inputs) == 3 and propagate_down[2]:
            store_corner(inputs[2], dy.sum(axis=(1, 2, 3)), accum[2])


class Deconvolution(Kernel):
    """The adjoint of a convolution: x (i, B, H, W) and W (I, O, k, k) give (O, B, s·H, s·W) where k = s + 2·pad."""

    def __init__(self, window: Window):
        super().__init__(nn.get_current_context())
        self._window = window

    def setup_impl(self, inputs, outputs):
        _, batch, height, width = inputs[0].shape
        kernel, stride, pad = self._window
        sides = [(side - 1) * stride + kernel - 2 * pad for side in (height, width)]
        outputs[0].reset_shape((inputs[1].shape[1], batch, *sides), True)

    def _parts(self, x, y) -> list[slice]:
        return _images(y.shape[0], x.shape[1], x.shape[2] * x.shape[3], self._window)

    def forward_impl(self, inputs, outputs):
        x, y = inputs[0].d, outputs[0].d
        matrix = _matrix(inputs[1].d, x.shape[0], y.shape[0])

        def work(images: slice) -> None:
            y[:, images] = fold(matrix.T @ _columns(x, images, POINTWISE), y[:, images].shape, self._window)

        run(work, self._parts(x, y))

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        x, dy = inputs[0].d, outputs[0].g
        n_in, n_out = x.shape[0], dy.shape[0]
        matrix, dx = _matrix(inputs[1].d, n_in, n_out), np.empty_like(x)

        def work(images: slice) -> np.ndarray | None:
            columns = unfold(dy[:, images], self._window)
            dx[:, images] = (matrix @ columns).reshape(x[:, images].shape)
            return _columns(x, images, POINTWISE) @ columns.T if propagate_down[1] else None

        products = run(work, self._parts(x, dy))
        if propagate_down[0]:
            store(inputs[0], dx, accum[0])
        if propagate_down[1]:
            _store_products(inputs[1], n_in, n_out, products, accum[1])
