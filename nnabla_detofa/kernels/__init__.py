"""Kernels of elastic layers on a CPU (Section 4.1): NumPy and numba on all cores, as functions of NNabla."""

from .convolution import Convolution, Deconvolution, Window
from .depthwise import Depthwise, shrunk
from .gates import HardSwish, Scaling
from .normalization import BatchNormalization

__all__ = [
    "BatchNormalization",
    "Convolution",
    "Deconvolution",
    "Depthwise",
    "HardSwish",
    "Scaling",
    "Window",
    "shrunk",
]
