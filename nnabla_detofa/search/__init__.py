"""The best path under each budget (section 3.3): evolution, the choice between buckets, and the Pareto front."""

from .evolution import Found, evolve
from .pareto import pareto_front
from .protocols import Cost, Space
from .selection import Best, best_measured, contested

__all__ = ["Best", "Cost", "Found", "Space", "best_measured", "contested", "evolve", "pareto_front"]
