"""The launcher's former place, from which people's notebooks import it (an addition; not in the paper)."""

from ..launch.run import launch

__all__ = ["launch"]
