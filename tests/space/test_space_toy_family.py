"""A family of another shape, written here: all of space, pruning and search serve it as they are."""

import json
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest

from nnabla_detofa.pruning import prune_operations
from nnabla_detofa.search import evolve
from nnabla_detofa.space import FAMILIES, Budgets, CostModel, Family, Layer, NetworkLayers, SearchSpace, Segment, Tokens
from nnabla_detofa.space.layers import BLOCK, HEAD, IDENTITY, NOTHING, PROJECTION, macs

KERNELS, EXPANDS, DEPTHS = (3, 5, 7), (3, 6), (1, 2)
CHANNELS = 3, 8, 16


@dataclass(frozen=True)
class Toy(Family):
    """Two stages of elastic depth, no stem and no widths; each block has a kernel and an expand, as in MobileNetV3."""

    scale: int = 1
    name = "toy"

    @property
    def segments(self) -> tuple[Segment, ...]:
        depths, blocks = np.arange(2, dtype=np.int8)[:, None], np.array(DEPTHS)
        choices = np.array(list(product(range(3), range(2))), np.int8)
        exists = np.ones((2, 6), bool)
        parts = ("depth",), depths, blocks, np.zeros(2, np.intp), ("kernel", "expand"), choices, exists
        return tuple(Segment(f"stage {stage}", *parts) for stage in range(2))

    @property
    def choices(self) -> dict[str, tuple]:
        return {"depths": DEPTHS, "kernels": KERNELS, "expands": EXPANDS}

    def layers(self, segment, before, context, block, choice, *, stem_pool=True) -> tuple[Layer, ...]:  # noqa: ARG002
        kernel, expand = self.segments[segment].choices[choice]
        n_in, n_out = CHANNELS[segment + (block > 0)], CHANNELS[segment + 1]
        first, side = block == 0, 32 >> segment >> (block > 0)
        middle = self.scale * n_in * EXPANDS[expand] * KERNELS[kernel]
        return (Layer(BLOCK, n_in, middle, n_out, 1 + first, PROJECTION if first else IDENTITY, side),)

    def tokens(self, segment: int) -> Tokens:  # noqa: ARG002
        return Tokens(np.zeros((2, 0), int), np.tile(np.arange(1, 7), (2, 1)))

    def to_dict(self) -> dict[str, object]:
        return {"family": self.name, "scale": self.scale}

    @classmethod
    def from_dict(cls, given) -> "Toy":
        return cls(**given)


SPACE = SearchSpace(Toy())
LAYERS = NetworkLayers(SPACE, lambda n_in, side: [Layer(HEAD, n_in, 4, 2, 1, NOTHING, side)], image_size=64)
COST = CostModel.of(LAYERS, "flops")
BUDGETS = Budgets.equal_width(COST, n=3)
PATHS, RNG = SPACE.enumerate(), np.random.default_rng


def stage_rows() -> list[tuple]:
    """Depth and genes of the blocks of one stage, by the definition."""
    blocks = list(product(range(3), range(2)))
    return [(0, *one, -1, -1) for one in blocks] + [(1, *one, *two) for one in blocks for two in blocks]


def test_it_is_counted() -> None:
    rows = {(a[0], b[0], *a[1:], *b[1:]) for a in stage_rows() for b in stage_rows()}
    assert set(map(tuple, PATHS.tolist())) == rows
    assert SPACE.size() == len(PATHS) == 42**2 and SPACE.contains(PATHS).all()
    assert SPACE.family.gene_names[:4] == ("stage0_depth", "stage1_depth", "stage0_kernel0", "stage0_expand0")
    few = SPACE.only(kernels=[3, 7], depths=[2])
    keep = (PATHS[:, :2] == 1).all(axis=1) & (PATHS[:, 2::2] != 1).all(axis=1)
    assert np.array_equal(few.contains(PATHS), keep) and few.size() == keep.sum()


def test_it_is_drawn(is_uniform) -> None:
    low, high = BUDGETS.range(1)
    costs = COST(PATHS)
    inside = PATHS[(costs >= low) & (costs < high)]
    assert len(inside) == SPACE.count(COST, low=low, high=high)
    for drawn, among in ((SPACE.sample(50 * len(PATHS), RNG(0)), PATHS),
                         (SPACE.sample(50 * len(inside), RNG(0), cost=COST, low=low, high=high), inside)):  # fmt: skip
        rows, counts = np.unique(drawn, axis=0, return_counts=True)
        assert np.array_equal(rows, np.unique(among, axis=0)) and is_uniform(counts, 50)


def test_it_is_read_as_tokens_layers_genotype_and_json(monkeypatch) -> None:
    tokens, layout = SPACE.tokenize(PATHS), SPACE.token_layout()
    assert len(np.unique(tokens, axis=0)) == len(PATHS)
    assert (tokens.max() + 1, layout.layer, layout.block) == (layout.vocabulary, (0, 1, 2, 3), (0, 0, 1, 1))
    met = {place: set() for place in product(range(2), range(2))}
    for path in PATHS:
        assert np.array_equal(SPACE.from_genotype(json.loads(json.dumps(SPACE.genotype(path)))), path)
        for place, layer in SPACE.path_layers(path):
            met[place].add(layer)
    assert all(SPACE.layers_at(*place) == layers for place, layers in met.items())
    monkeypatch.setitem(FAMILIES, "toy", Toy)
    few = SPACE.only(kernels=[5])
    assert SearchSpace.from_dict(json.loads(json.dumps(few.to_dict())), within=SPACE) == few


def test_its_cost_is_the_sum_over_its_layers() -> None:
    (tail,) = (macs(layer) for layer in LAYERS.tail(0))
    ours = [sum(macs(layer._replace(side=2 * layer.side)) for _, layer in SPACE.path_layers(p)) + tail for p in PATHS]
    assert COST(PATHS).tolist() == ours
    assert COST.range(SPACE) == (min(ours), max(ours))
    assert (COST(SPACE.smallest()[None])[0], COST(SPACE.largest()[None])[0]) == COST.range(SPACE)


def test_it_is_mutated_and_crossed() -> None:
    first, second = SPACE.sample(3000, RNG(0)), SPACE.sample(3000, RNG(1))
    mutants, crosses = SPACE.mutate(first, RNG(2), 0.3), SPACE.crossover(first, second, RNG(3))
    assert SPACE.contains(mutants).all() and SPACE.contains(crosses).all()
    assert np.array_equal(SPACE.mutate(first, RNG(2), 0.0), first)
    assert ((crosses == first) | (crosses == second))[:, :4].all()
    assert all(set(mutants[:, gene]) == set(PATHS[:, gene]) for gene in range(PATHS.shape[1]))


@pytest.mark.parametrize("strategy", ["flops", "flops_score_all"])
def test_it_is_pruned_and_searched(strategy: str) -> None:
    worth = RNG(5).standard_normal(PATHS.shape[1])
    score = lambda paths: paths @ worth  # noqa: E731
    result = prune_operations(SPACE, score, COST, BUDGETS, strategy=strategy, paths_per_operation=50, rng=RNG(0))
    columns = ["stage", "layer", "depth", "kernel", "expand", "flops", "score", "bucket", "kept", "reason"]
    assert list(result.rows()[0]) == columns and {row["kernel"] for row in result.rows()} == {*KERNELS}
    left = result.space.enumerate()
    assert SPACE.includes(result.space) and len(left) < len(PATHS)
    assert set(BUDGETS.bucket(COST(left))) == {0, 1, 2}
    for found in evolve(result.space, score, COST, BUDGETS.edges[1:], budgets=BUDGETS, rng=RNG(0), generations=60):
        of_bucket = left[BUDGETS.bucket(COST(left)) == found.bucket]
        assert found.score == pytest.approx(score(of_bucket).max())
