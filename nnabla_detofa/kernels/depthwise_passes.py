"""Passes of a depthwise convolution over maps (C, B, H, W), as those of `passes`.

An image is laid out with its padding, every stride-th row and column together: then each tap of the window is one loop
over what lies in one piece, with a few places more at the end of each row.
"""

import numpy as np

from .passes import RUN, ZERO, accumulate, clear, compiled, copy


@compiled
def _lay(image, pad, phases):
    """Every stride-th row and column of a padded image (H, W), from each of the first on: (s, s, H', W'), whose padding
    is zero already."""
    stride, width = phases.shape[0], image.shape[1]
    for row in range(image.shape[0]):
        for phase in range(min(stride, width)):
            column, taken = (phase + pad) // stride, image[row, phase::stride]
            to = phases[(row + pad) % stride, (phase + pad) % stride, (row + pad) // stride]
            copy(taken, to[column : column + taken.size])


@compiled
def _lift(phases, pad, image):
    """The adjoint of `_lay`, added to the image."""
    stride, width = phases.shape[0], image.shape[1]
    for row in range(image.shape[0]):
        for phase in range(min(stride, width)):
            column, to = (phase + pad) // stride, image[row, phase::stride]
            accumulate(phases[(row + pad) % stride, (phase + pad) % stride, (row + pad) // stride, column:], to)


@compiled
def _phases(sides, stride, pad):
    """Room for a map of these sides, see `_lay`."""
    height, width = sides
    return np.zeros((stride, stride, -(-(height + 2 * pad) // stride), -(-(width + 2 * pad) // stride)), np.float32)


@compiled
def _add_times(x, factor, to):
    for q in range(to.size):
        to[q] += factor * x[q]


@compiled
def _product(x, y):
    """Σ x · y, in pieces, as sums in `passes`."""
    total = 0.0
    for start in range(0, y.size, RUN):
        one, other, part = x[start : start + RUN], y[start : start + RUN], ZERO
        for q in range(other.size):
            part += one[q] * other[q]
        total += part
    return total


@compiled
def forward(x, w, first, last, stride, pad, y):
    """Channels first..last of y (C, n, H', W'): those of x (C, n, H, W) by windows w (C, k, k)."""
    kernel, phases = w.shape[1], _phases(x.shape[2:], stride, pad)
    rows, n, pitch = y.shape[2], y.shape[3], phases.shape[3]
    out = np.empty(rows * pitch, np.float32)
    used = out[: (rows - 1) * pitch + n]
    for c in range(first, last):
        for b in range(x.shape[1]):
            _lay(x[c, b], pad, phases)
            clear(out)
            for i in range(kernel):
                for j in range(kernel):
                    taken = phases[i % stride, j % stride].ravel()[i // stride * pitch + j // stride :]
                    _add_times(taken, w[c, i, j], used)
            for row in range(rows):
                copy(out[row * pitch :], y[c, b, row])


@compiled
def backward(x, w, dy, first, last, stride, pad, dx, dw):
    """The adjoints of `forward`: in its map, added to dx, and in its windows, written to dw (C, k, k); either empty
    where it is not asked for."""
    kernel, phases = w.shape[1], _phases(x.shape[2:], stride, pad)
    rows, n, pitch = dy.shape[2], dy.shape[3], phases.shape[3]
    slope, back = np.zeros(rows * pitch, np.float32), np.zeros_like(phases)
    used = slope[: (rows - 1) * pitch + n]
    for c in range(first, last):
        for b in range(x.shape[1]):
            for row in range(rows):
                copy(dy[c, b, row], slope[row * pitch : row * pitch + n])
            if dw.size:
                _lay(x[c, b], pad, phases)
            if dx.size:
                clear(back.ravel())
            for i in range(kernel):
                for j in range(kernel):
                    at = i // stride * pitch + j // stride
                    if dw.size:
                        product = _product(phases[i % stride, j % stride].ravel()[at:], used)
                        dw[c, i, j] = product if b == 0 else dw[c, i, j] + product
                    if dx.size:
                        _add_times(used, w[c, i, j], back[i % stride, j % stride].ravel()[at : at + used.size])
            if dx.size:
                _lift(back, pad, dx[c, b])
