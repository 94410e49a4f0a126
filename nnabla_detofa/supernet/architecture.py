"""A path as a list of layers with their channels (Table 1; Section 4.1)."""

from typing import NamedTuple

import numpy as np

from ..space import SearchSpace

STRIDES = (1, 2, 2, 2)


class Block(NamedTuple):
    """One bottleneck: its position among all of the supernet, channels in, inside and out, and stride."""

    position: int
    n_in: int
    n_middle: int
    n_out: int
    stride: int
    projection: bool


class Layers(NamedTuple):
    """Channels of the stem's two halves, whether its residual block is there, and the bottlenecks in order."""

    stem_mid: int
    stem_out: int
    stem_residual: bool
    blocks: tuple[Block, ...]


def layers(space: SearchSpace, path: np.ndarray) -> Layers:
    """The layers that the path (a row of genes) computes."""
    structure, channels = space.structure, space.channels
    residual, width1, width2 = path[:3]
    blocks, n_in, first = [], channels.stem_out[width2], 0
    for stage, columns in enumerate(structure.stage_columns):
        depth, width, *expands = path[columns]
        n_out = channels.stage_out[stage][width]
        for layer in range(structure.base_depths[stage] + structure.depths[depth]):
            enters = layer == 0
            blocks.append(
                Block(
                    position=first + layer,
                    n_in=n_in if enters else n_out,
                    n_middle=channels.middle[stage][width][expands[layer]],
                    n_out=n_out,
                    stride=STRIDES[stage] if enters else 1,
                    projection=enters,
                )
            )
        n_in, first = n_out, first + structure.layers[stage]
    return Layers(channels.stem_mid[width1], channels.stem_out[width2], bool(residual), tuple(blocks))
