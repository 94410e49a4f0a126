"""Fixtures of small runs; the host is repaired before a test imports it."""

from small_runs import *  # noqa: F403
