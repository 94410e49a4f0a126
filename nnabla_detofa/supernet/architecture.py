"""A path as a list of layers (Table 1), and the layers that the paths of a space have at a place."""

import numpy as np

from ..space import BackboneLayers, DetectorLayers, Layer, SearchSpace

Position = tuple[int, int]  # segment and block; the stem is segment 0


def path_layers(layers: BackboneLayers, path: np.ndarray) -> tuple[list[tuple[Position, Layer]], list[Layer]]:
    """The backbone's layers of a row of genes, and those behind it."""
    structure, genes = layers.space.structure, [int(gene) for gene in path]
    found, before = [((0, 0), layers.stem(*genes[:3]))], genes[2]
    for stage, columns in enumerate(structure.stage_columns):
        depth, width, *expands = (genes[column] for column in columns)
        for block in range(structure.base_depths[stage] + structure.depths[depth]):
            expand = expands[block]
            layer = layers.other(stage, width, expand) if block else layers.first(stage, before, width, expand)
            found.append(((stage + 1, block), layer))
        before = width
    return found, layers.tail(before)


def layers_at(space: SearchSpace, segment: int, block: int) -> set[Layer]:
    """The layers that allowed paths have there."""
    layers, stage = DetectorLayers(space, image_size=32, n_classes=1), segment - 1
    if segment == 0:
        return {layers.stem(*map(int, row)) for row in space.stem_rows}
    choices = [tuple(map(int, one)) for one in np.argwhere(space.allowed[stage, block].any(axis=0))]
    if block:
        return {layers.other(stage, *choice) for choice in choices}
    widths = range(len(space.structure.widths))
    return {layers.first(stage, before, *choice) for before in widths for choice in choices}
