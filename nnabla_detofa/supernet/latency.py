"""Latency of layers and whole networks on the present device (an addition; not in the paper)."""

import time
from collections import OrderedDict
from collections.abc import Callable
from statistics import median_low

import nnabla as nn
import numpy as np

from ..space import Layer
from ..space.layers import Side, sides_of
from .modules import build
from .network import Supernet, outputs_of

Forward = Callable[[], object]


class Stopwatch:
    """Times a forward pass: the median of `repetitions`, after `warm_up` passes that do not count.

    Args:
        synchronise: waits for the device; called before each reading of the clock.
        clock: nanoseconds since any moment.
    """

    def __init__(
        self,
        *,
        repetitions: int,
        warm_up: int,
        synchronise: Callable[[], object],
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._repetitions, self._warm_up = repetitions, warm_up
        self._synchronise, self._clock = synchronise, clock

    def nanoseconds(self, forward: Forward) -> int:
        """A time that was measured, at least 1."""
        for _ in range(self._warm_up):
            forward()
        return max(1, median_low(self._once(forward) for _ in range(self._repetitions)))

    def _once(self, forward: Forward) -> int:
        self._synchronise()
        start = self._clock()
        forward()
        self._synchronise()
        return self._clock() - start


def layer_forward(layer: Layer, like: Supernet, *, batch: int) -> Forward:
    """One forward pass of the layer alone; see `layer_output`."""
    y = layer_output(layer, like, batch=batch)
    return lambda: y.forward(clear_buffer=True)


def layer_output(layer: Layer, like: Supernet, *, batch: int) -> nn.Variable:
    """The graph of the layer alone as `like` computes it for `batch` images, of random weights and input."""
    rng = np.random.default_rng(0)
    with nn.parameter_scope("", OrderedDict()):  # the host registers parameters globally and never lets go
        module = build(layer, rng, **like.initial.get(layer.kind, {}))
    channel_major = like.works_channel_major()
    module.apply(training=False, channel_major=channel_major)
    leading = (layer.n_in, batch) if channel_major else (batch, layer.n_in)
    return module(_random((*leading, *sides_of(layer.side)), rng), layer=layer)


def network_forward(network: Supernet, image_size: Side, *, batch: int) -> Forward:
    """One forward pass of the network's active path for `batch` random images, as in detection."""
    network.apply(training=False)
    outputs = outputs_of(network(_random((batch, 3, *sides_of(image_size)), np.random.default_rng(0))))
    return lambda: nn.forward_all(outputs, clear_buffer=True)


def _random(shape: tuple[int, ...], rng: np.random.Generator) -> nn.Variable:
    """An input that stays, however often it is read."""
    x = nn.Variable.from_numpy_array(rng.standard_normal(shape).astype(np.float32))
    x.persistent = True
    return x
