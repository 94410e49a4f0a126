"""Detectors that leave the run: files of them, and their boxes on pictures (an addition; not in the paper)."""
