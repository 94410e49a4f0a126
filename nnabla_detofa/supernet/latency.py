"""How long layers and whole networks take on the present device (an addition; not in the paper)."""

import time
from collections import OrderedDict
from collections.abc import Callable
from statistics import median_low

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np

from ..errors import ConfigError
from ..space import Layer
from ..space.layers import BLOCK, HEAD, IDENTITY, PROJECTION, STEM, UP
from .backbone import STEM_ACTIVATIONS, OFAResNet50, Stem
from .detector import Head, UpConvolution
from .elastic import Bottleneck

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


def layer_forward(layer: Layer, like: OFAResNet50, *, batch: int) -> Forward:
    """One forward pass of the layer alone; see `layer_output`."""
    y = layer_output(layer, like, batch=batch)
    return lambda: y.forward(clear_buffer=True)


def layer_output(layer: Layer, like: OFAResNet50, *, batch: int) -> nn.Variable:
    """The graph of the layer alone as `like` computes it for `batch` images, of random weights and input."""
    rng = np.random.default_rng(0)
    with nn.parameter_scope("", OrderedDict()):  # the host registers parameters globally and never lets go
        module, channels = _module(layer, rng, like.stem_activation)
    channel_major = like.works_channel_major()
    module.apply(training=False, channel_major=channel_major)
    at_the_border = layer.kind == STEM  # images come in another layout than maps between layers
    first, second = (layer.n_in, batch) if channel_major and not at_the_border else (batch, layer.n_in)
    x = _random((first, second, layer.side, layer.side), rng)
    y = module(F.transpose(x, (1, 0, 2, 3)) if channel_major and at_the_border else x, **channels)
    return F.transpose(y, (1, 0, 2, 3)) if channel_major and layer.kind == HEAD else y  # and leave so


def network_forward(network: OFAResNet50, image_size: int, *, batch: int) -> Forward:
    """One forward pass of the network's active path for `batch` random images, as in detection."""
    network.apply(training=False)
    outputs = list(network(_random((batch, 3, image_size, image_size), np.random.default_rng(0))))
    return lambda: nn.forward_all(outputs, clear_buffer=True)


def _random(shape: tuple[int, ...], rng: np.random.Generator) -> nn.Variable:
    """An input that stays, however often it is read."""
    x = nn.Variable.from_numpy_array(rng.standard_normal(shape).astype(np.float32))
    x.persistent = True
    return x


def _module(layer: Layer, rng: np.random.Generator, stem_activation: str):
    """The layer's module, and the channels that its call asks for."""
    n_in, n_middle, n_out = layer.n_in, layer.n_middle, layer.n_out
    if layer.kind == STEM:
        residual, ceiling = layer.shortcut == IDENTITY, STEM_ACTIVATIONS[stem_activation]
        stem = Stem(n_middle, n_out, rng, residual=residual, ceiling=ceiling, pool=layer.stride == 4)
        return stem, {"n_middle": n_middle, "n_out": n_out, "residual": residual}
    if layer.kind == BLOCK:
        projection = layer.shortcut == PROJECTION
        block = Bottleneck(n_in, n_middle, n_out, layer.stride, rng, projection=projection, last_gamma=1.0)
        return block, {"n_middle": n_middle, "n_out": n_out}
    if layer.kind == UP:
        return UpConvolution(n_in, n_out, rng, deviation=None), {}
    if layer.kind == HEAD:
        return Head(n_in, n_middle, n_out, rng), {}
    raise ConfigError(f"a layer of kind '{layer.kind}' cannot be timed alone; latency is a cost of detectors")
