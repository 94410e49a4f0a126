"""The OFA-ResNet50 family (Table 1): D and W of four stages, E of each block, an elastic stem; channels as in OFA."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from ..errors import ConfigError
from ..options import Ascending, Flag, Listed, Number, Options, Whole
from .channels import Channels, channel_table
from .family import SKIP, Family, Segment, Tokens
from .genotypes import choice_index, require_form
from .layers import BLOCK, IDENTITY, NOTHING, PROJECTION, STEM, UNIT, Layer

STRIDES = (1, 2, 2, 2)


class ResNet50Options(Options):
    """The choices of an OFA-ResNet50 space.

    `merge_equal_choices`: whether choices that rounding gives the same channels are one, so that equal networks are
    equal rows; the largest of them is it. null: wherever the channels are not the paper's own, whose size of Table 1
    counts the stem's first widths 0.65 and 0.8 as two, though both are 24 channels.
    """

    base_depths: Annotated[tuple[int, ...], Listed(Whole(), n=4)] = (2, 2, 4, 2)
    depths: Annotated[tuple[int, ...], Ascending(Whole(least=0))] = (0, 1, 2)
    widths: Annotated[tuple[float, ...], Ascending(Number(least=1e-3))] = (0.65, 0.8, 1.0)
    expands: Annotated[tuple[float, ...], Ascending(Number(least=1e-3))] = (0.2, 0.25, 0.35)
    elastic_stem: Annotated[bool, Flag()] = True
    width_scale: Annotated[float, Number(above=0, below=100)] = 1.0
    channel_divisor: Annotated[int, Whole()] = 8
    merge_equal_choices: Annotated[bool | None, Flag(null=True)] = None


def _channels(options: ResNet50Options) -> Channels:
    scale, divisor = options.width_scale, options.channel_divisor
    return channel_table(options.widths, options.expands, width_scale=scale, divisor=divisor)


@dataclass(frozen=True)
class ResNet50(Family):
    """A ResNet50 of elastic depth and width; `coupled`: D and W of a stage change as one, as in CompOFA*.

    A row of genes: stem depth (its residual block off or on), stem widths 1 and 2, then depth and width of each of
    four stages, then one expand for each block. `options.merge_equal_choices` is true here where any choices merge.
    """

    name = "resnet50"
    options: ResNet50Options = field(default_factory=ResNet50Options)
    coupled: bool = False

    def __post_init__(self) -> None:
        options = self.options
        merge = options.merge_equal_choices
        merge = self.channels != _channels(ResNet50Options()) if merge is None else merge
        some_equal = any((np.diff(np.array(table)) == 0).any() for table in self.channels)
        merged = options.model_copy(update={"merge_equal_choices": merge and some_equal})
        object.__setattr__(self, "options", merged)
        if self.coupled and len(options.depths) != len(options.widths):
            raise ConfigError(
                f"depths {options.depths} and widths {options.widths} cannot be coupled: give equally many of both"
            )
        self.require_tables()

    @cached_property
    def channels(self) -> Channels:
        """Channel numbers of every choice."""
        return _channels(self.options)

    @property
    def choices(self) -> dict[str, tuple]:
        """See `Family`."""
        return {name: getattr(self.options, name) for name in ("depths", "widths", "expands")}

    @cached_property
    def canonical(self) -> Channels:
        """For each choice the one that stands for it: the largest of equal ones where they merge, else itself."""

        def stands_for(table: Iterable) -> np.ndarray:
            numbers = np.array(table)
            own = np.broadcast_to(np.arange(numbers.shape[-1]), numbers.shape)
            equal = numbers[..., None, :] == numbers[..., None]
            return np.where(equal, own[..., None, :], -1).max(axis=-1) if self.options.merge_equal_choices else own

        return Channels(*map(stands_for, self.channels))

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """See `Family`."""
        return (self._stem(), *map(self._stage, range(4)))

    def _stem(self) -> Segment:
        widths = np.arange(len(self.options.widths))
        exists = np.full((2, len(widths), len(widths)), self.options.elastic_stem)
        exists[-1, -1, -1] = True
        exists &= (self.canonical.stem_mid == widths)[:, None] & (self.canonical.stem_out == widths)
        contexts = np.argwhere(np.ones_like(exists)).astype(np.int8)
        one, no_genes = np.ones(len(contexts), np.intp), np.zeros((1, 0), np.int8)
        genes = ("depth", "width1", "width2")
        return Segment("stem", genes, contexts, one, contexts[:, 2], (), no_genes, exists.reshape(-1, 1))

    def _stage(self, stage: int) -> Segment:
        options, stands = self.options, self.canonical
        grid = np.argwhere(np.ones((len(options.depths), len(options.widths)), bool)).astype(np.int8)
        depth, width = grid.T
        blocks = options.base_depths[stage] + np.array(options.depths)[depth]
        expands = np.arange(len(options.expands), dtype=np.int8)
        own = stands.stage_out[stage][depth if self.coupled else width] == width
        exists = own[:, None] & (stands.middle[stage][width] == expands)
        names = ("depth", "width"), ("expand",)
        return Segment(f"stage {stage}", names[0], grid, blocks, width, names[1], expands[:, None], exists)

    def layers(
        self, segment: int, before: int, context: int, block: int, choice: int, *, stem_pool: bool = True
    ) -> tuple[Layer, ...]:
        """See `Family`; a block that changes stage always has a projection."""
        channels, stage = self.channels, segment - 1
        if not segment:
            residual, width1, width2 = self.segments[0].contexts[context]
            middle, out, shortcut = channels.stem_mid[width1], channels.stem_out[width2], (NOTHING, IDENTITY)[residual]
            return (Layer(STEM, 3, middle, out, 4 if stem_pool else 2, shortcut, UNIT),)
        width = self.segments[segment].leaves[context]
        out, middle = channels.stage_out[stage][width], channels.middle[stage][width][choice]
        side = (8 if stem_pool else 16) >> stage
        if block:
            return (Layer(BLOCK, out, middle, out, 1, IDENTITY, side),)
        n_in, stride = (channels.stage_out[stage - 1] if stage else channels.stem_out)[before], STRIDES[stage]
        return (Layer(BLOCK, n_in, middle, out, stride, PROJECTION, side * stride),)

    def tokens(self, segment: int) -> Tokens:
        """0 is SC, then an index for each (W, E), then one for each width of the stem: its first, that or SC for its
        residual block, its second (Section 3.1.1)."""
        n_expands = len(self.options.expands)
        first = 1 + len(self.options.widths) * n_expands
        contexts = self.segments[segment].contexts.astype(np.intp)
        if not segment:
            depth, width1, width2 = contexts.T
            own = np.stack([first + width1, np.where(depth == 1, first + width1, SKIP), first + width2], axis=1)
            return Tokens(own, np.zeros((len(own), 1), np.intp))
        return Tokens(contexts[:, :0], 1 + contexts[:, 1:] * n_expands + np.arange(n_expands))

    def canonical_rows(self, paths: np.ndarray) -> np.ndarray:
        """See `Family`."""
        rows, stands = paths.copy(), self.canonical
        if not self.options.merge_equal_choices:
            return rows
        rows[:, 1], rows[:, 2] = stands.stem_mid[rows[:, 1]], stands.stem_out[rows[:, 2]]
        for stage, columns in enumerate(self.columns[1:]):
            width, expands = stands.stage_out[stage, rows[:, columns[1]]], rows[:, columns[2:]]
            rows[:, columns[1]] = width
            rows[:, columns[2:]] = np.where(expands < 0, -1, stands.middle[stage, width[:, None], expands])
        return rows

    def uses(self, segment: int, chosen: Mapping[str, np.ndarray]) -> np.ndarray:
        """See `Family`. A choice that is merged is used where one of those it stands for is.

        The stem's residual block is left out only by paths that may also be less deep than the deepest, as in the host,
        where the stem's depth is one more depth gene.
        """
        d, w, e = (chosen[name] for name in self.choices)
        stands, contexts = self.canonical, self.segments[segment].contexts.T
        if segment:
            of_width, of_expand = (
                _stood_for(stands.stage_out[segment - 1], w),
                _stood_for(stands.middle[segment - 1], e),
            )
            depth, width = contexts
            return (d[depth] & of_width[width])[:, None] & of_expand[width]
        if not self.options.elastic_stem:
            return np.ones((contexts.shape[1], 1), bool)
        residual = np.array([d[:-1].any() or len(d) == 1, d[-1] or len(d) == 1])[contexts[0]]
        widths = _stood_for(stands.stem_mid, w)[contexts[1]] & _stood_for(stands.stem_out, w)[contexts[2]]
        return (residual & widths)[:, None]

    def whole(self) -> "ResNet50":
        """OFA's family, of which a coupled one is a part made by hand; any other is whole."""
        options = self.options.model_copy(update={"elastic_stem": True})
        return replace(self, options=options, coupled=False) if self.coupled else self

    def to_dict(self) -> dict[str, object]:
        """The options, as JSON holds them; `merge_equal_choices` only where true, as earlier releases had none."""
        left_out = None if self.options.merge_equal_choices else {"merge_equal_choices"}
        return {**self.options.model_dump(mode="json", exclude=left_out), "coupled": self.coupled}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "ResNet50":
        """See `Family`."""
        options = {"merge_equal_choices": False, **given}
        coupled = Flag()(options.pop("coupled", False))
        return cls(ResNet50Options.of("space", options), coupled=coupled)

    # ---- the host's genotype {"d": 5 depths, "e": an expand for each block, "w": 6 indices}

    @property
    def _stem_on(self) -> int:
        """The depth that stands for a stem with its residual block: the host keeps it for the largest depth alone."""
        return self.options.depths[-1] or 1

    def genotype(self, path: np.ndarray) -> dict[str, list]:
        """Depths and expands by value, widths by index; unused expands, which the host needs filled, at their
        smallest."""
        stages = [path[columns] for columns in self.columns[1:]]
        return {
            "d": [self._stem_on * int(path[0]), *(self.options.depths[genes[0]] for genes in stages)],
            "e": [self.options.expands[max(e, 0)] for genes in stages for e in genes[2:]],
            "w": [int(path[1]), int(path[2]), *(int(genes[1]) for genes in stages)],
        }

    def from_genotype(self, given: Mapping[str, Sequence]) -> np.ndarray:
        """See `Family`; expands of blocks that the depth leaves out are not looked at.

        As in the host, the stem keeps its residual block at the largest depth alone.
        """
        options, layers = self.options, [one.n_blocks for one in self.segments[1:]]
        require_form(given, {"d": (5, "depths"), "e": (sum(layers), "expands"), "w": (6, "indices")})
        choice_index("d", given["d"][0], sorted({0, *options.depths, self._stem_on}))
        depth = [choice_index("d", value, options.depths) for value in given["d"][1:]]
        width = [choice_index("w", value, range(len(options.widths))) for value in given["w"]]
        path = np.full(self.n_genes, -1, np.int8)
        path[:3] = given["d"][0] == self._stem_on, width[0], width[1]
        first = 0
        for stage, columns in enumerate(self.columns[1:]):
            blocks = options.base_depths[stage] + options.depths[depth[stage]]
            expands = [choice_index("e", value, options.expands) for value in given["e"][first : first + blocks]]
            path[columns[: 2 + blocks]] = depth[stage], width[2 + stage], *expands
            first += layers[stage]
        return path


def _stood_for(stands: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Which choices stand for one of the `chosen` (choices,); bool, of the shape of `stands` (…, choices)."""
    return ((stands[..., None] == np.arange(len(chosen))) & chosen[:, None]).any(axis=-2)
