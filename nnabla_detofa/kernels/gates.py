"""Gates of MobileNetV3 on a CPU, as NNabla functions: hard-swish, and the scale of each channel.

Each is one pass where NNabla's functions take five, or look up a place for every pixel.
"""

import numpy as np

from .convolution import Kernel
from .parallel import over
from .passes import RUN, ZERO, compiled

THREE, SIX = np.float32(3), np.float32(6)


@compiled
def _swish(x, y):
    for q in range(x.size):
        y[q] = x[q] * min(max(x[q] + THREE, ZERO), SIX) / SIX


@compiled
def _swish_back(x, dy, dx, add):
    for q in range(x.size):
        inside = THREE + x[q] + x[q] if x[q] < THREE else SIX
        slope = ZERO if x[q] <= -THREE else dy[q] * inside / SIX
        dx[q] = dx[q] + slope if add else slope


@compiled
def _scale(x, scale, y):
    """y (n, pixels), the rows of x times their scales (n,)."""
    for row in range(len(x)):
        one, to, by = x[row], y[row], scale[row]
        for q in range(one.size):
            to[q] = by * one[q]


@compiled
def _scale_back(x, scale, dy, dx, dscale, add):
    """The adjoints of `_scale` in rows, written or added, and in scales, written."""
    for row in range(len(x)):
        one, slope, by, total = x[row], dy[row], scale[row], 0.0
        for start in range(0, one.size, RUN):
            a, b, part = one[start : start + RUN], slope[start : start + RUN], ZERO
            for q in range(a.size):
                part += a[q] * b[q]
            total += part
        dscale[row] = total
        if dx.size:
            to = dx[row]
            for q in range(to.size):
                to[q] = to[q] + by * slope[q] if add else by * slope[q]


class HardSwish(Kernel):
    """y = x · min(max(x + 3, 0), 6) / 6."""

    def forward_impl(self, inputs, outputs):
        x, y = inputs[0].d.reshape(-1), outputs[0].d.reshape(-1)
        over(x.size, lambda part: _swish(x[part], y[part]), work=x.size)

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        if propagate_down[0]:
            x, dy, dx = inputs[0].d.reshape(-1), outputs[0].g.reshape(-1), inputs[0].g.reshape(-1)
            over(x.size, lambda part: _swish_back(x[part], dy[part], dx[part], accum[0]), work=2 * x.size)


class Scaling(Kernel):
    """y = scale · x. Inputs: x (C, B, H, W), scale (C, B, 1, 1)."""

    def forward_impl(self, inputs, outputs):
        scale = inputs[1].d.reshape(-1)
        x, y = (one.d.reshape(len(scale), -1) for one in (inputs[0], outputs[0]))
        over(len(scale), lambda part: _scale(x[part], scale[part], y[part]), work=x.size)

    def backward_impl(self, inputs, outputs, propagate_down, accum):
        scale = inputs[1].d.reshape(-1)
        x, dy = (one.reshape(len(scale), -1) for one in (inputs[0].d, outputs[0].g))
        dx = inputs[0].g.reshape(x.shape) if propagate_down[0] else x[:0]
        dscale = np.empty_like(scale)

        def work(part: slice) -> None:
            _scale_back(x[part], scale[part], dy[part], dx[part], dscale[part], accum[0])

        over(len(scale), work, work=2 * x.size)
        if propagate_down[1]:
            kept = inputs[1].g.reshape(-1)
            kept[...] = kept + dscale if accum[1] else dscale
