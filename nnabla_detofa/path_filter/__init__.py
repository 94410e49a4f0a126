"""The FLOPs-bounded path filter (section 3.1): a transformer that ranks the paths of one budget."""

from ..space import TokenLayout
from .averaging import AveragedFilter
from .baselines import ridge_score
from .cross_validation import cross_validate
from .fitting import FitReport, fit, require_main_effects, start_from_costs
from .gene_basis import gene_basis
from .metrics import evaluate, kendall_tau
from .model import AUTO, PathFilter
from .of_paths import score_of_paths, scored_space
from .rankers import FLOPS, RIDGE, TRANSFORMER, place_in_bucket, ridge_filter
from .settings import TOKENS, PathFilterOptions

__all__ = [
    "AUTO",
    "FLOPS",
    "RIDGE",
    "TOKENS",
    "TRANSFORMER",
    "AveragedFilter",
    "FitReport",
    "PathFilter",
    "PathFilterOptions",
    "TokenLayout",
    "cross_validate",
    "evaluate",
    "fit",
    "gene_basis",
    "kendall_tau",
    "place_in_bucket",
    "require_main_effects",
    "ridge_filter",
    "ridge_score",
    "score_of_paths",
    "scored_space",
    "start_from_costs",
]
