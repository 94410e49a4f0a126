"""Depthwise convolution on a CPU: each channel of a map (C, B, H, W) by a window of its own, as an NNabla function.

The window may be the middle of a larger one that is shared, times learnt matrices (Once-for-All's kernel transforms).
"""

from collections.abc import Sequence
from math import isqrt

import numpy as np

from . import depthwise_passes as passes
from .convolution import Kernel, Window, store_corner
from .parallel import over

_NOTHING, _NO_WINDOWS = np.empty((0, 0, 0, 0), np.float32), np.empty((0, 0, 0), np.float32)  # what is not asked for


def shrunk(weight: np.ndarray, matrices: Sequence[np.ndarray]) -> np.ndarray:
    """Windows (c, 1, K, K) made smaller step by step: the middle, in a row, times the matrix (k², k²) of each step."""
    for matrix in matrices:
        middle = _middle(weight, isqrt(len(matrix)))
        weight = (middle.reshape(len(weight), -1) @ matrix).reshape(middle.shape)
    return weight


def _middle(weight: np.ndarray, side: int) -> np.ndarray:
    edge = (weight.shape[2] - side) // 2
    return weight[:, :, edge : edge + side, edge : edge + side]


class Depthwise(Kernel):
    """y = w ∗ x channel by channel, for the windows w of the first c channels, `shrunk`. Inputs: x (c, B, H, W), the
    weight (C, 1, K, K), and the matrices of the steps to the window's side."""

    def __init__(self, window: Window):
        super().__init__()
        self._window = window

    def setup_impl(self, inputs, outputs):
        channels, batch, *sides = inputs[0].shape
        outputs[0].reset_shape((channels, batch, *map(self._window.output, sides)), True)

    def _windows(self, inputs) -> list[np.ndarray]:
        """The windows before the first step, and behind each."""
        found = [inputs[1].d[: len(inputs[0].d)]]
        for matrix in inputs[2:]:
            found.append(shrunk(found[-1], [matrix.d]))
        return found

    def forward_impl(self, inputs, outputs):
        x, y, w = inputs[0].d, outputs[0].d, np.ascontiguousarray(self._windows(inputs)[-1][:, 0])
        stride, pad = self._window[1:]
        over(len(x), lambda part: passes.forward(x, w, part.start, part.stop, stride, pad, y), work=y.size * w[0].size)

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        x, dy, windows = inputs[0].d, outputs[0].g, self._windows(inputs)
        w, (_, stride, pad) = np.ascontiguousarray(windows[-1][:, 0]), self._window
        dx = inputs[0].g if propagate_down[0] else _NOTHING
        dw = np.empty_like(w) if any(propagate_down[1:]) else _NO_WINDOWS
        if not accum[0]:
            dx[...] = 0
        over(
            len(x),
            lambda part: passes.backward(x, w, dy, part.start, part.stop, stride, pad, dx, dw),
            work=2 * dy.size * w[0].size,
        )
        if dw.size:
            self._back_through_steps(inputs, windows, dw[:, None], propagate_down, accum)

    def _back_through_steps(self, inputs, windows, slope: np.ndarray, propagate_down, accum) -> None:
        for step in range(len(inputs) - 1, 1, -1):
            larger, flat = windows[step - 2], slope.reshape(len(slope), -1)
            matrix, middle = inputs[step].d, _middle(larger, slope.shape[2])
            if propagate_down[step]:
                store_corner(inputs[step], middle.reshape(flat.shape).T @ flat, accum[step])
            slope = np.zeros_like(larger)
            _middle(slope, middle.shape[2])[...] = (flat @ matrix.T).reshape(middle.shape)
        if propagate_down[1]:
            store_corner(inputs[1], slope, accum[1])
