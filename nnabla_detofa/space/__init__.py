"""What a path is, how many there are, what one costs, its tokens and its FLOPs bucket (Table 1, Section 3.1.1)."""

from .budgets import Budgets
from .channels import Channels, make_divisible
from .cost import CostModel
from .draws import PROPOSALS, Draw
from .layer_costs import LayerCosts
from .layers import BackboneLayers, ClassifierLayers, DetectorLayers, Layer
from .search_space import Operation, SearchSpace
from .structure import Structure
from .tokens import TokenLayout, token_layout, tokenize
from .variation import draw_keys, insert

__all__ = [
    "PROPOSALS",
    "BackboneLayers",
    "Budgets",
    "Channels",
    "ClassifierLayers",
    "CostModel",
    "DetectorLayers",
    "Draw",
    "Layer",
    "LayerCosts",
    "Operation",
    "SearchSpace",
    "Structure",
    "TokenLayout",
    "draw_keys",
    "insert",
    "make_divisible",
    "token_layout",
    "tokenize",
]
