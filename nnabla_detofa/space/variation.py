"""Changing paths inside a space (Sections 3.2 and 3.3): mutation, crossover and inserting an operation."""

from typing import TYPE_CHECKING

import numpy as np

from .structure import STEM_GENES

if TYPE_CHECKING:
    from .search_space import Operation, SearchSpace


def _draw(allowed: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """For each row the allowed choice of the largest key: uniform where the keys are. (n, choices) -> (n,)."""
    return np.where(allowed, keys, -1).argmax(axis=1)


def settle(space: "SearchSpace", paths: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Paths whose depths and widths stand made canonical: unused expands -1, missing or disallowed ones drawn.

    `keys` (n, blocks of all stages, expands), uniform in (0, 1), decides the draws; equal keys give equal draws.
    """
    paths, block = space.structure.canonical_rows(paths), 0
    for stage, columns in enumerate(space.structure.stage_columns):
        depth, width = paths[:, columns[0]], paths[:, columns[1]]
        for layer, column in enumerate(columns[2:]):
            allowed = space.allowed[stage, layer, depth, width]  # (n, expands)
            expand = paths[:, column]
            stands = (expand >= 0) & allowed[np.arange(len(paths)), expand]
            drawn = np.where(stands, expand, _draw(allowed, keys[:, block]))
            paths[:, column] = np.where(allowed.any(axis=1), drawn, -1)
            block += 1
    return paths


def draw_keys(space: "SearchSpace", n: int, rng: np.random.Generator) -> np.ndarray:
    """Keys for `settle`, (n, blocks of all stages, expands)."""
    return rng.random((n, sum(space.structure.layers), len(space.structure.expands)))


def mutate(space: "SearchSpace", paths: np.ndarray, rng: np.random.Generator, probability: float) -> np.ndarray:
    """Each gene redrawn with `probability`; where depth and width are coupled they change as one."""
    structure, n = space.structure, len(paths)
    hit = rng.random(paths.shape) < probability
    children = paths.copy()
    redrawn = space.stem_rows[rng.integers(len(space.stem_rows), size=n)]
    children[:, :STEM_GENES] = np.where(hit[:, :STEM_GENES], redrawn, paths[:, :STEM_GENES])
    for stage, columns in enumerate(structure.stage_columns):
        pairs = space.allowed[stage, 0].any(axis=-1)  # (depths, widths); the first block has every usable pair
        keys = rng.random((n, *pairs.shape))
        depth, width = children[:, columns[0]], children[:, columns[1]]
        if structure.coupled:
            one = _draw(np.broadcast_to(pairs.any(axis=1), (n, len(pairs))), keys[:, 0])
            either = hit[:, columns[0]] | hit[:, columns[1]]
            depth, width = np.where(either, one, depth), np.where(either, pairs.argmax(axis=1)[one], width)
        else:
            depth = np.where(hit[:, columns[0]], _draw(pairs.T[width], keys[:, :, 0]), depth)
            width = np.where(hit[:, columns[1]], _draw(pairs[depth], keys[:, 0, :]), width)
        children[:, columns[0]], children[:, columns[1]] = depth, width
        children[:, columns[2:]] = np.where(hit[:, columns[2:]], -1, paths[:, columns[2:]])
    return settle(space, children, draw_keys(space, n, rng))


def crossover(space: "SearchSpace", first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each gene from a parent at random; depth and width of a stage from the same one where the mix is not allowed."""
    pick = rng.random(first.shape) < 0.5
    for stage, columns in enumerate(space.structure.stage_columns):
        mixed = np.where(pick, first, second)
        pairs = space.allowed[stage, 0].any(axis=-1)
        clash = ~pairs[mixed[:, columns[0]], mixed[:, columns[1]]]
        pick[:, columns[1]] = np.where(clash, pick[:, columns[0]], pick[:, columns[1]])
    children = np.where(pick, first, second)
    children = np.where(children < 0, np.maximum(first, second), children)  # a block only one parent has
    return settle(space, children, draw_keys(space, len(first), rng))


def insert(space: "SearchSpace", paths: np.ndarray, keys: np.ndarray, operation: "Operation") -> np.ndarray:
    """Paths with one operation, given by its five indices, put in: depth and width for its whole stage, expand for its
    block.

    Blocks that open, and expands the new depth and width do not allow, follow `keys`, so that all operations of a stage
    complete a path in the same way.
    """
    columns = space.structure.stage_columns[int(operation.stage)]
    inserted = paths.copy()
    inserted[:, columns[:2]] = operation.depth, operation.width
    inserted[:, columns[2 + int(operation.layer)]] = operation.expand
    return settle(space, inserted, keys)
