"""BN re-estimation: a path's own batch-normalisation statistics, from as many distinct images as are given."""

from collections.abc import Iterable

import nnabla as nn
import numpy as np

from .elastic import STATISTICS, ElasticBatchNorm
from .network import Supernet, extract, outputs_of


def reestimate(network: Supernet, batches: Iterable[np.ndarray]) -> int:
    """Replace the running statistics of the active path's layers by those of the images.

    Each batch is normalised by its own statistics; a layer's mean and variance are then those of all its inputs
    together (law of total variance). Weights and the statistics of unused channels stay as they are.

    Args:
        network: with the path activated.
        batches: images (b, 3, S, S), of any b.

    Returns:
        the number of images used.
    """
    layers = network.batch_norms()
    sizes: list[int] = []
    graphs: dict[tuple[int, ...], tuple] = {}
    try:
        network.apply(training=False, recording=True)
        for images in batches:
            if images.shape not in graphs:
                graphs.clear()
                placeholder = nn.Variable(images.shape)
                graphs[images.shape] = placeholder, outputs_of(network(placeholder))
            placeholder, outputs = graphs[images.shape]
            placeholder.d = images
            nn.forward_all(outputs, clear_buffer=True)
            network.flush_statistics()
            sizes.append(len(images))
        for layer in layers:
            _write(layer, np.array(sizes, np.float64))
    finally:
        for layer in layers:
            layer.records.clear()
        network.apply(recording=False, pending=None)
    return sum(sizes)


def statistics_of(network: Supernet, path: np.ndarray) -> dict[str, np.ndarray]:
    """The running statistics of the path's layers, by the names that their parameters have where it is alone."""
    alone = extract(network, path).get_parameters()
    return {name: one.d.copy() for name, one in alone.items() if name.rpartition("/")[2] in STATISTICS}


def _write(layer: ElasticBatchNorm, sizes: np.ndarray) -> None:
    """Pool the recorded batches into the layer's running statistics; a layer off the path recorded none."""
    if not layer.records:
        return
    weights = sizes / sizes.sum()
    means, variances = (np.array(values, np.float64) for values in zip(*layer.records, strict=True))
    mean = weights @ means
    variance = weights @ (variances + (means - mean) ** 2)
    layer.bn._mean.d[0, : len(mean), 0, 0] = mean
    layer.bn._var.d[0, : len(mean), 0, 0] = variance
