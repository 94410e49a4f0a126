"""The summary of a finished run, and the plan of one (an addition; not in the paper)."""

from .folder import explain
from .lines import quality_lines
from .page import write_page
from .summary import data_set, report, summary_lines

__all__ = ["data_set", "explain", "quality_lines", "report", "summary_lines", "write_page"]
