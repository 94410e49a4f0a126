"""Passes over maps that NumPy needs several for: each is one compiled loop that leaves no array between.

Maps are (C, B, H, W) in one piece of memory, columns (C·k·k, n·H'·W') for n images. Every function works on a range of
channels, and those of convolutions on a range of images, so that threads may share a map: none of them holds Python's
lock.
"""

import numpy as np

from ..compiled import compiled as compiled_with

# sums in any order, products into sums: not that nothing is NaN, which has to reach the loss
compiled = compiled_with(fastmath={"reassoc", "contract", "nsz"})
ZERO = np.float32(0)
RUN = 2048  # floats that are summed in single precision: equal pixels make a long sum err in one direction


@compiled
def _span(tap, stride, pad, side, n):
    """The positions first..last - 1 of n whose tap lies on the map."""
    first = max(0, (pad - tap + stride - 1) // stride)
    return first, max(first, min(n, (side - 1 + pad - tap) // stride + 1))


# A loop over the whole of an array is several times faster than one over some of its indices, which might be negative:
# hence functions of slices.


@compiled
def copy(x, to):
    for q in range(to.size):
        to[q] = x[q]


@compiled
def accumulate(x, to):
    for q in range(to.size):
        to[q] += x[q]


@compiled
def clear(to):
    for q in range(to.size):
        to[q] = 0


@compiled
def _clear_edges(tap, down, right):
    """Zero where what lies `down` and `right` of a place of tap (n, H, W) is beyond its edge."""
    n, height, width = tap.shape
    for b in range(n):
        for y in range(height):
            if y + down < 0 or y + down >= height:
                clear(tap[b, y])
            else:
                for q in range(min(width, -right)):
                    tap[b, y, q] = 0
                for q in range(max(0, width - right), width):
                    tap[b, y, q] = 0


@compiled
def _split(x, stride, phases):
    """Every stride-th row and column of x (n, H, W), from each of the first on: (s, s, n, H/s, W/s)."""
    for b in range(phases.shape[2]):
        for row in range(phases.shape[3]):
            for i in range(stride):
                for j in range(stride):
                    for q in range(phases.shape[4]):
                        phases[i, j, b, row, q] = x[b, row * stride + i, q * stride + j]


@compiled
def unfold(x, first, last, start, stop, kernel, stride, pad, columns):
    """Channels first..last of images start..stop of x as columns (channels·k·k, images·H'·W')."""
    height, width = x.shape[2:]
    rows, n = (height + 2 * pad - kernel) // stride + 1, (width + 2 * pad - kernel) // stride + 1
    taps = columns.reshape(last - first, kernel, kernel, stop - start, rows, n)
    even = rows * stride == height and n * stride == width
    phases = np.empty((stride, stride, *taps.shape[3:]) if even and stride > 1 else (0, 0, 0, 0, 0), x.dtype)
    for c in range(last - first):
        if phases.size:
            _split(x[c + first, start:stop], stride, phases)
        for i in range(kernel):
            up, down = _span(i, stride, pad, height, rows)
            for j in range(kernel):
                tap = taps[c, i, j]
                if even:  # a tap is the map, or every stride-th row and column of it, moved as a whole
                    down, right = (i - pad) // stride, (j - pad) // stride
                    taken, out, move = x[c + first, start:stop].ravel(), tap.ravel(), down * n + right
                    if phases.size:
                        taken = phases[(i - pad) % stride, (j - pad) % stride].ravel()
                    copy(taken[max(0, move) :], out[max(0, -move) : max(0, out.size - max(0, move))])
                    _clear_edges(tap, down, right)
                    continue
                left, right = _span(j, stride, pad, width, n)
                clear(tap.ravel())
                for b in range(stop - start):
                    for row in range(up, down):
                        taken = x[c + first, b + start, row * stride + i - pad]
                        copy(taken[left * stride + j - pad :: stride], tap[b, row, left:right])


@compiled
def fold(columns, x, first, last, start, stop, kernel, stride, pad, add):
    """The adjoint of `unfold`: written to x, or added to it. Overwrites the columns."""
    height, width = x.shape[2:]
    rows, n = (height + 2 * pad - kernel) // stride + 1, (width + 2 * pad - kernel) // stride + 1
    taps = columns.reshape(last - first, kernel, kernel, stop - start, rows, n)
    same = stride == 1 and rows == height and n == width
    for c in range(last - first):
        if not add:
            clear(x[c + first, start:stop].ravel())
        for i in range(kernel):
            up, down = _span(i, stride, pad, height, rows)
            for j in range(kernel):
                tap = taps[c, i, j]
                if same:
                    _clear_edges(tap, i - pad, j - pad)
                    to, taken, move = x[c + first, start:stop].ravel(), tap.ravel(), (i - pad) * width + j - pad
                    to = to[max(0, move) : max(0, to.size + min(0, move))]
                    accumulate(taken[max(0, -move) :], to)
                    continue
                left, right = _span(j, stride, pad, width, n)
                for b in range(stop - start):
                    for row in range(up, down):
                        to = x[c + first, b + start, row * stride + i - pad, left * stride + j - pad :: stride]
                        accumulate(tap[b, row, left:right], to[: right - left])


@compiled
def _sum(x):
    """Σ x, in pieces: equal pixels make a long sum in single precision err in one direction."""
    total = 0.0
    for start in range(0, x.size, RUN):
        run, part = x[start : start + RUN], ZERO
        for q in range(run.size):
            part += run[q]
        total += part
    return total


@compiled
def _sum_of_squares(x, centre):
    total = 0.0
    for start in range(0, x.size, RUN):
        run, part = x[start : start + RUN], ZERO
        for q in range(run.size):
            part += (run[q] - centre) * (run[q] - centre)
        total += part
    return total


@compiled
def moments(x, first, last, mean, variance):
    """Mean and variance of each channel of x (C, n), the latter about the former as it is rounded."""
    for c in range(first, last):
        mean[c] = _sum(x[c]) / x.shape[1]
        variance[c] = _sum_of_squares(x[c], mean[c]) / x.shape[1]


@compiled
def normalise(x, first, last, mean, scale, beta, shortcut, lower, upper, y):
    """y = (x - mean) · scale + beta [+ shortcut], clipped; the shortcut is empty where there is none."""
    n = x.shape[1]
    for c in range(first, last):
        row, to, centre, by, move = x[c], y[c], mean[c], scale[c], beta[c]
        for q in range(n):
            to[q] = (row[q] - centre) * by + move
        if shortcut.size:
            more = shortcut[c]
            for q in range(n):
                to[q] += more[q]
        for q in range(n):  # NaN is neither below nor above, and stays
            value = to[q]
            value = lower if value < lower else value
            to[q] = upper if value > upper else value


@compiled
def _slopes_of_run(x, y, dy, centre, lower, upper):
    total, product = ZERO, ZERO
    for q in range(x.size):
        g = ZERO if y[q] <= lower or y[q] >= upper else dy[q]
        total += g
        product += g * (x[q] - centre)
    return total, product


@compiled
def slopes(x, y, dy, first, last, mean, lower, upper, dbeta, dgamma, dshortcut, add):
    """Σ g and Σ g · (x - mean) of each channel, for g the gradient before clipping; g to any shortcut, or added."""
    for c in range(first, last):
        sum_g, sum_gx = 0.0, 0.0
        for start in range(0, x.shape[1], RUN):
            run = slice(start, start + RUN)
            part, product = _slopes_of_run(x[c, run], y[c, run], dy[c, run], mean[c], lower, upper)
            sum_g += part
            sum_gx += product
        dbeta[c], dgamma[c] = sum_g, sum_gx
        if dshortcut.size:
            out, slope, to = y[c], dy[c], dshortcut[c]
            for q in range(to.size):
                g = ZERO if out[q] <= lower or out[q] >= upper else slope[q]
                to[q] = to[q] + g if add else g


@compiled
def normalise_back(x, y, dy, first, last, mean, scale, by_x, constant, lower, upper, dx, add):
    """dx = scale · g + by_x · (x - mean) + constant, for g as in `slopes`; written or added."""
    n = x.shape[1]
    for c in range(first, last):
        row, out, slope, to = x[c], y[c], dy[c], dx[c]
        centre, by, along, move = mean[c], scale[c], by_x[c], constant[c]
        if add:
            for q in range(n):
                g = ZERO if out[q] <= lower or out[q] >= upper else slope[q]
                to[q] += by * g + along * (row[q] - centre) + move
        else:
            for q in range(n):
                g = ZERO if out[q] <= lower or out[q] >= upper else slope[q]
                to[q] = by * g + along * (row[q] - centre) + move
