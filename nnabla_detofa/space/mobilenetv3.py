"""The OFA-MobileNetV3 family: the depth of five stages, kernel and expand of each block; channels as in OFA.

An addition: the paper names other once-for-all networks as what its filter serves too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import prod
from typing import Annotated

import numpy as np

from ..options import Ascending, Number, Options, Whole
from .family import Segment, Tokens
from .genotypes import choice_index, require_form
from .kernel_family import KernelFamily
from .layers import CONV, HARD_SWISH, IDENTITY, INVERTED, LINEAR, NOTHING, POOLED, RELU, UNIT, Layer, Side

STEM_CHANNELS = 16
STAGES = (24, 40, 80, 112, 160)
STRIDES = (2, 2, 2, 1, 2)
SQUEEZED = (False, True, False, True, True)  # whether a stage's blocks have a squeeze-and-excitation
ACTIVATIONS = (RELU, RELU, HARD_SWISH, HARD_SWISH, HARD_SWISH)
CLASSIFIER = (960, 1280)  # channels of the last map and behind its mean, in front of a classifier
REDUCTION = 4  # of a squeeze


class MobileNetV3Options(Options):
    """The choices of an OFA-MobileNetV3 space.

    `depths`: blocks of a stage. `width_scale`: 1.0 or 1.2 in OFA; it is not searched.
    """

    depths: Annotated[tuple[int, ...], Ascending(Whole())] = (2, 3, 4)
    kernels: Annotated[tuple[int, ...], Ascending(Whole())] = (3, 5, 7)
    expands: Annotated[tuple[int, ...], Ascending(Whole(least=2))] = (3, 4, 6)
    width_scale: Annotated[float, Number(above=0, below=100)] = 1.0
    channel_divisor: Annotated[int, Whole()] = 8


@dataclass(frozen=True)
class MobileNetV3(KernelFamily):
    """A MobileNetV3 of elastic depth, kernels and expands.

    A row of genes: the depth of each of five stages, then kernel and expand of each block.
    """

    name = "mobilenetv3"
    options_type = MobileNetV3Options
    options: MobileNetV3Options = field(default_factory=MobileNetV3Options)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Channels behind the stem and behind each stage."""
        return self.scaled((STEM_CHANNELS, *STAGES))

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """See `Family`; the stem, without genes, is two layers."""
        none, one, zero = np.zeros((1, 0), np.int8), np.ones(1, np.intp), np.zeros(1, np.intp)
        stem = Segment("stem", (), none, one, zero, (), none, np.ones((1, 1), bool))
        return (stem, *(self._stage(stage) for stage in range(len(STAGES))))

    def _stage(self, stage: int) -> Segment:
        depths, kernels, expands = self.choices.values()
        contexts, leaves = np.arange(len(depths), dtype=np.int8)[:, None], np.zeros(len(depths), np.intp)
        choices = np.array([*product(range(len(kernels)), range(len(expands)))], np.int8)
        own, blocks = (("depth",), contexts, np.array(depths), leaves), (("kernel", "expand"), choices)
        return Segment(f"stage {stage}", *own, *blocks, np.ones((len(depths), len(choices)), bool))

    def layers(
        self,
        segment: int,
        before: int,  # noqa: ARG002 - widths are not searched
        context: int,  # noqa: ARG002
        block: int,
        choice: int,
        *,
        stem_pool: bool = True,
    ) -> tuple[Layer, ...]:
        """See `Family`. There is no pooling in the stem: the stride of its convolution is 1 instead of 2."""
        stride, (stem, *_) = (2 if stem_pool else 1), self.widths
        if not segment:
            first = Layer(CONV, 3, 0, stem, stride, NOTHING, UNIT, activation=HARD_SWISH)
            return first, Layer(INVERTED, stem, 0, stem, 1, IDENTITY, first.behind)
        stage, n_out = segment - 1, self.widths[segment]
        side = UNIT // stride // prod(STRIDES[: stage + (block > 0)])
        n_in, stride = (n_out, 1) if block else (self.widths[stage], STRIDES[stage])
        kernel, expand = self.segments[segment].choices[choice]
        middle = self.rounded(n_in * self.options.expands[expand])
        return (
            Layer(
                INVERTED,
                n_in,
                middle,
                n_out,
                stride,
                IDENTITY if stride == 1 and n_in == n_out else NOTHING,
                side,
                self.options.kernels[kernel],
                self.rounded(middle // REDUCTION) if SQUEEZED[stage] else 0,
                ACTIVATIONS[stage],
            ),
        )

    def classifier(self, n_in: int, side: Side, n_classes: int) -> dict[str, Layer]:
        """See `Family`; OFA's widens the last map first, and mixes its means."""
        widened, mixed = self.scaled(CLASSIFIER)
        return {
            "final_expand_layer": Layer(CONV, n_in, 0, widened, 1, NOTHING, side, 1, activation=HARD_SWISH),
            "feature_mix_layer": Layer(POOLED, widened, 0, mixed, 1, NOTHING, side, activation=HARD_SWISH),
            "classifier": Layer(LINEAR, mixed, 0, n_classes, 1, NOTHING, 1),
        }

    @cached_property
    def places(self) -> dict[tuple[int, int], tuple[str, ...]]:
        """See `Family`."""
        blocks = [(segment, block) for segment, one in enumerate(self.segments) for block in range(one.n_blocks)]
        return {at: (f"blocks/{number}",) if number else ("first_conv", "blocks/0") for number, at in enumerate(blocks)}

    def tokens(self, segment: int) -> Tokens:
        """0 is SC, then an index for each (kernel, expand)."""
        one = self.segments[segment]
        codes = np.arange(1, 1 + len(one.choices)) if segment else np.zeros(1, np.intp)
        return Tokens(np.zeros((len(one.contexts), 0), np.intp), np.tile(codes, (len(one.contexts), 1)))

    # ---- the host's genotype {"ks": a kernel for each block, "e": an expand for each, "d": 5 depths}

    def genotype(self, path: np.ndarray) -> dict[str, list]:
        """By value; kernels and expands of blocks that are not used, which the host needs filled, at their smallest."""
        depths, kernels, expands = self.choices.values()
        stages = [np.maximum(path[columns], 0) for columns in self.block_columns[1:]]
        return {
            "ks": [kernels[kernel] for blocks in stages for kernel, _ in blocks],
            "e": [expands[expand] for blocks in stages for _, expand in blocks],
            "d": [depths[depth] for depth in path[: len(STAGES)]],
        }

    def from_genotype(self, given: Mapping[str, Sequence]) -> np.ndarray:
        """See `Family`; kernels and expands of blocks that the depth leaves out are not looked at."""
        most = self.segments[1].n_blocks
        blocks = len(STAGES) * most
        require_form(given, {"ks": (blocks, "kernels"), "e": (blocks, "expands"), "d": (len(STAGES), "depths")})
        depths, kernels, expands = self.choices.values()
        path = np.full(self.n_genes, -1, np.int8)
        for stage, (depth, columns) in enumerate(zip(given["d"], self.block_columns[1:], strict=True)):
            path[stage] = choice_index("d", depth, depths)
            for block, (of_kernel, of_expand) in enumerate(columns[:depth]):
                at = stage * most + block
                path[of_kernel] = choice_index("ks", given["ks"][at], kernels)
                path[of_expand] = choice_index("e", given["e"][at], expands)
        return path
