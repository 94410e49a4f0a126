"""Sorting channels by importance when smaller widths or expansions open (Section 4.1, pre-training; Once-for-All).

Every path uses the leading channels of a map, so the most important ones have to lead. A map's channels change places
in all that makes it and all that reads it at once, which no path notices that uses all of them. Here no path of the
phases before notices either: channels change places only between two numbers of channels that such paths use.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from ..space import SearchSpace
from .backbone import OFAResNet50

Axis = tuple[str, int]  # of a parameter: where a map's channels are


class Map(NamedTuple):
    """A map between layers: its channels in the parameters that `made` and that `read` it, and the numbers of them that
    paths of a space use."""

    made: list[Axis]
    read: list[Axis]
    used: Callable[[SearchSpace], set[int]]


def sort_channels(network: OFAResNet50, *, before: SearchSpace, after: SearchSpace) -> int:
    """Sort the channels of each map of which some path of `after` uses a number that no path of `before` does.

    The most important come first: those of the largest sum of absolute weights in the layers that read them. Every path
    of `before` computes what it did, to float noise. Returns the number of maps that were sorted.
    """
    parameters, n_sorted = network.get_parameters(), 0
    for one in _maps(network):
        known = one.used(before)
        if one.used(after) <= known:
            continue
        weights = [np.moveaxis(np.abs(parameters[name].d), axis, 0) for name, axis in one.read]
        importance = sum(weight.reshape(len(weight), -1).sum(axis=1, dtype=np.float64) for weight in weights)
        order = _order(importance, known)
        for name, axis in dict.fromkeys((*one.made, *one.read)):
            parameters[name].d = np.take(parameters[name].d, order, axis=axis)
        n_sorted += 1
    return n_sorted


def _order(importance: np.ndarray, known: set[int]) -> np.ndarray:
    """Channels by falling importance, but none across a number in `known`; (channels,)."""
    part = np.searchsorted(sorted(known), np.arange(len(importance)), side="right")
    return np.lexsort((-importance, part))


def _maps(network: OFAResNet50) -> Iterator[Map]:
    """Every map that is elastic, from the image on."""
    channels = network.space.channels
    stem = [_read(f"input_stem/{name}") for name in ("1/conv", "2")]
    yield Map(_made("input_stem/0", "input_stem/1/conv"), stem, partial(_stem_used, channels.stem_mid, 1))
    read: list[Axis] = []
    made, used = _made("input_stem/2"), partial(_stem_used, channels.stem_out, 2)
    first = 0
    for stage, n_layers in enumerate(network.space.structure.layers):
        blocks = [f"blocks/{first + layer}" for layer in range(n_layers)]
        yield Map(made, [*read, _read(f"{blocks[0]}/conv1"), _read(f"{blocks[0]}/downsample")], used)
        for layer, block in enumerate(blocks):
            for maker, reader in (("conv1", "conv2"), ("conv2", "conv3")):
                yield Map(_made(f"{block}/{maker}"), [_read(f"{block}/{reader}")], partial(_middle_used, stage, layer))
        made = _made(f"{blocks[0]}/downsample", *(f"{block}/conv3" for block in blocks))
        read, used = [_read(f"{block}/conv1") for block in blocks[1:]], partial(_stage_used, stage)
        first += n_layers
    yield Map(made, [*read, network.last_reader], used)


def _made(*layers: str) -> list[Axis]:
    """The output channels of convolutions and of the normalisations behind them."""
    statistics = [(f"{layer}/bn/bn/{name}", 1) for layer in layers for name in ("_gamma", "_beta", "_mean", "_var")]
    return [*((f"{layer}/conv/conv/_W", 0) for layer in layers), *statistics]


def _read(layer: str) -> Axis:
    """The input channels of a convolution."""
    return f"{layer}/conv/conv/_W", 1


def _stem_used(numbers: tuple[int, ...], gene: int, space: SearchSpace) -> set[int]:
    return {numbers[width] for width in space.stem_rows[:, gene]}


def _stage_used(stage: int, space: SearchSpace) -> set[int]:
    widths = np.flatnonzero(space.allowed[stage].any(axis=(0, 1, 3)))
    return {space.channels.stage_out[stage][width] for width in widths}


def _middle_used(stage: int, layer: int, space: SearchSpace) -> set[int]:
    choices = np.argwhere(space.allowed[stage, layer].any(axis=0))
    return {space.channels.middle[stage][width][expand] for width, expand in choices}
