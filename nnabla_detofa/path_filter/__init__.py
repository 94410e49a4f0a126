"""The FLOPs-bounded path filter (section 3.1): a transformer that ranks the paths of one budget."""

from ..space import TokenLayout
from .averaging import AveragedFilter
from .baselines import ridge_score
from .cross_validation import cross_validate
from .fitting import FitReport, fit, start_from_costs
from .metrics import evaluate, kendall_tau
from .model import AUTO, PathFilter
from .rankers import FLOPS, RIDGE, TRANSFORMER, place_in_bucket, ridge_filter
from .settings import PathFilterOptions

__all__ = [
    "AUTO",
    "FLOPS",
    "RIDGE",
    "TRANSFORMER",
    "AveragedFilter",
    "FitReport",
    "PathFilter",
    "PathFilterOptions",
    "TokenLayout",
    "cross_validate",
    "evaluate",
    "fit",
    "kendall_tau",
    "place_in_bucket",
    "ridge_filter",
    "ridge_score",
    "start_from_costs",
]
