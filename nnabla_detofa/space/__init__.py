"""Paths: what one is, how many there are, their costs, tokens and FLOPs buckets (Table 1, Section 3.1.1)."""

from .budgets import Budgets
from .channels import make_divisible
from .cost import COMPUTED, CostModel
from .description import FAMILIES
from .family import Family, Segment, Tokens
from .layer_costs import LayerCosts
from .layers import Layer
from .masks import Operations
from .mobilenetv3 import MobileNetV3, MobileNetV3Options
from .network_layers import ClassifierLayers, DetectorLayers, MapLayers, NetworkLayers
from .path_distributions import PROPOSALS, Draw, DrawnPaths
from .resnet50 import ResNet50, ResNet50Options
from .scores import Score, path_scores
from .search_space import SearchSpace
from .tokens import TokenLayout
from .variation_operators import draw_keys, insert
from .xception import Xception, XceptionOptions

__all__ = [
    "COMPUTED",
    "FAMILIES",
    "PROPOSALS",
    "Budgets",
    "ClassifierLayers",
    "CostModel",
    "DetectorLayers",
    "Draw",
    "DrawnPaths",
    "Family",
    "Layer",
    "LayerCosts",
    "MapLayers",
    "MobileNetV3",
    "MobileNetV3Options",
    "NetworkLayers",
    "Operations",
    "ResNet50",
    "ResNet50Options",
    "Score",
    "SearchSpace",
    "Segment",
    "TokenLayout",
    "Tokens",
    "Xception",
    "XceptionOptions",
    "draw_keys",
    "insert",
    "make_divisible",
    "path_scores",
]
