"""Changing paths inside a space (Sections 3.2 and 3.3): mutation, crossover and inserting an operation."""

import numpy as np

from .masks import Masks, Operations


def _draw(allowed: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """For each row the allowed choice of the largest key: uniform where the keys are, and in proportion to shares
    where keys are roots of that degree. (…, choices) -> (…)."""
    return np.where(allowed, keys, -1).argmax(axis=-1)


def draw_keys(masks: Masks, n: int, rng: np.random.Generator) -> np.ndarray:
    """Keys for `settle`, (n, blocks with genes, the most choices of one)."""
    stages = [one for one in masks.family.segments if one.block_genes]
    return rng.random((n, sum(one.n_blocks for one in stages), max(len(one.choices) for one in stages)))


def settle(masks: Masks, paths: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Paths whose contexts stand made canonical: unused blocks -1, missing or disallowed choices drawn.

    `keys`, uniform in (0, 1), decides the draws; equal keys give equal draws.
    """
    family, first = masks.family, 0
    paths = family.canonical_rows(paths)
    for segment, one in enumerate(family.segments):
        if not one.block_genes:
            continue
        columns, last = family.block_columns[segment], first + one.n_blocks
        context = one.context(paths[:, family.own_columns[segment]])
        allowed = masks.allowed[segment].swapaxes(0, 1)[context]  # (n, blocks, choices)
        choice = one.choice(paths[:, columns])
        stands = (choice >= 0) & np.take_along_axis(allowed, choice[..., None], axis=2)[..., 0]
        own = keys[:, first:last, : len(one.choices)]
        choice = np.where(stands, choice, _draw(allowed, own if one.shares is None else own ** (1 / one.shares)))
        paths[:, columns] = np.where(allowed.any(axis=2)[..., None], one.choices[choice], -1)
        first = last
    return paths


def mutate(masks: Masks, paths: np.ndarray, rng: np.random.Generator, probability: float) -> np.ndarray:
    """Each gene redrawn with `probability`; coupled genes change as one, and so do those of a block."""
    family, children = masks.family, paths.copy()
    hit = rng.random(paths.shape) < probability
    for segment, one in enumerate(family.segments):
        own, blocks = family.own_columns[segment], family.block_columns[segment]
        if one.block_genes:
            children[:, own] = _redrawn(masks, segment, paths[:, own], hit[:, own], rng)
            children[:, blocks] = np.where(hit[:, blocks].any(axis=2, keepdims=True), -1, paths[:, blocks])
            continue
        open_ = np.flatnonzero(masks.contexts[segment])
        redrawn = one.contexts[open_[rng.integers(len(open_), size=len(paths))]]
        mixed = np.where(hit[:, own], redrawn, paths[:, own])
        children[:, own] = np.where(masks.contexts_of(segment, mixed)[1][:, None], mixed, redrawn)
    return settle(masks, children, draw_keys(masks, len(paths), rng))


def _redrawn(masks: Masks, segment: int, genes: np.ndarray, hit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A segment's own genes (n, genes), one after the other drawn anew where `hit` among what the others allow."""
    one, allowed = masks.family.segments[segment], masks.contexts[segment]
    grid = np.zeros(one.contexts.max(axis=0).astype(int) + 1, bool)
    grid[tuple(one.contexts.T)] = allowed
    if masks.family.coupled:
        exist = np.flatnonzero(one.exists.any(axis=1))
        open_ = np.broadcast_to(allowed[exist], (len(genes), len(exist)))
        drawn = _draw(open_, rng.random(open_.shape))
        return np.where(hit.any(axis=1, keepdims=True), one.contexts[exist[drawn]], genes)
    genes = genes.copy()
    for gene in range(genes.shape[1]):
        others = tuple(np.delete(genes, gene, axis=1).T)
        open_ = np.moveaxis(grid, gene, -1)[others]
        drawn = _draw(open_, rng.random(open_.shape))
        genes[:, gene] = np.where(hit[:, gene], drawn, genes[:, gene])
    return genes


def crossover(masks: Masks, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each gene from a parent at random; a segment's own from the same one where the mix is not allowed."""
    pick = rng.random(first.shape) < 0.5
    for segment, own in enumerate(masks.family.own_columns):
        stands = masks.contexts_of(segment, np.where(pick[:, own], first[:, own], second[:, own]))[1]
        pick[:, own] = np.where(stands[:, None], pick[:, own], pick[:, own[:1]])
    children = np.where(pick, first, second)
    children = np.where(children < 0, np.maximum(first, second), children)  # a block only one parent has
    return settle(masks, children, draw_keys(masks, len(first), rng))


def insert(masks: Masks, paths: np.ndarray, keys: np.ndarray, operation: Operations) -> np.ndarray:
    """Paths with one operation put in: its context for the whole segment, its choice for its block.

    Blocks that open, and choices that the new context does not allow, follow `keys`, so that all operations of a
    segment complete a path in the same way.
    """
    segment, block, context, choice = map(int, operation)
    one, inserted = masks.family.segments[segment], paths.copy()
    inserted[:, masks.family.own_columns[segment]] = one.contexts[context]
    inserted[:, masks.family.block_columns[segment][block]] = one.choices[choice]
    return settle(masks, inserted, keys)
