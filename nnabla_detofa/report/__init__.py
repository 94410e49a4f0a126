"""What a finished run leaves for its user, and what a plan says (an addition; not in the paper)."""

from .lines import quality_lines
from .summary import data_set, report, summary_lines

__all__ = ["data_set", "quality_lines", "report", "summary_lines"]
