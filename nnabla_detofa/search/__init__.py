"""The best path under each budget (section 3.3): evolution over all budgets at once, and the Pareto front."""

from .evolution import Found, evolve
from .pareto import pareto_front
from .protocols import Cost, Space

__all__ = ["Cost", "Found", "Space", "evolve", "pareto_front"]
