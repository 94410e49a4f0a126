"""Elastic layers on a CPU: matrix products over channel-major feature maps (C, B, H, W), as NNabla functions.

NNabla's CPU slice of a weight is far slower than the copy it stands for, and its convolution runs on one thread. With
channels first and the batch second, a convolution is one matrix product over all pixels of all images, and the active
corner of a shared weight is a view. Gradients are written to the active corner alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import nnabla as nn
import numpy as np
from nnabla.function import PythonFunction

from . import minimal_filtering
from .parallel import over

_CHUNK_BYTES = 1 << 22  # of unfolded pixels at a time: stays in the caches until the product has read it
_MACS_A_FLOAT = 16  # multiply-accumulates of a matrix product in the time that passing over a float takes


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


_MINIMAL = Window(kernel=3, stride=1, pad=1)


def unfold(x: np.ndarray, window: Window) -> np.ndarray:
    """Every window of x (C, B, H, W) as a column: (C·k·k, H'·W'·B).

    The batch comes last, so that a tap of a row of windows is one run in memory; pointwise, x is taken as it lies.
    """
    channels, batch, height, width = x.shape
    if window.pointwise:
        return x.reshape(channels, -1)
    kernel, stride, pad = window
    rows, columns = window.output(height), window.output(width)
    padded = np.zeros((channels, height + 2 * pad, width + 2 * pad, batch), x.dtype)
    padded[:, pad : pad + height, pad : pad + width] = x.transpose(0, 2, 3, 1)
    out = np.empty((channels, kernel, kernel, rows, columns, batch), x.dtype)
    for i in range(kernel):
        for j in range(kernel):
            out[:, i, j] = padded[:, i : i + stride * rows : stride, j : j + stride * columns : stride]
    return out.reshape(channels * kernel * kernel, -1)


def fold(columns: np.ndarray, shape: tuple[int, ...], window: Window) -> np.ndarray:
    """The adjoint of `unfold`: columns added back into a map of `shape` (C, B, H, W)."""
    if window.pointwise:
        return columns.reshape(shape)
    channels, batch, height, width = shape
    kernel, stride, pad = window
    n_rows, n_columns = window.output(height), window.output(width)
    taps = columns.reshape(channels, kernel, kernel, n_rows, n_columns, batch)
    padded = np.zeros((channels, height + 2 * pad, width + 2 * pad, batch), columns.dtype)
    for i in range(kernel):
        for j in range(kernel):
            padded[:, i : i + stride * n_rows : stride, j : j + stride * n_columns : stride] += taps[:, i, j]
    return padded[:, pad : pad + height, pad : pad + width].transpose(0, 3, 1, 2)


def _as_columns(x: np.ndarray, window: Window) -> np.ndarray:
    """A map (C, B, H, W) as a matrix with a column a pixel, in the order of `unfold`'s columns."""
    return (x if window.pointwise else x.transpose(0, 2, 3, 1)).reshape(len(x), -1)


def _from_columns(columns: np.ndarray, out: np.ndarray) -> None:
    """Write what `_as_columns` made of a map of k×k windows back into a map."""
    channels, batch, height, width = out.shape
    out[...] = columns.reshape(channels, height, width, batch).transpose(0, 3, 1, 2)


def correlate(matrix: np.ndarray, x: np.ndarray, out: np.ndarray, window: Window) -> None:
    """out (o, B, H', W') = matrix (o, C·k·k) @ unfold(x). The threads share the larger of matrix and windows."""
    if window == _MINIMAL and minimal_filtering.pays(matrix, x[0].size):
        minimal_filtering.correlate(matrix, x, out)
        return
    if window.pointwise:
        _share_product(matrix, x.reshape(len(x), -1), out.reshape(len(out), -1))
        return
    batch, n_columns = out.shape[1], out[0].size
    work = matrix.size * n_columns // _MACS_A_FLOAT
    if matrix.size > matrix.shape[1] * n_columns:
        columns = unfold(x, window)
        over(len(matrix), lambda rows: _from_columns(matrix[rows] @ columns, out[rows]), work=work)
        return

    def by_images(images: slice) -> None:
        _from_columns(matrix @ unfold(x[:, images], window), out[:, images])

    over(batch, by_images, work=work, most=_CHUNK_BYTES * batch // (4 * matrix.shape[1] * n_columns))


def spread(matrix: np.ndarray, y: np.ndarray, out: np.ndarray, window: Window) -> None:
    """The adjoint of `correlate` in its map: out (C, B, H, W) = fold(matrixᵀ @ y), for y (o, B, H', W')."""
    if window == _MINIMAL and minimal_filtering.pays(matrix, y[0].size):
        minimal_filtering.spread(matrix, y, out)
        return
    if window.pointwise:
        _share_product(matrix.T, y.reshape(len(y), -1), out.reshape(len(out), -1))
        return
    batch, n_columns, taps = y.shape[1], y[0].size, window.kernel**2
    work = matrix.size * n_columns // _MACS_A_FLOAT
    if matrix.size > matrix.shape[1] * n_columns:
        columns = _as_columns(y, window)

        def by_channels(part: slice) -> None:
            rows = matrix[:, taps * part.start : taps * part.stop].T
            out[part] = fold(rows @ columns, out[part].shape, window)

        over(len(out), by_channels, work=work)
        return

    def by_images(images: slice) -> None:
        columns = matrix.T @ _as_columns(y[:, images], window)
        out[:, images] = fold(columns, out[:, images].shape, window)

    over(batch, by_images, work=work, most=_CHUNK_BYTES * batch // (4 * matrix.shape[1] * n_columns))


def add_product(matrix: np.ndarray, y: np.ndarray, x: np.ndarray, window: Window, *, fresh: bool) -> None:
    """The adjoint of `correlate` in its matrix: y @ unfold(x)ᵀ into a matrix that is `fresh` (all zeros) or added to.

    The threads share the channels of x, so no two write to one place and every sum has one order.
    """
    if window == _MINIMAL and minimal_filtering.pays(matrix, x[0].size):
        minimal_filtering.add_product(matrix, y, x)
        return
    batch, n_columns, taps = y.shape[1], y[0].size, window.kernel**2
    images_a_chunk = max(1, _CHUNK_BYTES * batch // (4 * matrix.shape[1] * n_columns))
    for start in range(0, batch, batch if window.pointwise else images_a_chunk):
        images = slice(start, batch if window.pointwise else min(start + images_a_chunk, batch))
        columns, chunk = _as_columns(y[:, images], window), x[:, images]

        def by_channels(part: slice, columns=columns, chunk=chunk, first=fresh and not start) -> None:
            corner = matrix[:, taps * part.start : taps * part.stop]
            windows = unfold(chunk[part], window).T
            if first:
                np.matmul(columns, windows, out=corner)
            else:
                corner += columns @ windows

        over(
            len(x),
            by_channels,
            work=matrix.size * columns.shape[1] // _MACS_A_FLOAT,
            most=None if window.pointwise else _CHUNK_BYTES // (4 * taps * columns.shape[1]),
        )


def _share_product(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    """out = a @ b; the threads share the rows of a or the columns of b, whichever matrix is larger."""
    work = a.size * b.shape[1] // _MACS_A_FLOAT
    if a.size > b.size:
        over(len(a), lambda rows: np.matmul(a[rows], b, out=out[rows]), work=work)
    else:
        over(b.shape[1], lambda part: np.matmul(a, b[:, part], out=out[:, part]), work=work)


def _matrix(weight: np.ndarray, n_out: int, n_in: int) -> np.ndarray:
    """Active corner of a (O, I, k, k) weight as a matrix (o, i·k·k): a view, whose long rows BLAS takes as they are."""
    return weight.reshape(len(weight), -1)[:n_out, : n_in * weight.shape[2] * weight.shape[3]]


@contextmanager
def gradient(variable, accumulate: bool) -> Iterator[np.ndarray]:
    """An array to fill with a gradient of the variable's whole shape; added to the variable's where `accumulate`."""
    if not accumulate:
        yield variable.g
        return
    value, total = np.empty(variable.shape, np.float32), variable.g
    yield value
    over(len(value), lambda part: np.add(total[part], value[part], out=total[part]), work=value.size)


def store_corner(variable, value: np.ndarray, accumulate: bool) -> None:
    """Write or add a gradient to the leading corner of a shared parameter; the rest of it gets none."""
    if not accumulate:
        variable.grad.zero()
    variable.g[tuple(slice(n) for n in value.shape)] += value


def _add_to_weight(variable, y: np.ndarray, x: np.ndarray, window: Window, *, accumulate: bool) -> None:
    """Write or add the weight's gradient y @ unfold(x)ᵀ to its active corner, where it lies."""
    if not accumulate:
        variable.grad.zero()
    fresh = variable.grad.zeroing
    add_product(_matrix(variable.g, len(y), len(x)), y, x, window, fresh=fresh)


class Kernel(PythonFunction):
    """Base of the kernels: float32 maps in and out, gradients that need the inputs."""

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

    def forward_impl(self, inputs, outputs):
        x, y = inputs[0].d, outputs[0].d
        correlate(_matrix(inputs[1].d, self._n_out, len(x)), x, y, self._window)
        if len(inputs) == 3:
            y += inputs[2].d[: self._n_out, None, None, None]

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        x, dy = inputs[0].d, outputs[0].g
        if propagate_down[0]:
            with gradient(inputs[0], accum[0]) as dx:
                spread(_matrix(inputs[1].d, self._n_out, len(x)), dy, dx, self._window)
        if propagate_down[1]:
            _add_to_weight(inputs[1], dy, x, self._window, accumulate=accum[1])
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

    def forward_impl(self, inputs, outputs):
        x, y = inputs[0].d, outputs[0].d
        spread(_matrix(inputs[1].d, len(x), len(y)), x, y, self._window)

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        x, dy = inputs[0].d, outputs[0].g
        if propagate_down[0]:
            with gradient(inputs[0], accum[0]) as dx:
                correlate(_matrix(inputs[1].d, len(x), len(dy)), dy, dx, self._window)
        if propagate_down[1]:
            _add_to_weight(inputs[1], x, dy, self._window, accumulate=accum[1])
