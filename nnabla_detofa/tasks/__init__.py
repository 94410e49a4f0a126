"""Tasks (Sections 2.1 and 4.1): what a network is for, apart from its backbone."""

from .centernet import CenterNet
from .classification import Classification
from .segmentation import Segmentation
from .task import Assessment, MapTask, Task

__all__ = ["Assessment", "CenterNet", "Classification", "MapTask", "Segmentation", "Task"]
