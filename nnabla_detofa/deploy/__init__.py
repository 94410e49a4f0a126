"""Detectors that leave the run: files of them, and what they find in pictures (an addition; not in the paper)."""

from .detector import Detector
from .exported import Exported
from .segmenter import Segmenter

__all__ = ["Detector", "Exported", "Segmenter"]
