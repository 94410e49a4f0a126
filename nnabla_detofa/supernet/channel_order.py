"""Sorting channels by importance when smaller widths or expansions open (Section 4.1, pre-training; Once-for-All).

Every path uses the leading channels of a map, so the most important ones have to lead. A map's channels change places
in all that makes it and all that reads it at once, which no path notices that uses all of them. Here no path of the
phases before notices either: channels change places only between two numbers of channels that such paths use.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from ..space import Layer, SearchSpace
from ..space.layers import HEAD, IDENTITY, STEM
from .elastic import Axis
from .network import Position, Supernet


class Map(NamedTuple):
    """A map between layers: its channels in the parameters that `made` and that `read` it, and the numbers of them that
    paths of a space use."""

    made: list[Axis]
    read: list[Axis]
    used: Callable[[SearchSpace], set[int]]


def sort_channels(network: Supernet, *, before: SearchSpace, after: SearchSpace) -> int:
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


def _maps(network: Supernet) -> Iterator[Map]:
    """Every map that is elastic, from the image on."""
    parameters, steps = network.get_parameters(), network.steps(network.space.unpruned().largest())
    positions = {place: position for position, places in network.space.family.places.items() for place in places}

    def axes(place: str, of: Iterable[Axis]) -> list[Axis]:
        """Those of the parameters that the layer there has."""
        return [(f"{place}/{name}", axis) for name, axis in of if f"{place}/{name}" in parameters]

    made: list[Axis] = []  # by all layers whose output is the map that the next ones read
    read: list[Axis] = []
    used = partial(_used, (0, 0), steps[0][1].kind, "n_in")  # the image
    for place, layer in steps:
        module = network.layers[place]
        read += axes(place, module.reads)
        if place not in positions:  # heads read the same map, and of other layers behind the backbone the first does
            if layer.kind == HEAD:
                continue
            break
        grows = layer.kind != STEM and layer.shortcut == IDENTITY
        if not grows and made:
            yield Map(made, read, used)
        for inner_made, inner_read, channels in module.inside:
            inner_used = partial(_used, positions[place], layer.kind, channels)
            yield Map(axes(place, inner_made), axes(place, inner_read), inner_used)
        if grows:
            made += axes(place, module.makes)
        else:
            made, read, used = axes(place, module.makes), [], partial(_used, positions[place], layer.kind, "n_out")
    yield Map(made, read, used)


def _used(position: Position, kind: str, channels: str | Callable[[Layer], set[int]], space: SearchSpace) -> set[int]:
    """The numbers of channels that paths of a space have there, in layers of a kind."""
    layers = [layer for layer in space.layers_at(*position) if layer.kind == kind]
    if isinstance(channels, str):
        return {getattr(layer, channels) for layer in layers}
    return {number for layer in layers for number in channels(layer)}
