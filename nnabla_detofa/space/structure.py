"""What a path is made of (Table 1): the choices, the columns of a row of genes, and the integer code of each part."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import ConfigError, is_number, is_whole, require_whole, unknown
from .channels import Canonical, Channels, canonical_choices, channel_table, coinciding_choices

STEM_GENES = 3  # residual block off or on, first width, second width
MOST_CONFIGURATIONS = 4_000_000  # of one stage; its configurations are kept in tables


def _ascending(name: str, values: Iterable[Any], kind: type, least: float) -> tuple:
    try:
        given = tuple(kind(v) for v in values)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} is {values!r}; it must be a list of numbers") from None
    if not given or len(given) > 100 or list(given) != sorted(set(given)) or given != tuple(values) or given[0] < least:
        raise ConfigError(f"{name} is {values!r}; it must be ascending, without repeats, none below {least}")
    return given


@dataclass(frozen=True)
class Structure:
    """The choices of an OFA-ResNet50 space, and where each stands in a row of genes.

    Genes are indices into the ascending choices, -1 where the path has no such block:
    stem depth, stem widths 1 and 2, then depth and width of each of four stages, then one expand for each block.

    `merge_equal_choices`: whether choices that rounding gives the same channels are one, so that equal networks are
    equal rows; the largest of them is it. None: wherever the channels are not the paper's own, whose size of Table 1
    counts the stem's first widths 0.65 and 0.8 as two, though both are 24 channels. Here it is true where any merge.
    """

    base_depths: tuple[int, ...] = (2, 2, 4, 2)
    depths: tuple[int, ...] = (0, 1, 2)
    widths: tuple[float, ...] = (0.65, 0.8, 1.0)
    expands: tuple[float, ...] = (0.2, 0.25, 0.35)
    elastic_stem: bool = True
    width_scale: float = 1.0
    channel_divisor: int = 8
    merge_equal_choices: bool | None = None
    coupled: bool = False

    def __post_init__(self) -> None:
        def settle(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        settle("depths", _ascending("depths", self.depths, int, 0))
        settle("widths", _ascending("widths", self.widths, float, 1e-3))
        settle("expands", _ascending("expands", self.expands, float, 1e-3))
        bases = tuple(self.base_depths) if isinstance(self.base_depths, (list, tuple, np.ndarray)) else ()
        if len(bases) != 4 or not all(is_whole(b) and b >= 1 for b in bases):
            raise ConfigError(f"base_depths is {self.base_depths!r}; it must be four whole numbers of at least 1")
        settle("base_depths", tuple(int(b) for b in bases))
        if not is_number(self.width_scale) or not 0 < self.width_scale < 100:
            raise ConfigError(f"width_scale is {self.width_scale!r}; it must be a number above 0 and below 100")
        settle("width_scale", float(self.width_scale))
        settle("channel_divisor", require_whole("channel_divisor", self.channel_divisor))
        if not isinstance(self.elastic_stem, bool) or not isinstance(self.coupled, bool):
            raise ConfigError(
                f"elastic_stem is {self.elastic_stem!r} and coupled {self.coupled!r}; allowed: true, false"
            )
        if not (self.merge_equal_choices is None or isinstance(self.merge_equal_choices, bool)):
            raise ConfigError(f"merge_equal_choices is {self.merge_equal_choices!r}; allowed: true, false, null")
        papers = self.channels == channel_table(Structure.widths, Structure.expands)
        merge = not papers if self.merge_equal_choices is None else self.merge_equal_choices
        settle("merge_equal_choices", merge and bool(coinciding_choices(self.channels, self.widths, self.expands)))
        if self.coupled and len(self.depths) != len(self.widths):
            raise ConfigError(
                f"depths {self.depths} and widths {self.widths} cannot be coupled; they must be equally many"
            )
        largest = (len(self.expands) + 1) ** max(self.layers) * len(self.depths) * len(self.widths) ** 2
        if largest > MOST_CONFIGURATIONS:
            raise ConfigError(
                f"a stage of {max(self.layers)} blocks with {len(self.expands)} expands has {largest:,} table entries; "
                f"at most {MOST_CONFIGURATIONS:,} are allowed"
            )

    @classmethod
    def of(cls, options: Mapping[str, Any], *, coupled: bool = False) -> "Structure":
        """The structure of these options; ConfigError lists the known ones where one is unknown."""
        known = [f.name for f in fields(cls) if f.name != "coupled"]
        for name in options:
            if name not in known:
                raise unknown("space option", name, known)
        return cls(**options, coupled=coupled)

    def whole(self) -> "Structure":
        """OFA's structure, of which a coupled one is a part made by hand; any other is whole."""
        return replace(self, coupled=False, elastic_stem=True) if self.coupled else self

    def to_dict(self) -> dict[str, object]:
        """The options, as JSON holds them; `merge_equal_choices` only where true, as earlier releases had none."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if not self.merge_equal_choices:
            del values["merge_equal_choices"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> "Structure":
        """The structure that `to_dict` described."""
        return cls(**{"merge_equal_choices": False, **given})

    @property
    def choices(self) -> dict[str, tuple]:
        """Shim."""
        return {"depths": self.depths, "widths": self.widths, "expands": self.expands}

    @cached_property
    def channels(self) -> Channels:
        """Channel numbers of every choice."""
        return channel_table(self.widths, self.expands, width_scale=self.width_scale, divisor=self.channel_divisor)

    @cached_property
    def canonical(self) -> Canonical:
        """For each choice the one that stands for it."""
        return canonical_choices(self.channels, merge=bool(self.merge_equal_choices))

    @property
    def layers(self) -> tuple[int, ...]:
        """The most blocks each stage can have."""
        return tuple(base + self.depths[-1] for base in self.base_depths)

    @cached_property
    def stage_columns(self) -> tuple[np.ndarray, ...]:
        """Columns of each stage's genes: depth, width, expands in order."""
        first = STEM_GENES + 2 * 4 + np.cumsum((0, *self.layers))
        return tuple(
            np.r_[STEM_GENES + 2 * s, STEM_GENES + 2 * s + 1, first[s] : first[s + 1]]
            for s in range(len(self.base_depths))
        )

    @property
    def n_genes(self) -> int:
        """Columns of a path: 29 for the paper's space."""
        return STEM_GENES + 2 * 4 + sum(self.layers)

    @cached_property
    def gene_names(self) -> tuple[str, ...]:
        """A name for each column, for tables people read; stages and blocks count from 0."""
        names = ["stem_depth", "stem_width1", "stem_width2"]
        names += [f"stage{s}_{gene}" for s in range(4) for gene in ("depth", "width")]
        return (*names, *(f"stage{s}_expand{b}" for s in range(4) for b in range(self.layers[s])))

    @cached_property
    def upper(self) -> np.ndarray:
        """The largest index each gene can hold, (n_genes,)."""
        d, w, e = len(self.depths) - 1, len(self.widths) - 1, len(self.expands) - 1
        return np.array([1, w, w] + [d, w] * 4 + [e] * sum(self.layers), np.int8)

    @cached_property
    def lower(self) -> np.ndarray:
        """The smallest value each gene can hold: -1 for expands, 0 for the others."""
        return np.array([0] * (STEM_GENES + 8) + [-1] * sum(self.layers), np.int8)

    def stage_entries(self, stage: int) -> int:
        """How many codes a stage's genes have, unused ones included and the width before it left out."""
        return len(self.depths) * len(self.widths) * (len(self.expands) + 1) ** self.layers[stage]

    def _stage_digits(self, stage: int) -> np.ndarray:
        radix = len(self.expands) + 1
        powers = radix ** np.arange(self.layers[stage] - 1, -1, -1)
        return np.r_[len(self.widths) * radix ** self.layers[stage], radix ** self.layers[stage], powers]

    def stage_codes(self, stage: int, rows: np.ndarray) -> np.ndarray:
        """The code of each row of one stage's genes (depth, width, expands); (n,) int."""
        return rows @ self._stage_digits(stage) + self._stage_digits(stage)[2:].sum()

    @cached_property
    def _code_matrix(self) -> tuple[np.ndarray, np.ndarray]:
        matrix = np.zeros((self.n_genes, 5), np.float32)  # every code is below 2**24, so float32 holds it exactly
        n_widths = len(self.widths)
        matrix[:STEM_GENES, 0] = n_widths**2, n_widths, 1
        for stage, columns in enumerate(self.stage_columns):
            matrix[columns, stage + 1] = self._stage_digits(stage)
            before = self.stage_columns[stage - 1][1] if stage else STEM_GENES - 1
            matrix[before, stage + 1] = self.stage_entries(stage)
        shift = [0] + [self._stage_digits(s)[2:].sum() for s in range(4)]  # expands count from -1
        return matrix, np.array(shift, np.float32)

    def codes(self, paths: np.ndarray) -> np.ndarray:
        """The code of the stem and of each stage with the width before it, linear in the genes; (n, 5) int."""
        matrix, shift = self._code_matrix
        return (paths.astype(np.float32) @ matrix + shift).astype(np.intp)

    def stems(self) -> np.ndarray:
        """Which stems exist: bool (residual block off or on, width 1, width 2); the largest where it is not elastic."""
        exists = np.full((2, len(self.widths), len(self.widths)), self.elastic_stem)
        exists[-1, -1, -1] = True
        widths = np.arange(len(self.widths))
        return exists & (self.canonical.stem_mid == widths)[:, None] & (self.canonical.stem_out == widths)

    def stage_rows(self, stage: int, allowed: np.ndarray) -> np.ndarray:
        """Every allowed choice of one stage's genes, canonical; (m, 2 + blocks) int8, depths ascending.

        `allowed` (blocks, depths, widths, expands) says which operations may be used.
        """
        return np.concatenate(
            [
                self._rows_of(stage, d, w, allowed[:, d, w])
                for d in range(len(self.depths))
                for w in range(len(self.widths))
            ]
        )

    def _rows_of(self, stage: int, d: int, w: int, allowed: np.ndarray) -> np.ndarray:
        blocks = self.base_depths[stage] + self.depths[d]
        choices = [np.flatnonzero(allowed[block]) for block in range(blocks)]
        expands = np.stack(np.meshgrid(*choices, indexing="ij"), axis=-1).reshape(-1, blocks)
        rows = np.full((len(expands), 2 + self.layers[stage]), -1, np.int8)
        rows[:, 0], rows[:, 1], rows[:, 2 : 2 + blocks] = d, w, expands
        return rows

    def operations(self) -> np.ndarray:
        """Which operations exist at all: bool (stages, blocks, depths, widths, expands)."""
        blocks = np.add.outer(self.base_depths, self.depths)  # (stages, depths)
        exists = np.arange(max(self.layers))[None, :, None] < blocks[:, None, :]
        stands, widths = self.canonical.stage_out, np.arange(len(self.widths))
        pairs = stands[:, :, None] == widths if self.coupled else (stands == widths)[:, None]  # (stages, D or 1, W)
        expands = self.canonical.middle == np.arange(len(self.expands))  # (stages, W, E)
        return exists[..., None, None] & pairs[:, None, :, :, None] & expands[:, None, None]

    def canonical_rows(self, paths: np.ndarray) -> np.ndarray:
        """A copy of paths (n, genes) with the choices that stand for theirs, so that equal networks are equal rows."""
        rows = paths.copy()
        if not self.merge_equal_choices:
            return rows
        rows[:, 1], rows[:, 2] = self.canonical.stem_mid[rows[:, 1]], self.canonical.stem_out[rows[:, 2]]
        for stage, columns in enumerate(self.stage_columns):
            width, expands = self.canonical.stage_out[stage, rows[:, columns[1]]], rows[:, columns[2:]]
            rows[:, columns[1]] = width
            rows[:, columns[2:]] = np.where(expands < 0, -1, self.canonical.middle[stage, width[:, None], expands])
        return rows

    def assemble(self, stem: np.ndarray, stages: list[np.ndarray]) -> np.ndarray:
        """Paths (n, genes) from the genes of the stem and of the stages."""
        paths = np.empty((len(stem), self.n_genes), np.int8)
        paths[:, :STEM_GENES] = stem
        for columns, genes in zip(self.stage_columns, stages, strict=True):
            paths[:, columns] = genes
        return paths
