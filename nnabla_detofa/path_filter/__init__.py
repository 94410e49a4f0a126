"""The FLOPs-bounded path filter (section 3.1): a transformer that ranks the paths of one budget."""

from ..space import TokenLayout
from .baselines import flops_score, ridge_score
from .fit_options import require_fit_options
from .fitting import FitReport, fit
from .metrics import evaluate, kendall_tau
from .model import AUTO, PathFilter
from .quality import cross_validate

__all__ = [
    "AUTO",
    "FitReport",
    "PathFilter",
    "TokenLayout",
    "cross_validate",
    "evaluate",
    "fit",
    "flops_score",
    "kendall_tau",
    "require_fit_options",
    "ridge_score",
]
