"""A path's part of its supernet's parameters: their leading channels, and smaller windows made of larger ones."""

from collections.abc import Iterator, Mapping

import numpy as np

from ..kernels import shrunk
from .inverted import matrix_name

WEIGHT = "conv/_W"


def cut(parameters: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The values of a path's own parameters, of these names and shapes, among those of its supernet."""
    found = {}
    for name, shape in shapes.items():
        value = parameters[name]
        if len(shape) == 4 and value.shape[2] > shape[2]:
            value = shrunk(value, [*_matrices(parameters, name.removesuffix(WEIGHT), value.shape[2], shape[2])])
        found[name] = value[tuple(slice(n) for n in shape)]
    return found


def _matrices(parameters: Mapping[str, np.ndarray], beside: str, side: int, wanted: int) -> Iterator[np.ndarray]:
    """The matrices of the steps from a window's side to a smaller one."""
    while side > wanted:
        smaller = max(n for n in range(wanted, side) if beside + matrix_name(side, n) in parameters)
        yield parameters[beside + matrix_name(side, smaller)]
        side = smaller
