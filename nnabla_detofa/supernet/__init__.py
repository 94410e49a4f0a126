"""The once-for-all networks (Sections 3 and 4.1): an elastic backbone under the head of a task."""

from .channel_order import sort_channels
from .mit import from_mit, original_of, write_mit_weights
from .network import Supernet, extract
from .networks import NETWORKS, network_of
from .statistics import reestimate, statistics_of
from .weights import Transfer, load_weights, save_weights, transfer_weights, weights_as_bytes

__all__ = [
    "NETWORKS",
    "Supernet",
    "Transfer",
    "extract",
    "from_mit",
    "load_weights",
    "network_of",
    "original_of",
    "reestimate",
    "save_weights",
    "sort_channels",
    "statistics_of",
    "transfer_weights",
    "weights_as_bytes",
    "write_mit_weights",
]
