"""The allowed part of a family: masks of operations, and the rows of genes that they leave (Table 1, Section 3.2)."""

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np

from ..errors import SpaceError
from .family import Family, Segment


class Operations(NamedTuple):
    """A choice of one block of a segment in one context, all by number from 0; of one operation or in columns (n,)."""

    segment: np.ndarray
    block: np.ndarray
    context: np.ndarray
    choice: np.ndarray


class SegmentRows(NamedTuple):
    """Allowed choices of one segment: context (m,), choice of each block (m, blocks), -1 where there is no such block,
    and both as genes (m, genes) int8."""

    context: np.ndarray
    choice: np.ndarray
    genes: np.ndarray


class Masks:
    """Operations that some path uses: read-only bool (blocks, contexts, choices) of each segment.

    SpaceError where a segment is left without a complete context.
    """

    def __init__(self, family: Family, allowed: Sequence[np.ndarray]) -> None:
        both = zip(family.segments, family.masks(), allowed, strict=True)
        self.family, self.allowed = family, tuple(_usable(one, exists & mask) for one, exists, mask in both)
        self.contexts = tuple(mask[0].any(axis=1) for mask in self.allowed)  # the first block has every usable one

    def size(self) -> int:
        """The exact number of paths."""
        segments = zip(self.family.segments, self.allowed, strict=True)
        return prod(
            sum(prod(ways[:blocks]) for ways, blocks in zip(mask.sum(axis=2).T.tolist(), one.blocks, strict=True))
            for one, mask in segments
        )

    def operations(self) -> Operations:
        """Every allowed operation, ordered by segment, block, context, choice; blocks without genes have none."""
        found = [
            np.stack([np.full(mask.sum(), segment), *np.nonzero(mask)])
            for segment, mask in enumerate(self.allowed)
            if self.family.segments[segment].block_genes
        ]
        return Operations(*np.concatenate(found, axis=1))

    def operation_columns(self) -> dict[str, list]:
        """See `SearchSpace.operation_columns`."""
        names, operations = self.family.operation_columns, self.operations()
        stages = np.cumsum([bool(one.block_genes) for one in self.family.segments]) - 1
        each = zip(operations.segment, operations.context, operations.choice, strict=True)
        values = zip(*(self.family.operation_values(*one) for one in each), strict=True)
        columns = {name: list(column) for name, column in zip(names, values, strict=True)}
        return {"stage": stages[operations.segment].tolist(), "layer": operations.block.tolist(), **columns}

    def contexts_of(self, segment: int, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The context of each row of a segment's own genes, (n,), and whether it is allowed, (n,) bool."""
        context = self.family.segments[segment].context(genes)
        return context, (context >= 0) & self.contexts[segment][context]

    @cached_property
    def rows(self) -> tuple[SegmentRows, ...]:
        """Every allowed choice of each segment's genes, by context."""
        return tuple(map(_rows, self.family.segments, self.allowed))

    @cached_property
    def members(self) -> tuple[np.ndarray, ...]:
        """Whether a segment's genes of each code are allowed, bool (entries,)."""
        found = []
        for segment, rows in enumerate(self.rows):
            member = np.zeros(self.family.entries[segment], bool)
            member[self.row_codes(segment)] = len(rows.genes) > 0
            found.append(member)
        return tuple(found)

    def row_codes(self, segment: int) -> np.ndarray:
        """The code of each of a segment's `rows`."""
        genes = self.rows[segment].genes
        paths = np.zeros((len(genes), self.family.n_genes), np.int8)
        paths[:, self.family.columns[segment]] = genes
        return self.family.codes(paths)[:, segment]

    def assemble(self, genes: Sequence[np.ndarray]) -> np.ndarray:
        """Paths (n, genes) from the genes of each segment."""
        paths = np.empty((len(genes[0]), self.family.n_genes), np.int8)
        for columns, own in zip(self.family.columns, genes, strict=True):
            paths[:, columns] = own
        return paths


def _usable(segment: Segment, allowed: np.ndarray) -> np.ndarray:
    """`allowed` without the operations of a context that lacks a choice in some block."""
    complete = (allowed.any(axis=2) | ~segment.used).all(axis=0)
    if not complete.any():
        raise SpaceError(f"{segment.name} is left without a complete path; some depth and width needs every block")
    usable = allowed & complete[:, None]
    usable.setflags(write=False)
    return usable


def _rows(segment: Segment, allowed: np.ndarray) -> SegmentRows:
    contexts, choices = [], []
    for context in np.flatnonzero(allowed[0].any(axis=1)):
        blocks = int(segment.blocks[context])
        each = [np.flatnonzero(allowed[block, context]) for block in range(blocks)]
        mesh = np.stack(np.meshgrid(*each, indexing="ij"), axis=-1).reshape(-1, blocks)
        choices.append(np.pad(mesh, ((0, 0), (0, segment.n_blocks - blocks)), constant_values=-1))
        contexts.append(np.full(len(mesh), context))
    context, choice = np.concatenate(contexts), np.concatenate(choices)
    of_blocks = np.where(choice[..., None] >= 0, segment.choices[choice], -1).reshape(len(choice), -1)
    return SegmentRows(context, choice, np.concatenate([segment.contexts[context], of_blocks], axis=1).astype(np.int8))


def operation_places(family: Family) -> tuple[dict[tuple, tuple], dict[tuple, tuple]]:
    """Where in the masks each operation stands, by its stage, block and genes, and each choice of the stem, by its
    genes; stages are the segments whose blocks have genes."""
    operations: dict[tuple, tuple] = {}
    stems: dict[tuple, tuple] = {}
    stage = 0
    for segment, (one, mask) in enumerate(zip(family.segments, family.masks(), strict=True)):
        for block, context, choice in np.argwhere(mask).tolist():
            genes = (*one.contexts[context].tolist(), *one.choices[choice].tolist())
            place, of = ((stage, block, *genes), operations) if one.block_genes else (genes, stems)
            of[place] = segment, block, context, choice
        stage += bool(one.block_genes)
    return operations, stems
