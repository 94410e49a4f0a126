"""Fixtures of small runs; the host is repaired before a test imports it."""

import sys
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).parents[1:3])

from small_runs import *  # noqa: F403
