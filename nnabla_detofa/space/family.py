"""A family of supernets: the choices of each segment, the layers, tokens and genes they stand for (Table 1).

A segment is the stem or a stage. Its own genes are one choice, its *context* (a stage's depth and width); each of its
blocks has one more, a *choice* among a few (an expand). A segment whose blocks have no genes, as a stem, has one block
with one choice. Everything else in this room, in pruning and in search is told of a family through this interface.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..errors import ConfigError, unknown
from .layers import LINEAR, NOTHING, Layer, Side

SKIP = 0  # the token SC of a block that the path leaves out
MOST_CONFIGURATIONS = 4_000_000  # of one segment after each leaf before it; its costs are kept in tables


class Tokens(NamedTuple):
    """Tokens of a segment: its own (contexts, k), k of them a path, and a block's (contexts, choices)."""

    own: np.ndarray
    block: np.ndarray


@dataclass(frozen=True, eq=False)
class Segment:
    """The choices of the stem or of one stage, in ascending order.

    name: in messages ("stage 0"), and without the space in the names of genes.
    genes, contexts: names of its own genes, and their values by context, (contexts, genes) int8.
    blocks: number of blocks of each context, at least 1, (contexts,).
    leaves: what it hands on: the index of the width that the next segment is met with, (contexts,).
    block_genes, choices: names of the genes of a block, and their values by choice, (choices, block genes) int8; -1
        for a gene that the choice does not use.
    exists: bool (contexts, choices); coupled genes lack contexts, equal choices are one of them.
    shares: how often each choice is drawn where each value of a gene is drawn equally often, (choices,), of those that
        stand for several; None where each is drawn once.
    """

    name: str
    genes: tuple[str, ...]
    contexts: np.ndarray
    blocks: np.ndarray
    leaves: np.ndarray
    block_genes: tuple[str, ...]
    choices: np.ndarray
    exists: np.ndarray
    shares: np.ndarray | None = None

    @property
    def n_blocks(self) -> int:
        """The most blocks that a context has."""
        return int(self.blocks.max())

    @property
    def n_leaves(self) -> int:
        """Leaves are in 0 .. n_leaves - 1."""
        return int(self.leaves.max()) + 1

    @cached_property
    def used(self) -> np.ndarray:
        """Which blocks each context has, bool (blocks, contexts)."""
        return np.arange(self.n_blocks)[:, None] < self.blocks

    @cached_property
    def _numbers(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        return _numbering(self.contexts), _numbering(self.choices)

    def context(self, genes: np.ndarray) -> np.ndarray:
        """The context of each row of its own genes (n, genes); (n,), -1 where there is none."""
        weights, table = self._numbers[0]
        return table[(genes + 1) @ weights]

    def choice(self, genes: np.ndarray) -> np.ndarray:
        """The choice of each block by its genes (…, block genes); -1 where there is none."""
        weights, table = self._numbers[1]
        return table[(genes + 1) @ weights]


def _numbering(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and a table so that `table[(row + 1) @ weights]` is the number of a row, and -1 of what is no row."""
    radix = rows.max(axis=0).astype(np.intp) + 2
    weights = np.cumprod(np.r_[1, radix[::-1]])[::-1][1:]
    table = np.full(int(np.prod(radix)), -1)
    table[(rows + 1) @ weights] = np.arange(len(rows))
    return weights, table


class Family(ABC):
    """The choices of a family of supernets, and how a path, a row of int8 genes, is read.

    A row holds all segments' own genes in order, then those of all blocks in order; -1 where the path has no such
    block. Equal families are equal objects, and hash alike.
    """

    name: ClassVar[str]
    coupled: bool = False  # whether the own genes of a segment change as one

    @property
    @abstractmethod
    def segments(self) -> tuple[Segment, ...]:
        """From the image on; at least two."""

    @property
    @abstractmethod
    def choices(self) -> dict[str, tuple]:
        """The values of each kind of gene, ascending; the gene `depth` has those of `depths`."""

    @abstractmethod
    def layers(
        self, segment: int, before: int, context: int, block: int, choice: int, *, stem_pool: bool = True
    ) -> tuple[Layer, ...]:
        """The layers of one block after the leaf `before`, for an image of 32 pixels; `stem_pool`: whether maps are
        halved once more behind the first convolutions. Where a choice does not exist, as if it did."""

    @abstractmethod
    def tokens(self, segment: int) -> Tokens:
        """Tokens of a segment, from 0; 0 is `SKIP`."""

    def token_values(self) -> tuple[tuple[float | None, ...], ...]:
        """The numbers behind the tokens, see `TokenLayout.values`: for genes of many ordered levels, such as sizes."""
        return ()

    @abstractmethod
    def to_dict(self) -> dict[str, object]:
        """The options, as JSON holds them, and "family", which ResNet50's leaves out."""

    @classmethod
    @abstractmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Family":
        """The family that `to_dict` described."""

    def genotype(self, path: np.ndarray) -> dict[str, list]:
        """One path as the host writes it; as its genes by name where the host has no such network."""
        return {name: [int(gene)] for name, gene in zip(self.gene_names, path, strict=True)}

    def from_genotype(self, given: Mapping[str, Sequence]) -> np.ndarray:
        """The row (genes,) of a genotype; ConfigError where it is none."""
        try:
            return np.array([given[name][0] for name in self.gene_names], np.int8)
        except (KeyError, TypeError, IndexError, ValueError, OverflowError):
            raise ConfigError(key="genotype", given=given, allowed="a list of one number for each gene") from None

    def canonical_rows(self, paths: np.ndarray) -> np.ndarray:
        """A copy of paths (n, genes) with the choices that stand for theirs, so that equal networks are equal rows."""
        return paths.copy()

    def uses(self, segment: int, chosen: Mapping[str, np.ndarray]) -> np.ndarray:
        """Which contexts and choices use these values alone: `chosen` has a bool array for each of `choices`."""
        one = self.segments[segment]
        contexts, choices = np.ones(len(one.contexts), bool), np.ones(len(one.choices), bool)
        for gene, values in zip(one.genes, one.contexts.T, strict=True):
            contexts &= chosen[f"{gene}s"][values]
        for gene, values in zip(one.block_genes, one.choices.T, strict=True):
            choices &= chosen[f"{gene}s"][values] | (values < 0)
        return contexts[:, None] & choices

    @cached_property
    def places(self) -> dict[tuple[int, int], tuple[str, ...]]:
        """Of each segment and block the places of its layers among the parameters' names, as the host has them."""
        blocks = [(segment, block) for segment, one in enumerate(self.segments) for block in range(one.n_blocks)]
        return {at: (f"blocks/{number - 1}",) if number else ("input_stem",) for number, at in enumerate(blocks)}

    def classifier(self, n_in: int, side: Side, n_classes: int) -> dict[str, Layer]:
        """All layers of a classifier behind the last map, by their places among the parameters' names."""
        return {"classifier/0/linear": Layer(LINEAR, n_in, 0, n_classes, 1, NOTHING, side)}

    def whole(self) -> "Family":
        """The family of which this one is a part made by hand."""
        return self

    # ---- derived from the above

    def chosen(self, given: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Lists of values as a bool array for each of `choices`, all where None; ConfigError for what is no choice."""
        if foreign := [name for name in given if name not in self.choices]:
            raise unknown("kind of choice", foreign[0], self.choices)
        return {name: _marked(name, known, given.get(name)) for name, known in self.choices.items()}

    @cached_property
    def operation_columns(self) -> tuple[str, ...]:
        """Names of what an operation is, beside stage and layer: for ResNet50 depth, width, expand."""
        stages = [one for one in self.segments if one.block_genes]
        return tuple(dict.fromkeys(name for one in stages for name in (*one.genes, *one.block_genes)))

    def operation_values(self, segment: int, context: int, choice: int) -> tuple:
        """Its values of the `operation_columns`, "" where it has no such gene."""
        one = self.segments[segment]
        genes = zip((*one.genes, *one.block_genes), (*one.contexts[context], *one.choices[choice]), strict=True)
        values = {gene: self.choices[f"{gene}s"][index] for gene, index in genes if index >= 0}
        return tuple(values.get(column, "") for column in self.operation_columns)

    @property
    def shortest(self) -> int:
        """Operations of a path of the fewest."""
        stages = [one for one in self.segments if one.block_genes]
        return sum(int(one.blocks[one.exists.any(axis=1)].min()) for one in stages)

    def masks(self) -> tuple[np.ndarray, ...]:
        """All that exists: bool (blocks, contexts, choices) of each segment."""
        return tuple(one.used[..., None] & one.exists for one in self.segments)

    @cached_property
    def own_columns(self) -> tuple[np.ndarray, ...]:
        """Columns of each segment's own genes."""
        ends = np.cumsum([0, *(len(one.genes) for one in self.segments)])
        return tuple(np.arange(a, b) for a, b in pairwise(ends))

    @cached_property
    def block_columns(self) -> tuple[np.ndarray, ...]:
        """Columns of the genes of each segment's blocks, (blocks, block genes)."""
        first = sum(len(one.genes) for one in self.segments)
        shapes = [(one.n_blocks, len(one.block_genes)) for one in self.segments]
        ends = first + np.cumsum([0, *(b * g for b, g in shapes)])
        return tuple(np.arange(a, b).reshape(shape) for a, b, shape in zip(ends, ends[1:], shapes, strict=False))

    @cached_property
    def columns(self) -> tuple[np.ndarray, ...]:
        """Columns of each segment's genes, its own and then its blocks'."""
        return tuple(
            np.r_[own, blocks.ravel()] for own, blocks in zip(self.own_columns, self.block_columns, strict=True)
        )

    @cached_property
    def gene_names(self) -> tuple[str, ...]:
        """A name for each column, for tables people read; stages and blocks count from 0."""
        named = [(one.name.replace(" ", ""), one) for one in self.segments]
        own = [f"{name}_{gene}" for name, one in named for gene in one.genes]
        return (*own, *(f"{n}_{gene}{b}" for n, one in named for b in range(one.n_blocks) for gene in one.block_genes))

    @property
    def n_genes(self) -> int:
        """Columns of a path: 29 for the paper's space."""
        return len(self.gene_names)

    @cached_property
    def upper(self) -> np.ndarray:
        """The largest index each gene can hold, (n_genes,) int8."""
        own = [one.contexts.max(axis=0) for one in self.segments]
        return np.concatenate([*own, *(np.tile(one.choices.max(axis=0), one.n_blocks) for one in self.segments)])

    @cached_property
    def lower(self) -> np.ndarray:
        """The smallest value each gene can hold: -1 for those of blocks, 0 for the others; (n_genes,) int8."""
        n_own = sum(len(one.genes) for one in self.segments)
        return np.repeat(np.array([0, -1], np.int8), [n_own, self.n_genes - n_own])

    @cached_property
    def entries(self) -> tuple[int, ...]:
        """Number of codes of each segment's genes."""
        radix = self.upper.astype(int) - self.lower + 1
        return tuple(int(np.prod(radix[columns])) for columns in self.columns)

    @cached_property
    def _code_matrix(self) -> tuple[np.ndarray, np.ndarray]:
        radix = self.upper.astype(int) - self.lower + 1
        matrix = np.zeros((self.n_genes, len(self.segments)), np.float32)  # codes are below 2**24: exact in float32
        for segment, columns in enumerate(self.columns):
            matrix[columns, segment] = np.cumprod(np.r_[1, radix[columns][::-1]])[::-1][1:]
        return matrix, -(self.lower @ matrix)

    def codes(self, paths: np.ndarray) -> np.ndarray:
        """The code of each segment's genes, below its `entries`; (n, segments) int."""
        matrix, shift = self._code_matrix
        return (paths.astype(np.float32) @ matrix + shift).astype(np.intp)

    def require_tables(self) -> None:
        """ConfigError where a segment has too many codes to be kept in tables."""
        before = 1
        for one, entries in zip(self.segments, self.entries, strict=True):
            if entries * before > MOST_CONFIGURATIONS:
                raise ConfigError(
                    f"{one.name} of {one.n_blocks} blocks with {len(one.choices)} choices each has "
                    f"{entries * before:,} table entries; at most {MOST_CONFIGURATIONS:,} are allowed"
                )
            before = one.n_leaves


def _marked(name: str, known: tuple, given: Any) -> np.ndarray:
    if given is None:
        return np.ones(len(known), bool)
    values = list(given) if isinstance(given, (list, tuple)) else []
    if not values or not all(value in known for value in values):
        raise ConfigError(key=name, given=given, allowed=f"a list of the space's choices, {list(known)}")
    return np.isin(known, values)
