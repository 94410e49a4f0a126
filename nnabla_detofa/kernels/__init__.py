"""Kernels of elastic layers and of the loss on a CPU: NumPy and numba on all cores, as functions of NNabla."""

from .convolution import Convolution, Deconvolution, Window
from .depthwise import Depthwise, shrunk
from .focal import FocalLoss
from .gates import HardSwish, Scaling
from .normalization import BatchNormalization

__all__ = [
    "BatchNormalization",
    "Convolution",
    "Deconvolution",
    "Depthwise",
    "FocalLoss",
    "HardSwish",
    "Scaling",
    "Window",
    "shrunk",
]
