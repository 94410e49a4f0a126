"""Elastic layers on a CPU: matrix products over channel-major feature maps (C, B, H, W), as NNabla functions.

NNabla's CPU slice of a weight is far slower than the copy it stands for, and its convolution runs on one thread. With
channels first and the batch second, a convolution is one matrix product over all pixels of all images, and the active
corner of a shared weight is a view. Gradients are written to the active corner alone.
"""

from typing import NamedTuple

import nnabla as nn
import numpy as np
from nnabla.function import PythonFunction

from . import minimal_filtering, passes
from .parallel import over
from .products import product, product_over_columns

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
ALL = slice(None)


def unfold(x: np.ndarray, window: Window, channels: slice = ALL, images: slice = ALL) -> np.ndarray:
    """Every window of some channels and images of x (C, B, H, W) as a column: (c·k·k, b·H'·W')."""
    n_channels, batch, *sides = x.shape
    first, last, _ = channels.indices(n_channels)
    start, stop, _ = images.indices(batch)
    rows, columns = map(window.output, sides)
    out = np.empty(((last - first) * window.kernel**2, (stop - start) * rows * columns), x.dtype)
    passes.unfold(x, first, last, start, stop, *window, out)
    return out


def fold(
    columns: np.ndarray, out: np.ndarray, window: Window, channels: slice = ALL, images: slice = ALL, *, add: bool
) -> None:
    """The adjoint of `unfold`: its columns written or added back to some channels and images of out (C, B, H, W)."""
    first, last, _ = channels.indices(len(out))
    start, stop, _ = images.indices(out.shape[1])
    passes.fold(columns, out, first, last, start, stop, *window, add)


def correlate(matrix: np.ndarray, x: np.ndarray, out: np.ndarray, window: Window, *, add: bool = False) -> None:
    """Write or add matrix (o, C·k·k) @ unfold(x) to out (o, B, H', W').

    The threads share the larger of matrix and windows.
    """
    if window == _MINIMAL and minimal_filtering.pays(matrix, x[0].size):
        minimal_filtering.correlate(matrix, x, out, add=add)
        return
    if window.pointwise:
        _share_product(matrix, _flat(x), _flat(out), add=add)
        return
    batch, n_columns = out.shape[1], out[0].size
    if matrix.size > matrix.shape[1] * n_columns:
        _share_product(matrix, unfold(x, window), _flat(out), add=add)
        return

    def by_images(images: slice) -> None:
        product(matrix, unfold(x, window, images=images), _flat(out[:, images]), add=add)

    over(batch, by_images, work=_work(matrix, n_columns), most=_images_a_chunk(matrix, n_columns, batch))


def spread(matrix: np.ndarray, y: np.ndarray, out: np.ndarray, window: Window, *, add: bool = False) -> None:
    """The adjoint of `correlate` in its map: fold(matrixᵀ @ y) written or added to out (C, B, H, W), for y
    (o, B, H', W')."""
    if window == _MINIMAL and minimal_filtering.pays(matrix, y[0].size):
        minimal_filtering.spread(matrix, y, out, add=add)
        return
    if window.pointwise:
        _share_product(matrix.T, _flat(y), _flat(out), add=add)
        return
    batch, n_columns, taps = y.shape[1], y[0].size, window.kernel**2
    work = _work(matrix, n_columns)
    if matrix.size > matrix.shape[1] * n_columns:

        def by_channels(part: slice) -> None:
            columns = product(matrix[:, taps * part.start : taps * part.stop].T, _flat(y))
            fold(columns, out, window, part, add=add)

        over(len(out), by_channels, work=work)
        return

    def by_images(images: slice) -> None:
        fold(product(matrix.T, _flat(y[:, images])), out, window, images=images, add=add)

    over(batch, by_images, work=work, most=_images_a_chunk(matrix, n_columns, batch))


def add_product(matrix: np.ndarray, y: np.ndarray, x: np.ndarray, window: Window, *, fresh: bool) -> None:
    """The adjoint of `correlate` in its matrix: y @ unfold(x)ᵀ into a matrix that is `fresh` (all zeros) or added to.

    The threads share the channels of x, so no two write to one place and every sum has one order.
    """
    if window == _MINIMAL and minimal_filtering.pays(matrix, x[0].size):
        minimal_filtering.add_product(matrix, y, x)
        return
    if window.pointwise:
        over(
            len(x),
            lambda part: product_over_columns(_flat(y), _flat(x[part]), matrix[:, part], add=not fresh),
            work=_work(matrix, y[0].size),
        )
        return
    batch, n_columns, taps = y.shape[1], y[0].size, window.kernel**2
    images_a_chunk = max(1, _images_a_chunk(matrix, n_columns, batch))

    def by_channels(part: slice) -> None:
        corner = matrix[:, taps * part.start : taps * part.stop]
        for start in range(0, batch, images_a_chunk):
            images = slice(start, min(start + images_a_chunk, batch))
            windows = unfold(x, window, part, images)
            product_over_columns(_flat(y[:, images]), windows, corner, add=not fresh or start > 0)

    over(len(x), by_channels, work=_work(matrix, n_columns))


def _flat(x: np.ndarray) -> np.ndarray:
    """Some channels and images of a map as a matrix with a column a pixel, where it lies."""
    return x.reshape(len(x), -1)


def _work(matrix: np.ndarray, n_columns: int) -> int:
    """What a product costs, in floats passed over."""
    return matrix.size * n_columns // _MACS_A_FLOAT


def _images_a_chunk(matrix: np.ndarray, n_columns: int, batch: int) -> int:
    return _CHUNK_BYTES * batch // (4 * matrix.shape[1] * n_columns)


def _share_product(a: np.ndarray, b: np.ndarray, out: np.ndarray, *, add: bool) -> None:
    """out = a @ b, or more by that; the threads share the rows of a or the columns of b, whichever matrix is larger."""
    work = _work(a, b.shape[1])
    if a.size > b.size:
        over(len(a), lambda rows: product(a[rows], b, out[rows], add=add), work=work)
    else:
        over(b.shape[1], lambda part: product(a, b[:, part], out[:, part], add=add), work=work)


def _matrix(weight: np.ndarray, n_out: int, n_in: int) -> np.ndarray:
    """Active corner of a (O, I, k, k) weight as a matrix (o, i·k·k): a view, whose long rows BLAS takes as they are."""
    return weight.reshape(len(weight), -1)[:n_out, : n_in * weight.shape[2] * weight.shape[3]]


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
    """Base of the kernels: float32 maps in and out, gradients that need the inputs.

    The output has the first input's shape, where a kernel does not say another.
    """

    def __init__(self):
        super().__init__(nn.get_current_context())

    @property
    def name(self):
        return type(self).__name__

    def min_outputs(self):
        return 1

    def setup_impl(self, inputs, outputs):
        outputs[0].reset_shape(inputs[0].shape, True)

    def grad_depends_input_data(self, i, j):  # noqa: ARG002 - NNabla's signature
        return True

    def grad_depends_output_data(self, i, o):  # noqa: ARG002
        return False


class Convolution(Kernel):
    """y = W[:o, :i] ∗ x, with i the channels of x. Inputs: x (i, B, H, W), W (O, I, k, k), optionally b (O,)."""

    def __init__(self, n_out: int, window: Window):
        super().__init__()
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
            spread(_matrix(inputs[1].d, self._n_out, len(x)), dy, inputs[0].g, self._window, add=accum[0])
        if propagate_down[1]:
            _add_to_weight(inputs[1], dy, x, self._window, accumulate=accum[1])
        if len(inputs) == 3 and propagate_down[2]:
            store_corner(inputs[2], dy.sum(axis=(1, 2, 3)), accum[2])


class Deconvolution(Kernel):
    """The adjoint of a convolution: x (i, B, H, W) and W (I, O, k, k) give (O, B, s·H, s·W) where k = s + 2·pad."""

    def __init__(self, window: Window):
        super().__init__()
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
            correlate(_matrix(inputs[1].d, len(x), len(dy)), dy, inputs[0].g, self._window, add=accum[0])
        if propagate_down[1]:
            _add_to_weight(inputs[1], x, dy, self._window, accumulate=accum[1])
