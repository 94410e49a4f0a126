"""The search space 𝒜 and its pruned forms 𝒜̃ (Table 1, Section 3.2): size, membership, exactly uniform draws."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import ConfigError, SpaceError
from . import genotype, masks, variation
from .by_cost import PathsByCost
from .channels import Channels, coinciding_choices
from .structure import Structure
from .tokens import TokenLayout, token_layout, tokenize

if TYPE_CHECKING:
    from .cost import CostModel


class Operation(NamedTuple):
    """Block `layer` of `stage` with `expand` when the stage has (`depth`, `width`); all are indices from 0, of one
    operation or in columns (n,)."""

    stage: np.ndarray
    layer: np.ndarray
    depth: np.ndarray
    width: np.ndarray
    expand: np.ndarray


class SearchSpace:
    """A set of paths: everything a `Structure` offers, or what a mask of allowed operations leaves of it.

    A path is a row of int8 genes, (n, genes) for n paths: an index into the ascending choices, -1 where unused, so
    equal networks are equal rows. Spaces never change: `restrict` gives another one.
    """

    def __init__(
        self, structure: Structure, allowed: np.ndarray | None = None, *, stem: np.ndarray | None = None
    ) -> None:
        """`allowed`: bool (stages, blocks, depths, widths, expands); `stem`: bool (residual block, width 1, width 2),
        each choice independent of the others; all where None."""
        self.structure = structure
        exists = structure.operations()
        self._allowed = masks.only_usable(structure, exists if allowed is None else exists & allowed)
        self._allowed.setflags(write=False)
        exists = structure.stems()
        self._stem = exists if stem is None else exists & stem
        self._by_cost: dict[CostModel, PathsByCost] = {}

    @classmethod
    def ofa_resnet50(cls, **options: Any) -> "SearchSpace":
        """The paper's space: D, W free in each stage, E in each block, an elastic stem.

        Options and defaults: base_depths (2, 2, 4, 2), depths (0, 1, 2), widths (.65, .8, 1.), expands (.2, .25, .35),
        elastic_stem True, width_scale 1., channel_divisor 8, merge_equal_choices None (see `Structure`).
        """
        return cls(Structure.of(options))

    @classmethod
    def comp_ofa(cls, **options: Any) -> "SearchSpace":
        """CompOFA*: D and W coupled in each stage, E free, the stem at its largest; options as in `ofa_resnet50`."""
        return cls(Structure.of({"elastic_stem": False, **options}, coupled=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return (
            self.structure == other.structure
            and np.array_equal(self._allowed, other._allowed)
            and np.array_equal(self._stem, other._stem)
        )

    def __hash__(self) -> int:
        return hash((self.structure, self._allowed.tobytes(), self._stem.tobytes()))

    def __repr__(self) -> str:
        return f"SearchSpace({self.size():,} paths, {int(self._allowed.sum())} operations)"

    # ---- what it holds

    @property
    def allowed(self) -> np.ndarray:
        """Operations that some path uses: read-only bool (stages, blocks, depths, widths, expands)."""
        return self._allowed

    @property
    def family(self) -> Structure:
        """Shim."""
        return self.structure

    @property
    def n_operations(self) -> int:
        """Shim."""
        return int(self._allowed.sum())

    @property
    def channels(self) -> Channels:
        """Channel numbers of every choice."""
        return self.structure.channels

    def coinciding(self) -> list[str]:
        """Lines that name the choices which rounding makes equal; empty where all differ."""
        return coinciding_choices(self.channels, self.structure.widths, self.structure.expands)

    @property
    def pruned(self) -> bool:
        """Whether some operation or stem of the structure is not allowed."""
        return self != SearchSpace(self.structure)

    def unpruned(self) -> "SearchSpace":
        """The space of the same structure with every operation allowed."""
        return SearchSpace(self.structure) if self.pruned else self

    def operations(self) -> Operation:
        """Every allowed operation, ordered by stage, layer, depth, width, expand."""
        return Operation(*np.nonzero(self._allowed))

    def restrict(self, keep: np.ndarray) -> "SearchSpace":
        """The space that is left when only the operations marked in `keep`, bool in the order of `operations()`, stay.

        SpaceError where a stage would be left without a complete path.
        """
        keep = np.asarray(keep, bool)
        if keep.shape != (int(self._allowed.sum()),):
            raise SpaceError(f"keep has shape {keep.shape}; it must mark each of {int(self._allowed.sum())} operations")
        allowed = self._allowed.copy()
        allowed[self._allowed] = keep
        return SearchSpace(self.structure, allowed, stem=self._stem)

    def only(
        self,
        *,
        depths: Iterable[int] | None = None,
        widths: Iterable[float] | None = None,
        expands: Iterable[float] | None = None,
    ) -> "SearchSpace":
        """The paths of this space that use these choices alone, given by value; see `masks.of_choices`.

        SpaceError where none is left.
        """
        operations, stem = masks.of_choices(self.structure, depths, widths, expands)
        return SearchSpace(self.structure, self._allowed & operations, stem=self._stem & stem)

    def size(self) -> int:
        """The exact number of paths."""
        return len(self.stem_rows) * prod(
            sum(map(prod, masks.ways(self.structure, self._allowed, s))) for s in range(4)
        )

    def count(self, cost: "CostModel", *, low: float = -np.inf, high: float = np.inf) -> int:
        """The exact number of paths with low <= cost < high."""
        return self.by_cost(cost).count(low, high)

    def contains(self, paths: np.ndarray) -> np.ndarray:
        """Whether each row is a canonical path of this space; (n,) bool."""
        paths = self.require_rows(paths)
        inside = ((paths >= self.structure.lower) & (paths <= self.structure.upper)).all(axis=1)
        codes = self.structure.codes(np.where(inside[:, None], paths, 0))
        for part, member in enumerate(self._members):
            inside &= member[codes[:, part] % len(member)]  # a stage's code without the width before it
        return inside

    def includes(self, other: "SearchSpace") -> bool:
        """Whether every path of `other`, a space of the same structure, is one of this space."""
        if self.structure != other.structure:
            return False
        return not (other._allowed & ~self._allowed).any() and not (other._stem & ~self._stem).any()

    def require_rows(self, paths: np.ndarray) -> np.ndarray:
        """`paths` as an array of rows; SpaceError where it has another shape."""
        paths = np.asarray(paths)
        if paths.ndim != 2 or paths.shape[1] != self.structure.n_genes or paths.dtype.kind not in "iu":
            raise SpaceError(
                f"paths have shape {paths.shape} and type {paths.dtype}; "
                f"they must be whole numbers of shape (n, {self.structure.n_genes})"
            )
        return paths

    # ---- tables: the stem and each stage have few enough configurations to list them

    @cached_property
    def stem_rows(self) -> np.ndarray:
        """Every allowed choice of the stem's genes, (m, 3) int8."""
        return np.argwhere(self._stem).astype(np.int8)

    @cached_property
    def stage_rows(self) -> tuple[np.ndarray, ...]:
        """Every allowed choice of each stage's genes, (m, 2 + blocks) int8."""
        return tuple(self.structure.stage_rows(s, self._allowed[s]) for s in range(4))

    @cached_property
    def _members(self) -> tuple[np.ndarray, ...]:
        w = len(self.structure.widths)
        members = [np.zeros(2 * w * w, bool), *(np.zeros(self.structure.stage_entries(s), bool) for s in range(4))]
        members[0][self.stem_rows @ np.array([w * w, w, 1])] = True
        for stage, rows in enumerate(self.stage_rows):
            members[stage + 1][self.structure.stage_codes(stage, rows)] = True
        return tuple(members)

    def by_cost(self, cost: "CostModel") -> PathsByCost:
        """The paths ordered by cost; built once for each cost model."""
        if cost not in self._by_cost:
            self._by_cost[cost] = PathsByCost(self, cost)
        return self._by_cost[cost]

    # ---- draws

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        cost: "CostModel | None" = None,
        low: float | None = None,
        high: float | None = None,
    ) -> np.ndarray:
        """`n` paths, exactly uniform over the space, or over its paths with low <= cost < high; (n, genes) int8.

        SpaceError where the range holds no path; it names the nearest costs that exist.
        """
        if cost is not None:
            return self.by_cost(cost).sample(n, rng, -np.inf if low is None else low, np.inf if high is None else high)
        if low is not None or high is not None:
            raise ConfigError("low and high were given without cost; a range of costs needs a cost model")
        pick = [rows[rng.integers(len(rows), size=n)] for rows in (self.stem_rows, *self.stage_rows)]
        return self.structure.assemble(pick[0], pick[1:])

    def enumerate(self, *, limit: int = 1_000_000) -> np.ndarray:
        """Every path once, (size, genes) int8; SpaceError where there are more than `limit`."""
        if self.size() > limit:
            raise SpaceError(f"the space has {self.size():,} paths; at most {limit:,} can be listed")
        tables = (self.stem_rows, *self.stage_rows)
        picks = np.unravel_index(np.arange(self.size()), [len(rows) for rows in tables])
        stem, *stages = (rows[pick] for rows, pick in zip(tables, picks, strict=True))
        return self.structure.assemble(stem, stages)

    def largest(self) -> np.ndarray:
        """The path with every choice at its largest, (genes,) int8; SpaceError where pruning took it away."""
        return self._require_own(self.structure.upper.copy(), "largest", "argmax")

    def smallest(self) -> np.ndarray:
        """The path with every choice at its smallest, (genes,) int8; SpaceError where pruning took it away."""
        stages = [np.full((1, 2 + blocks), -1, np.int8) for blocks in self.structure.layers]
        for genes, base in zip(stages, self.structure.base_depths, strict=True):
            genes[:, : 2 + base + self.structure.depths[0]] = 0
        path = self.structure.canonical_rows(self.structure.assemble(self.stem_rows[:1], stages))[0]
        return self._require_own(path, "smallest", "argmin")

    def _require_own(self, path: np.ndarray, name: str, other: str) -> np.ndarray:
        if not self.contains(path[None])[0]:
            raise SpaceError(f"pruning removed the {name} path; cost.{other}(space) gives the {name} by cost")
        return path

    # ---- variation, genotypes, tokens, files

    def mutate(self, paths: np.ndarray, rng: np.random.Generator, probability: float) -> np.ndarray:
        """Each gene redrawn with `probability` among what this space allows; contained and canonical."""
        return variation.mutate(self, self.require_rows(paths), rng, probability)

    def crossover(self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Each gene from one of two parents at random; contained where both parents are, and canonical."""
        return variation.crossover(self, self.require_rows(first), self.require_rows(second), rng)

    def genotype(self, path: np.ndarray) -> dict[str, list]:
        """One path in the host's form, {"d": 5 depths, "e": an expand for each block, "w": 6 indices}."""
        return genotype.to_genotype(self, path)

    def from_genotype(self, given: Mapping[str, list]) -> np.ndarray:
        """The path (genes,) of a genotype in the host's form, which may use any of the choices that are merged.

        ConfigError where a value is not among the choices.
        """
        return genotype.from_genotype(self, given)

    def tokenize(self, paths: np.ndarray) -> np.ndarray:
        """Tokens of each path, (n, 3 + blocks) int64 (Section 3.1.1)."""
        return tokenize(self.structure, self.require_rows(paths))

    def token_layout(self) -> TokenLayout:
        """Vocabulary, and layer and block index of each token."""
        return token_layout(self.structure)

    def to_dict(self) -> dict[str, object]:
        """The space as JSON holds it: its options, its size and the operations it does not allow."""
        dropped = np.argwhere(self.structure.operations() & ~self._allowed)
        stems = np.argwhere(self.structure.stems() & ~self._stem)
        return {
            "structure": self.structure.to_dict(),
            "size": self.size(),
            "dropped": dropped.tolist(),
            "dropped_stems": stems.tolist(),
        }

    @classmethod
    def from_dict(cls, given: Mapping[str, object], *, within: "SearchSpace | None" = None) -> "SearchSpace":
        """The space that `to_dict` described.

        ConfigError where the description is broken; WeightsError where it is of another structure than `within`.
        """
        return genotype.space_from_dict(cls, given, within)
