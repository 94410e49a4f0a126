"""The compiled pass that turns bytes into what the network sees (4.1)."""

import numpy as np

from ..compiled import compiled

ZERO = np.float32(0)


@compiled(fastmath={"contract"})
def colour(first, second, third, linear, constant, out):
    """out (3, n) = linear (3, 3) · planes (n,) of bytes + constant (3,), with the roundings of a matrix product: sums
    in the order of the planes, each product and its sum rounded as one."""
    for channel in range(3):
        a, b, c = linear[channel]
        move, to = constant[channel], out[channel]
        for q in range(to.size):
            begun = a * np.float32(first[q]) + ZERO  # without it LLVM may round another product alone
            to[q] = c * np.float32(third[q]) + (b * np.float32(second[q]) + begun) + move
