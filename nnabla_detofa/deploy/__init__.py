"""Detectors that leave the run: files of them, and their boxes on pictures (an addition; not in the paper)."""

from .detector import Detector

__all__ = ["Detector"]
