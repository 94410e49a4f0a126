"""MACs and learned values of each layer of OFA-ResNet50 with CenterNet's neck and heads (Section 4.1)."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigError
from .layer_costs import LayerCosts

if TYPE_CHECKING:
    from .search_space import SearchSpace

STRIDES = (1, 2, 2, 2)


def detector_macs(
    space: "SearchSpace",
    *,
    image_size: int,
    n_classes: int,
    neck: Sequence[int] = (256, 256, 256),
    head: int = 64,
    stem_pool: bool = True,
) -> LayerCosts:
    """MACs of each layer for one image of (3, image_size, image_size)."""
    if not isinstance(image_size, (int, np.integer)) or image_size < 32 or image_size % 32:
        raise ConfigError(f"image_size is {image_size!r}; it must be a multiple of 32")
    stem_out, stages, last, middle = _channels(space)
    neck, head, outputs = _neck_and_heads(neck, head, n_classes)
    side = image_size // 2
    mid = np.array(space.channels.stem_mid, np.float64)
    stem = _stem(mid, stem_out, lambda k, i, o: k * k * i * o) * side**2
    side //= 2 if stem_pool else 1
    first, other = [], []
    for out, before, inner, stride in zip(stages, (stem_out, *stages[:-1]), middle, STRIDES, strict=True):
        area, area_out = side**2, (side // stride) ** 2
        enter = before[:, None, None] * inner * area  # 1x1 before the stride
        leave = (9 * inner**2 + inner * out[:, None]) * area_out  # 3x3 with the stride, then 1x1
        shortcut = before[:, None] * out * area_out  # average pooling, then 1x1
        first.append(enter + leave + shortcut[..., None])
        other.append(out[:, None] * inner * area_out + leave)
        side //= stride
    widths = _down_the_tail(last, neck)
    tail = np.zeros(len(last))
    for enter, leave in pairwise(widths):
        tail += enter * leave * 16 * side**2  # a transposed 4x4 multiplies once for each input cell
        side *= 2
    tail += side**2 * sum(9 * widths[-1] * head + head * k for k in outputs)
    return LayerCosts(stem, tuple(first), tuple(other), tail)


def detector_parameters(
    space: "SearchSpace", *, n_classes: int, neck: Sequence[int] = (256, 256, 256), head: int = 64
) -> LayerCosts:
    """Learned values of each layer; every convolution but those of the heads has batch normalisation and no bias."""
    stem_out, stages, last, middle = _channels(space)
    neck, head, outputs = _neck_and_heads(neck, head, n_classes)
    mid = np.array(space.channels.stem_mid, np.float64)
    stem = _stem(mid, stem_out, lambda k, i, o: k * k * i * o + 2 * o)
    first, other = [], []
    for out, before, inner in zip(stages, (stem_out, *stages[:-1]), middle, strict=True):
        wide = out[:, None]
        inside = 2 * inner + 9 * inner**2 + 2 * inner + inner * wide + 2 * wide
        shortcut = before[:, None] * out + 2 * out
        first.append(before[:, None, None] * inner + inside + shortcut[..., None])
        other.append(wide * inner + inside)
    widths = _down_the_tail(last, neck)
    tail = sum(9 * widths[-1] * head + head + head * k + k for k in outputs) + np.zeros(len(last))
    for enter, leave in pairwise(widths):
        tail += 16 * enter * leave + 2 * leave
    return LayerCosts(stem, tuple(first), tuple(other), tail)


def _channels(space: "SearchSpace") -> tuple[np.ndarray, list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Stem output (W,), stage outputs (W,) each, the last of them, and middle widths (W, E) each, as float64."""
    stages = [np.array(out, np.float64) for out in space.channels.stage_out]
    middle = [np.array(inner, np.float64) for inner in space.channels.middle]
    return np.array(space.channels.stem_out, np.float64), stages, stages[-1], middle


def _stem(mid: np.ndarray, out: np.ndarray, convolution: Callable[..., np.ndarray]) -> np.ndarray:
    """(2, W, W): 3x3 from the image, the residual 3x3 or nothing, 3x3 to the stem's output."""
    always = convolution(3, 3, mid)[:, None] + convolution(3, mid[:, None], out)
    return np.stack([always, always + convolution(3, mid, mid)[:, None]])


def _down_the_tail(last: np.ndarray, neck: Sequence[int]) -> list[np.ndarray]:
    """Channels before, between and after the up-convolutions, by the width of the last stage, (W,) each."""
    return [last, *(np.full(len(last), float(width)) for width in neck)]


def _neck_and_heads(neck: Sequence[int], head: int, n_classes: int) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    for name, value in (("n_classes", n_classes), ("head", head), *(("neck", width) for width in neck)):
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ConfigError(f"{name} holds {value!r}; it must be a whole number of at least 1")
    return tuple(neck), head, (n_classes, 2, 2)
