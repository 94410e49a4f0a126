"""The summary of a finished run, and the plan of one (an addition; not in the paper)."""

from .lines import quality_lines
from .summary import data_set, report, summary_lines

__all__ = ["data_set", "quality_lines", "report", "summary_lines"]
