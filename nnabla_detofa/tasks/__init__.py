"""Tasks (Sections 2.1 and 4.1): what a network is for, apart from its backbone."""

from .centernet import CenterNet
from .classification import Classification
from .task import Assessment, Task

__all__ = ["Assessment", "CenterNet", "Classification", "Task"]
