"""The once-for-all networks (Sections 3 and 4.1): elastic OFA-ResNet50 under CenterNet's neck and heads."""

from .detector import CenterNet, SearchNet, TrainNet, extract
from .statistics import reestimate
from .weights import Transfer, load_weights, save_weights, transfer_weights

__all__ = [
    "CenterNet",
    "SearchNet",
    "TrainNet",
    "Transfer",
    "extract",
    "load_weights",
    "reestimate",
    "save_weights",
    "transfer_weights",
]
