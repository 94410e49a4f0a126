"""The search space 𝒜 and its pruned forms 𝒜̃ (Table 1, Section 3.2): size, membership, exactly uniform draws."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ConfigError, SpaceError
from . import variation_operators
from .cost_bins import PathsByBins
from .cost_peaks import PathsByPeak
from .cost_sampler import PathsByCost, TooManyPairsError
from .description import describe, described, require_family
from .family import Family
from .layer_costs import LayeredCost
from .layers import Layer
from .masks import Masks, Operations
from .mobilenetv3 import MobileNetV3, MobileNetV3Options
from .resnet50 import ResNet50, ResNet50Options
from .tokens import TokenLayout, token_layout, tokenize
from .xception import Xception, XceptionOptions


class SearchSpace:
    """A set of paths: everything a `Family` offers, or what a mask of allowed operations leaves of it.

    A path is a row of int8 genes, (n, genes) for n paths: an index into the ascending choices, -1 where unused, so
    equal networks are equal rows. Spaces never change: `restrict` gives another one.
    """

    def __init__(self, family: Family, allowed: Sequence[np.ndarray] | None = None) -> None:
        """`allowed`: bool (blocks, contexts, choices) for each segment; all that exists where None."""
        self.family = family
        self.masks = Masks(family, family.masks() if allowed is None else allowed)
        self._by_cost: dict[LayeredCost, PathsByCost | PathsByBins | PathsByPeak] = {}

    @classmethod
    def ofa_resnet50(cls, **options: Any) -> "SearchSpace":
        """The paper's space: D, W free in each stage, E in each block, an elastic stem; see `ResNet50Options`."""
        return cls(ResNet50(ResNet50Options.of("space", options)))

    @classmethod
    def comp_ofa(cls, **options: Any) -> "SearchSpace":
        """CompOFA*: D and W coupled in each stage, E free, the stem at its largest; options as in `ofa_resnet50`."""
        return cls(ResNet50(ResNet50Options.of("space", {"elastic_stem": False, **options}), coupled=True))

    @classmethod
    def ofa_mbv3(cls, **options: Any) -> "SearchSpace":
        """OFA-MobileNetV3: the depth of each stage, kernel and expand of each block; see `MobileNetV3Options`."""
        return cls(MobileNetV3(MobileNetV3Options.of("space", options)))

    @classmethod
    def ofa_xception(cls, **options: Any) -> "SearchSpace":
        """OFA-Xception: depth, kernel and expand of each block of the middle flow; see `XceptionOptions`."""
        return cls(Xception(XceptionOptions.of("space", options)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SearchSpace):
            return NotImplemented
        return self.family == other.family and all(map(np.array_equal, self.allowed, other.allowed))

    def __hash__(self) -> int:
        return hash((self.family, *(mask.tobytes() for mask in self.allowed)))

    def __repr__(self) -> str:
        return f"SearchSpace({self.size():,} paths, {self.n_operations} operations)"

    # ---- what it holds

    @property
    def allowed(self) -> tuple[np.ndarray, ...]:
        """Operations that some path uses: read-only bool (blocks, contexts, choices) of each segment."""
        return self.masks.allowed

    @property
    def n_operations(self) -> int:
        """Number of allowed operations."""
        return len(self.operations().block)

    @property
    def pruned(self) -> bool:
        """Whether something that the family has is not allowed."""
        return self != SearchSpace(self.family)

    def unpruned(self) -> "SearchSpace":
        """The space of the same family with every operation allowed."""
        return SearchSpace(self.family) if self.pruned else self

    def operations(self) -> Operations:
        """Every allowed operation, ordered by segment, block, context, choice."""
        return self.masks.operations()

    def operation_columns(self) -> dict[str, list]:
        """The `operations` as people read them: stage, layer, and the family's columns, by value."""
        return self.masks.operation_columns()

    def restrict(self, keep: np.ndarray) -> "SearchSpace":
        """The space that is left when only the operations marked in `keep`, bool in the order of `operations()`, stay.

        SpaceError where a segment would be left without a complete path.
        """
        keep = np.asarray(keep, bool)
        if keep.shape != (self.n_operations,):
            raise SpaceError(f"keep has shape {keep.shape}: mark each of {self.n_operations} operations")
        allowed = [mask.copy() for mask in self.allowed]
        for segment, block, context, choice in np.transpose(self.operations())[~keep]:
            allowed[segment][block, context, choice] = False
        return SearchSpace(self.family, allowed)

    def only(self, **choices: Iterable | None) -> "SearchSpace":
        """The paths of this space that use these choices alone, lists of values by the names of `family.choices`.

        ConfigError for what is no choice; SpaceError where no path is left.
        """
        chosen = self.family.chosen(choices)
        return SearchSpace(self.family, [m & self.family.uses(s, chosen) for s, m in enumerate(self.allowed)])

    def size(self) -> int:
        """The exact number of paths."""
        return self.masks.size()

    def count(self, cost: LayeredCost, *, low: float = -np.inf, high: float = np.inf) -> int:
        """The number of paths with low <= cost < high; exact but for `PathsByBins`."""
        return self.by_cost(cost).count(low, high)

    def contains(self, paths: np.ndarray) -> np.ndarray:
        """Whether each row is a canonical path of this space; (n,) bool."""
        paths = self.require_rows(paths)
        inside = ((paths >= self.family.lower) & (paths <= self.family.upper)).all(axis=1)
        codes = self.family.codes(np.where(inside[:, None], paths, 0))
        for member, code in zip(self.masks.members, codes.T, strict=True):
            inside &= member[code]
        return inside

    def includes(self, other: "SearchSpace") -> bool:
        """Whether every path of `other`, a space of the same family, is one of this space."""
        same = self.family == other.family
        return same and not any((b & ~a).any() for a, b in zip(self.allowed, other.allowed, strict=True))

    def require_rows(self, paths: np.ndarray) -> np.ndarray:
        """`paths` as an array of rows; SpaceError where it has another shape."""
        paths = np.asarray(paths)
        if paths.ndim != 2 or paths.shape[1] != self.family.n_genes or paths.dtype.kind not in "iu":
            raise SpaceError(
                f"paths have shape {paths.shape} and type {paths.dtype}; "
                f"they must be whole numbers of shape (n, {self.family.n_genes})"
            )
        return paths

    def by_cost(self, cost: LayeredCost) -> PathsByCost | PathsByBins | PathsByPeak:
        """The paths ordered by cost, or counted by it where they are too many; built once for each cost model."""
        if cost not in self._by_cost:
            cost.require_family(self.family)
            try:
                exact = PathsByCost(self.masks, cost.layers) if self.size() < 2**62 else None
            except TooManyPairsError:
                exact = None
            by_parts = PathsByBins if cost.layers.join is np.add else PathsByPeak
            self._by_cost[cost] = exact or by_parts(self.masks, cost.layers)
        return self._by_cost[cost]

    # ---- layers

    def path_layers(self, path: np.ndarray, *, stem_pool: bool = True) -> list[tuple[tuple[int, int], Layer]]:
        """The layers of one path from the image on, of 32 pixels, each with its segment and block."""
        self._require_own(path, "path")
        found, before = [], 0
        for number, one in enumerate(self.family.segments):
            context = int(one.context(path[self.family.own_columns[number]]))
            choices = one.choice(path[self.family.block_columns[number]])
            for block in range(one.blocks[context]):
                layers = self.family.layers(number, before, context, block, int(choices[block]), stem_pool=stem_pool)
                found += [((number, block), layer) for layer in layers]
            before = int(one.leaves[context])
        return found

    def layers_at(self, segment: int, block: int, *, stem_pool: bool = True) -> set[Layer]:
        """The layers that allowed paths have there."""
        own, before = self.allowed[segment], {0}
        if segment:
            before = set(self.family.segments[segment - 1].leaves[self.masks.contexts[segment - 1]].tolist())
        return {
            layer
            for leaf in before
            for context, choice in np.argwhere(own[block]).tolist()
            for layer in self.family.layers(segment, leaf, context, block, choice, stem_pool=stem_pool)
        }

    # ---- draws

    def sample(
        self,
        n: int,
        rng: np.random.Generator,
        *,
        cost: LayeredCost | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> np.ndarray:
        """`n` paths, exactly uniform over the space, or over its paths with low <= cost < high; (n, genes) int8.

        SpaceError where the range holds no path; it names the nearest costs that exist.
        """
        if cost is not None:
            return self.by_cost(cost).sample(n, rng, -np.inf if low is None else low, np.inf if high is None else high)
        if low is not None or high is not None:
            raise ConfigError("low and high were given without cost: a range of costs needs a cost model")
        return self.masks.assemble([r.genes[rng.integers(len(r.genes), size=n)] for r in self.masks.rows])

    def enumerate(self, *, limit: int = 1_000_000) -> np.ndarray:
        """Every path once, (size, genes) int8; SpaceError where there are more than `limit`."""
        if self.size() > limit:
            raise SpaceError(f"the space has {self.size():,} paths; at most {limit:,} can be listed")
        picks = np.unravel_index(np.arange(self.size()), [len(rows.genes) for rows in self.masks.rows])
        return self.masks.assemble([r.genes[pick] for r, pick in zip(self.masks.rows, picks, strict=True)])

    def largest(self) -> np.ndarray:
        """The path with every choice at its largest, (genes,) int8; SpaceError where pruning took it away."""
        return self._require_own(self._extreme(-1), "largest path")

    def smallest(self) -> np.ndarray:
        """The path with every choice at its smallest, (genes,) int8; SpaceError where pruning took it away."""
        return self._require_own(self._extreme(0), "smallest path")

    def _extreme(self, end: int) -> np.ndarray:
        """The first or last context of each segment that exists, and of its blocks the first or last choice."""
        path = np.full(self.family.n_genes, -1, np.int8)
        for number, one in enumerate(self.family.segments):
            context = np.flatnonzero(one.exists.any(axis=1))[end]
            choice = np.flatnonzero(one.exists[context])[end]
            path[self.family.own_columns[number]] = one.contexts[context]
            path[self.family.block_columns[number][: one.blocks[context]]] = one.choices[choice]
        return path

    def _require_own(self, path: np.ndarray, name: str) -> np.ndarray:
        path = np.asarray(path)
        if path.ndim != 1 or not self.contains(path[None])[0]:
            raise SpaceError(
                f"the {name} {path.tolist()} is not one path of this space: use cost.argmin or cost.argmax"
            )
        return path

    # ---- variation, genotypes, tokens, files

    def mutate(self, paths: np.ndarray, rng: np.random.Generator, probability: float) -> np.ndarray:
        """Each gene redrawn with `probability` among what this space allows; contained and canonical."""
        return variation_operators.mutate(self.masks, self.require_rows(paths), rng, probability)

    def crossover(self, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Each gene from one of two parents at random; contained where both parents are, and canonical."""
        first, second = self.require_rows(first), self.require_rows(second)
        return variation_operators.crossover(self.masks, first, second, rng)

    def genotype(self, path: np.ndarray) -> dict[str, list]:
        """One path in the host's form, for ResNet50 {"d": 5 depths, "e": an expand for each block, "w": 6 indices}."""
        return self.family.genotype(self._require_own(path, "path"))

    def from_genotype(self, given: Mapping[str, list]) -> np.ndarray:
        """The path (genes,) of a genotype in the host's form, which may use any of the choices that are merged.

        ConfigError where a value is not among the choices.
        """
        path = self.family.canonical_rows(self.family.from_genotype(given)[None])
        if not self.contains(path)[0]:
            raise SpaceError(f"genotype {dict(given)!r} is not a path of this space: pruning or coupling excludes it")
        return path[0]

    def tokenize(self, paths: np.ndarray) -> np.ndarray:
        """Tokens of each path, (n, positions) int64 (Section 3.1.1)."""
        return tokenize(self.family, self.require_rows(paths))

    def token_layout(self) -> TokenLayout:
        """Vocabulary, and layer and block index of each token."""
        return token_layout(self.family)

    def to_dict(self) -> dict[str, object]:
        """The space as JSON holds it: its family, its size, and the operations and stems that it does not allow."""
        return describe(self.family, self.allowed, self.size())

    @classmethod
    def from_dict(cls, given: Mapping[str, Any], *, within: "SearchSpace | None" = None) -> "SearchSpace":
        """The space that `to_dict` described.

        ConfigError where the description is broken; WeightsError where it is of another family than `within`.
        """
        family, allowed, size = described(given)
        space = cls(family, allowed)
        if space.size() != size:
            raise ConfigError(f"the description says {size} paths but its operations make {space.size()}")
        if within is not None:
            require_family(family, within.family)
        return space
