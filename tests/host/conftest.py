"""The host is repaired before a test imports it."""

import nnabla_detofa.host  # noqa: F401
