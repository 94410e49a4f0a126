"""The OFA-Xception family: depth, kernel and expand of each block of the middle flow; channels as in NNablaNAS.

An addition: the paper names other once-for-all networks as what its filter serves too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, product
from typing import Annotated

import numpy as np

from ..errors import ConfigError
from ..options import Ascending, Number, Options, Whole
from .family import Segment, Tokens
from .genotypes import choice_index, require_form
from .kernel_family import KernelFamily
from .layers import CONV, IDENTITY, LINEAR, NOTHING, PROJECTION, SEPARABLE, UNIT, XCEPTION, Layer, Side

ENTRY = (32, 64, 128, 256, 728)  # channels behind each convolution and block; the last are those of the middle flow
EXIT = (1024, 1536, 2048)
FIXED = 2  # separable convolutions of each block of entry and exit flow


class XceptionOptions(Options):
    """The choices of an OFA-Xception space.

    `depths`: separable convolutions of a block. `expands`: channels between these over those of the block; a block of
    one has none. `middle_blocks`: 8 in Xception41, 16 in Xception65. `width_scale`: it is not searched.
    """

    depths: Annotated[tuple[int, ...], Ascending(Whole())] = (1, 2, 3)
    kernels: Annotated[tuple[int, ...], Ascending(Whole())] = (3, 5, 7)
    expands: Annotated[tuple[float, ...], Ascending(Number(least=1e-3))] = (0.6, 0.8, 1.0)
    middle_blocks: Annotated[int, Whole(most=100)] = 8
    width_scale: Annotated[float, Number(above=0, below=100)] = 1.0
    channel_divisor: Annotated[int, Whole()] = 8


@dataclass(frozen=True)
class Xception(KernelFamily):
    """An Xception of elastic blocks in its middle flow.

    A row of genes: depth, kernel and expand of each block, each a segment; the expand of a block of depth 1 is -1.
    """

    name = "xception"
    options_type = XceptionOptions
    options: XceptionOptions = field(default_factory=XceptionOptions)

    def __post_init__(self) -> None:
        options = self.options
        if equal := [expand for expand, (a, b) in zip(options.expands, pairwise(self.middle), strict=False) if a == b]:
            raise ConfigError(key="space.expands", given=equal[0], allowed="so far below the next that channels differ")
        if len(options.depths) > 1 and self.middle[-1] < self.entry[-1]:
            raise ConfigError(key="space.expands", given=options.expands[-1], allowed="1 or more where depths differ")
        super().__post_init__()

    @cached_property
    def entry(self) -> tuple[int, ...]:
        """Channels along the entry flow; the last are those of the middle flow."""
        return self.scaled(ENTRY)

    @cached_property
    def exit(self) -> tuple[int, ...]:
        """Channels along the exit flow."""
        return self.scaled(EXIT)

    @cached_property
    def middle(self) -> tuple[int, ...]:
        """Channels between the convolutions of a block, for each expand."""
        return tuple(self.rounded(round(self.entry[-1] * expand)) for expand in self.options.expands)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """See `Family`; entry and exit flow, without genes, are one block each."""
        depths, kernels, expands = self.choices.values()
        none, one, zero = np.zeros((1, 0), np.int8), np.ones(1, np.intp), np.zeros(1, np.intp)
        choices = [
            (depth, kernel, expand)
            for depth, kernel in product(range(len(depths)), range(len(kernels)))
            for expand in (range(len(expands)) if depths[depth] > 1 else (-1,))
        ]
        shares = np.array([1 if expand >= 0 else len(expands) for *_, expand in choices])
        genes = ("depth", "kernel", "expand"), np.array(choices, np.int8), np.ones((1, len(choices)), bool), shares
        fixed = (), none, np.ones((1, 1), bool)
        blocks = (Segment(f"middle {n}", (), none, one, zero, *genes) for n in range(self.options.middle_blocks))
        entry, last = (Segment(f"{name} flow", (), none, one, zero, *fixed) for name in ("entry", "exit"))
        return entry, *blocks, last

    def layers(
        self,
        segment: int,
        before: int,  # noqa: ARG002 - widths are not searched
        context: int,  # noqa: ARG002
        block: int,  # noqa: ARG002 - each segment is one block
        choice: int,
        *,
        stem_pool: bool = True,
    ) -> tuple[Layer, ...]:
        """See `Family`. There is no pooling in the stem: the stride of the first convolution is 1 instead of 2."""
        (first, *stages), stride = self.entry, (2 if stem_pool else 1)
        wide = stages[-1]
        if not segment:
            found = [Layer(CONV, 3, 0, first, stride, NOTHING, UNIT)]
            found.append(Layer(CONV, first, 0, stages[0], 1, NOTHING, found[0].behind))
            for n_in, n_out in pairwise(stages):
                found.append(Layer(XCEPTION, n_in, n_out, n_out, 2, PROJECTION, found[-1].behind, depth=FIXED))
            return tuple(found)
        side = UNIT // stride // 8
        if segment <= self.options.middle_blocks:
            depth, kernel, expand = self.segments[segment].choices[choice]
            middle = self.middle[expand] if expand >= 0 else 0
            window, n = self.options.kernels[kernel], self.options.depths[depth]
            return (Layer(XCEPTION, wide, middle, wide, 1, IDENTITY, side, window, depth=n),)
        last = Layer(XCEPTION, wide, wide, self.exit[0], 2, PROJECTION, side, depth=FIXED)
        return last, *(Layer(SEPARABLE, i, 0, o, 1, NOTHING, last.behind) for i, o in pairwise(self.exit))

    def classifier(self, n_in: int, side: Side, n_classes: int) -> dict[str, Layer]:
        """See `Family`."""
        return {"classifier": Layer(LINEAR, n_in, 0, n_classes, 1, NOTHING, side)}

    @cached_property
    def places(self) -> dict[tuple[int, int], tuple[str, ...]]:
        """See `Family`."""
        entry = "first_conv", "second_conv", *(f"entryblocks/{n}" for n in range(len(ENTRY) - 2))
        middle = ((f"middleblocks/{n}",) for n in range(self.options.middle_blocks))
        last = "exitblocks/0", *(f"expand_block{n}" for n in range(1, len(EXIT)))
        return {(segment, 0): names for segment, names in enumerate((entry, *middle, last))}

    def tokens(self, segment: int) -> Tokens:
        """An index for each (depth, kernel, expand), from 1: no block is left out."""
        one = self.segments[segment]
        codes = np.arange(1, 1 + len(one.choices)) if one.block_genes else np.zeros(1, np.intp)
        return Tokens(np.zeros((1, 0), np.intp), codes[None])

    def canonical_rows(self, paths: np.ndarray) -> np.ndarray:
        """See `Family`: a block of one convolution has no expand."""
        rows = paths.copy()
        depth, expand = rows[:, ::3], rows[:, 2::3]
        single = np.array(self.options.depths)[depth] == 1
        expand[single & (depth >= 0)] = -1
        return rows

    # ---- the host's genotype {"ks": a kernel for each block, "e": an expand for each, "d": a depth for each}

    def genotype(self, path: np.ndarray) -> dict[str, list]:
        """By value; the expand of a block of one convolution, which the host does not look at, at its smallest."""
        blocks = path.reshape(-1, 3)
        names = {"ks": ("kernels", 1), "e": ("expands", 2), "d": ("depths", 0)}
        return {
            key: [self.choices[name][max(gene, 0)] for gene in blocks[:, column].tolist()]
            for key, (name, column) in names.items()
        }

    def from_genotype(self, given: Mapping[str, Sequence]) -> np.ndarray:
        """See `Family`; expands of blocks of one convolution are not looked at."""
        blocks = self.options.middle_blocks
        require_form(given, {"ks": (blocks, "kernels"), "e": (blocks, "expands"), "d": (blocks, "depths")})
        depths, kernels, expands = self.choices.values()
        rows = [
            (
                choice_index("d", depth, depths),
                choice_index("ks", kernel, kernels),
                choice_index("e", expand, expands) if depth > 1 else -1,
            )
            for kernel, expand, depth in zip(given["ks"], given["e"], given["d"], strict=True)
        ]
        return np.array(rows, np.int8).ravel()
