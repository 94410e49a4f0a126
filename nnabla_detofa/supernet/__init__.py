"""The once-for-all networks (Sections 3 and 4.1): elastic OFA-ResNet50 under a detector or a classifier."""

from .backbone import OFAResNet50
from .building import extract
from .channel_order import sort_channels
from .classifier import ClassifierNet
from .detector import CenterNet, SearchNet, TrainNet
from .mit import from_mit, write_mit_weights
from .statistics import reestimate
from .weights import Transfer, load_weights, save_weights, transfer_weights, weights_as_bytes

__all__ = [
    "CenterNet",
    "ClassifierNet",
    "OFAResNet50",
    "SearchNet",
    "TrainNet",
    "Transfer",
    "extract",
    "from_mit",
    "load_weights",
    "reestimate",
    "save_weights",
    "sort_channels",
    "transfer_weights",
    "weights_as_bytes",
    "write_mit_weights",
]
