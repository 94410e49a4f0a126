"""Elastic layers (Once-for-All): every path of the supernet uses the leading channels of the same weights.

On a CPU the layers run the kernels of `kernels/` on channel-major maps (C, B, H, W); elsewhere NNabla's own
functions on (B, C, H, W). A network says which to all its layers with `apply(channel_major=…)`; pooling, addition and
activation treat the two leading axes alike and need not know.
"""

from contextlib import nullcontext

import nnabla as nn
import nnabla.functions as F  # noqa: N812
import numpy as np

from ..host import Mo
from ..kernels import BatchNormalization, Convolution, Deconvolution, HardSwish, Window
from ..precision import single_precision
from ..space.layers import HARD_SWISH  # an activation without a ceiling

RELU, RELU6, LINEAR = np.inf, 6.0, None  # the ceiling of an activation
STATISTICS = ("_mean", "_var")  # of a normalisation, as its parameters are called

Axis = tuple[str, int]  # of a parameter: where a map's channels are


def activate(x, ceiling, *, channel_major: bool = False):
    """Clip x to [0, ceiling], or its hard-swish; LINEAR leaves it as it is."""
    if ceiling is LINEAR:
        return x
    if ceiling == HARD_SWISH:
        return HardSwish()(x) if channel_major else x * hard_sigmoid(x)
    return F.relu(x) if np.isinf(ceiling) else F.minimum_scalar(F.relu(x), ceiling)


def hard_sigmoid(x):
    """x + 3 clipped to [0, 6], over 6."""
    return F.minimum_scalar(F.relu(x + 3), 6) / 6


class Elastic(Mo.Module):
    """A layer around one of the host's, whose parameters have the name of both where it is `nested`, as in the host's
    elastic layers, and of one alone otherwise, as in its plain ones."""

    channel_major = False

    def __init__(self, *, nested: bool = True):
        super().__init__()
        self.nested = nested

    def get_modules(self, prefix="", memo=None):
        for name, module in super().get_modules(prefix, memo):
            yield (name if self.nested else prefix), module


class ElasticConv(Elastic):
    """Convolution with the leading (n_out, channels of x) corner of its weight.

    Args:
        weight: initialiser of the weight; He's normal by fan-out, as OFA's `he_fout`, where it is not given.
        bias: initialiser of the bias; None for no bias.
    """

    def __init__(self, n_in, n_out, window: Window, rng: np.random.Generator, *, weight=None, bias=None, nested=True):
        super().__init__(nested=nested)
        self.window = window
        self.conv = Mo.Conv(
            n_in,
            n_out,
            (window.kernel, window.kernel),
            w_init=weight or normal(rng, np.sqrt(2 / (n_out * window.kernel**2))),
            b_init=bias,
            with_bias=bias is not None,
        )

    def call(self, x, n_out: int):
        weight, bias, (_, stride, pad) = self.conv._W, self.conv._b, self.window
        if self.channel_major:
            return Convolution(n_out, self.window)(x, weight, *([] if bias is None else [bias]))
        weight, bias = corner(weight, n_out, x.shape[1]), None if bias is None else leading(bias, n_out)
        return F.convolution(x, weight, bias, pad=(pad, pad), stride=(stride, stride))


class ElasticDeconv(Mo.Module):
    """Transposed convolution of an elastic input to `n_out` channels, twice the size: 4×4, stride 2, without bias."""

    channel_major = False
    WINDOW = Window(kernel=4, stride=2, pad=1)

    def __init__(self, n_in, n_out, rng: np.random.Generator, *, deviation: float | None = None):
        super().__init__()
        side = self.WINDOW.kernel
        if deviation is None:  # He's: every output pixel sums (side / stride)² taps of each input channel
            deviation = np.sqrt(2 / (n_in * (side / self.WINDOW.stride) ** 2))
        self._W = Mo.Parameter((n_in, n_out, side, side), initializer=normal(rng, deviation))

    def call(self, x):
        weight, (_, stride, pad) = self._W, self.WINDOW
        if self.channel_major:
            return Deconvolution(self.WINDOW)(x, weight)
        weight = corner(weight, x.shape[1], weight.shape[1])
        return F.deconvolution(x, weight, None, pad=(pad, pad), stride=(stride, stride))


class ElasticBatchNorm(Elastic):
    """Batch normalisation of the leading channels, with an optional shortcut added and an activation behind.

    While `recording`, every forward pass appends its batch's (mean, variance) to `records` and leaves the running
    statistics alone; see `statistics.py`. With NNabla's functions the statistics of a pass arrive with `flush()`;
    until then they are `pending` in the graph that was built last: variables, and the values a channel had.
    """

    recording = False
    pending: tuple[nn.Variable, nn.Variable, int] | None = None

    def __init__(self, n_features: int, gamma: float = 1.0, *, nested: bool = True):
        super().__init__(nested=nested)
        self.bn = Mo.BatchNormalization(n_features, 4, param_init={"gamma": constant(gamma)})
        self.records: list[tuple[np.ndarray, np.ndarray]] = []

    def call(self, x, ceiling=LINEAR, shortcut=None):
        if ceiling == HARD_SWISH:
            return activate(self(x, shortcut=shortcut), ceiling, channel_major=self.channel_major)
        if self.channel_major:
            return self._kernel(ceiling)(x, self.bn._beta, self.bn._gamma, *([] if shortcut is None else [shortcut]))
        y = self._nnabla(x)
        return activate(y if shortcut is None else y + shortcut, ceiling)

    def _kernel(self, ceiling):
        bn = self.bn
        return BatchNormalization(
            bn._mean,
            bn._var,
            batch_stat=self.training or self.recording,
            decay_rate=bn._decay_rate,
            eps=bn._eps,
            ceiling=ceiling,
            record=self._record if self.recording else None,
        )

    def _record(self, mean: np.ndarray, variance: np.ndarray) -> None:
        self.records.append((mean, variance))

    def _nnabla(self, x):
        bn, n, batch_stat = self.bn, x.shape[1], self.training or self.recording
        with single_precision():
            beta, gamma, mean, variance = (corner(p, 1, n) for p in (bn._beta, bn._gamma, bn._mean, bn._var))
        if batch_stat:  # NNabla moves no slice of a statistic, so a copy moves and `flush` writes it back
            mean, variance = (nn.Variable.from_numpy_array(self._start(p, n)) for p in (bn._mean, bn._var))
            self.pending = mean, variance, x.size // n
        # At a decay of 0 what moves becomes the batch's own. `output_stat` would say the same, but cuDNN has no such
        # function, and NNabla's own launches its kernels channel by channel.
        decay_rate = 0.0 if self.recording else bn._decay_rate
        with _exact_sums():
            return F.batch_normalization(
                x, beta, gamma, mean, variance, decay_rate=decay_rate, eps=bn._eps, batch_stat=batch_stat
            )

    def _start(self, statistic, n: int) -> np.ndarray:
        """The array that moves in a pass: a copy of the running statistic, or zeros that no batch's own depends on."""
        return np.zeros((1, n, 1, 1), np.float32) if self.recording else statistic.d[:, :n]

    def flush(self) -> None:
        """Take over the statistics of the last forward pass; those of the CPU kernels are there already."""
        if self.pending is None:
            return
        *statistics, count = self.pending
        mean, variance = (statistic.d.reshape(-1).copy() for statistic in statistics)
        if self.recording:  # without Bessel's correction, which is 1 / 0 for one value
            self._record(mean, variance * np.float32((count - 1) / count) if count > 1 else np.zeros_like(variance))
            return
        self.bn._mean.d[0, : len(mean), 0, 0] = mean
        self.bn._var.d[0, : len(mean), 0, 0] = variance


class ConvNorm(Mo.Module):
    """Convolution, batch normalisation, optional shortcut and activation, under the host's parameter names."""

    def __init__(self, n_in, n_out, window, rng, *, ceiling=RELU, gamma=1.0, nested=True):
        super().__init__()
        self.ceiling = ceiling
        self.conv = ElasticConv(n_in, n_out, window, rng, nested=nested)
        self.bn = ElasticBatchNorm(n_out, gamma, nested=nested)

    def call(self, x, n_out: int, shortcut=None):
        return self.bn(self.conv(x, n_out=n_out), ceiling=self.ceiling, shortcut=shortcut)


def _exact_sums():
    """Where a normalisation sums in single precision: cuDNN does so in half too, NNabla's CPU function does not."""
    cudnn = nn.get_current_context().backend[0].startswith("cudnn")
    return nullcontext() if cudnn else single_precision()


def put(at: Mo.Module, place: str, module: Mo.Module) -> None:
    """Give a module its place among the parameters' names below another."""
    *folders, name = place.split("/")
    for folder in folders:
        at = at.modules.setdefault(folder, Mo.Module())
    at.modules[name] = module


def corner(parameter, n_first: int, n_second: int):
    """The leading corner of a parameter along its two leading axes; the parameter itself where that is all of it."""
    return parameter if parameter.shape[:2] == (n_first, n_second) else parameter[:n_first, :n_second]


def leading(parameter, n: int):
    """The first values of a parameter; the parameter itself where these are all."""
    return parameter if parameter.shape[0] == n else parameter[:n]


def swapped(x):
    """A map (B, C, H, W) as (C, B, H, W), and back."""
    return F.transpose(x, (1, 0, 2, 3))


def made(*layers: str, nested: bool = True) -> list[Axis]:
    """The output channels of the convolutions, and of the normalisations behind them, of layers."""
    conv, bn = ("conv/conv", "bn/bn") if nested else ("conv", "bn")
    return [*((f"{one}/{conv}/_W", 0) for one in layers), *normalised(*(f"{one}/{bn}" for one in layers))]


def normalised(*norms: str) -> list[Axis]:
    """The channels of normalisations."""
    return [(f"{one}/{name}", 1) for one in norms for name in ("_gamma", "_beta", *STATISTICS)]


def read(*layers: str, nested: bool = True) -> list[Axis]:
    """The input channels of the convolutions of layers."""
    return [(f"{one}/{'conv/conv' if nested else 'conv'}/_W", 1) for one in layers]


def normal(rng: np.random.Generator, deviation: float):
    """An initialiser that draws N(0, deviation²) from a generator of ours, so that one seed fixes the weights."""
    return lambda shape: (deviation * rng.standard_normal(tuple(shape))).astype(np.float32)


def uniform(rng: np.random.Generator, fan_in: int):
    """An initialiser that draws from ±1/√fan_in: PyTorch's default for weight and bias of a convolution."""
    return lambda shape: (rng.uniform(-1, 1, tuple(shape)) / np.sqrt(fan_in)).astype(np.float32)


def constant(value: float):
    """An initialiser that fills with one value."""
    return lambda shape: np.full(tuple(shape), value, np.float32)
